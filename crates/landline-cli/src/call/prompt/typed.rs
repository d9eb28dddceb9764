//! What a line that was typed, or pasted, is.

use std::path::PathBuf;

/// The commands, with what follows them, and what they do.
pub(super) const COMMANDS: [(&str, &str, &str); 6] = [
    ("/help", "", "this"),
    ("/quit", "", "finish, like Ctrl-D"),
    ("/stats", "", "how long it has lasted, what has passed, how long replies took"),
    ("/reconnect", "", "close this connection and open another"),
    ("/file", " PATH", "send what the file holds"),
    ("//x", "", "send '/x'"),
];

/// What somebody wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Message(String),
    Help,
    Quit,
    Stats,
    Reconnect,
    File(PathBuf),
    /// No command, though it looks like one.
    Unknown(String),
    /// A command that lacks something, or has too much: how it is meant.
    Misused(&'static str),
}

/// How lines are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// A blank line is a message.
    pub(super) blank_lines: bool,
    /// A message is one line, so that several which were pasted are several messages.
    pub(super) line_by_line: bool,
}

impl Reading {
    /// What is in a line. One that was pasted may hold several; they are messages all of them: what somebody
    /// else has written should not give commands.
    pub(super) fn read(self, line: &str) -> Vec<Typed> {
        if !line.contains('\n') {
            return self.read_one(line).into_iter().collect();
        }
        if !self.line_by_line {
            return vec![Typed::Message(line.to_owned())];
        }
        let lines = line.lines().filter(|line| self.blank_lines || !line.is_empty());
        lines.map(|line| Typed::Message(line.to_owned())).collect()
    }

    fn read_one(self, line: &str) -> Option<Typed> {
        let Some(rest) = line.strip_prefix('/') else {
            return (self.blank_lines || !line.is_empty()).then(|| Typed::Message(line.to_owned()));
        };
        if rest.starts_with('/') {
            return Some(Typed::Message(rest.to_owned()));
        }
        let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = argument.trim();
        Some(match (command, argument) {
            ("/help", "") => Typed::Help,
            ("/quit", "") => Typed::Quit,
            ("/stats", "") => Typed::Stats,
            ("/reconnect", "") => Typed::Reconnect,
            ("/file", "") => Typed::Misused("/file PATH"),
            ("/file", path) => Typed::File(expand(path)),
            ("/help" | "/quit" | "/stats" | "/reconnect", _) => {
                Typed::Misused("nothing follows this command")
            }
            _ => Typed::Unknown(command.to_owned()),
        })
    }
}

/// `~/` at the front is the folder of this user, and `\\ ` is a space, as completion writes it.
fn expand(path: &str) -> PathBuf {
    let path = &path.replace("\\ ", " ");
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(below), Some(home)) => home.join(below),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: Reading = Reading { blank_lines: false, line_by_line: true };

    fn message(text: &str) -> Typed {
        Typed::Message(text.to_owned())
    }

    #[test]
    fn a_line_is_a_message_unless_it_begins_with_one_slash() {
        for (line, typed) in [
            ("hello", message("hello")),
            (" spaced ", message(" spaced ")),
            ("//help", message("/help")),
            ("/help", Typed::Help),
            ("/quit  ", Typed::Quit),
            ("/stats", Typed::Stats),
            ("/reconnect", Typed::Reconnect),
            (r"/file a\ b.txt ", Typed::File("a b.txt".into())),
            ("/file", Typed::Misused("/file PATH")),
            ("/quit now", Typed::Misused("nothing follows this command")),
            ("/nick joe", Typed::Unknown("/nick".to_owned())),
            ("/", Typed::Unknown("/".to_owned())),
        ] {
            assert_eq!(LINES.read(line), [typed], "{line:?}");
        }
        assert_eq!(LINES.read(""), []);
        assert_eq!(
            Reading { blank_lines: true, ..LINES }.read(""),
            [message("")],
            "a blank line ends a header"
        );
    }

    #[test]
    fn several_lines_at_once_are_as_many_messages_and_never_commands() {
        assert_eq!(LINES.read("one\n\n/quit\nthree\n"), [message("one"), message("/quit"), message("three")]);
        let blank_too = Reading { blank_lines: true, ..LINES }.read("GET /\n\n");
        assert_eq!(blank_too, [message("GET /"), message("")]);
        let whole = Reading { line_by_line: false, ..LINES }.read("one\ntwo");
        assert_eq!(whole, [message("one\ntwo")]);
    }
}
