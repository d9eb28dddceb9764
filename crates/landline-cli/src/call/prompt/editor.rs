//! The line editor, in a thread of its own, and what may be typed.

use std::borrow::Cow;
use std::sync::Arc;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Behavior, ColorMode, Config, Editor, Helper};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::screen::Screen;
use crate::exit::{Exit, Failure};

const PROMPT: &str = ">>: ";

const HELP: &str = "\
Enter sends the line. Replies appear above the prompt as they come.
  /help   this
  /quit   finish, like Ctrl-D
  //x     send '/x'
  ↑ and Ctrl-R bring back earlier lines; Ctrl-C clears the line.";

pub(super) type LineEditor = Editor<Redraw, MemHistory>;

/// The line editor, on its terminal.
pub(super) fn open(screen: &Arc<Screen>) -> Result<LineEditor, Failure> {
    build(screen)
        .map_err(|error| Failure::new(Exit::Other, format!("cannot edit lines on this terminal: {error}")))
}

/// Reads lines until the end of input; the end of the channel is that end.
///
/// `blank_lines` says whether a blank line is a message.
pub(super) fn read_lines(mut editor: LineEditor, screen: Arc<Screen>, blank_lines: bool) -> Receiver<String> {
    let (lines, receiver) = channel(1);
    std::thread::spawn(move || edit(&mut editor, &screen, blank_lines, &lines));
    receiver
}

fn build(screen: &Arc<Screen>) -> rustyline::Result<LineEditor> {
    let config = Config::builder()
        // With stdout redirected, the prompt goes to the terminal all the same.
        .behavior(if screen.shows_data { Behavior::Stdio } else { Behavior::PreferTerm })
        // Without "colour" the editor does not ask its helper what to draw.
        .color_mode(ColorMode::Forced)
        .auto_add_history(false)
        .build();
    let history = MemHistory::with_config(&config);
    let mut editor = LineEditor::with_history(config, history)?;
    editor.set_helper(Some(Redraw(screen.clone())));
    // A terminal without line editing has no redrawing either; there, everything is written as it comes.
    if let Ok(printer) = editor.create_external_printer() {
        screen.wake_by(printer);
    }
    Ok(editor)
}

fn edit(editor: &mut LineEditor, screen: &Screen, blank_lines: bool, lines: &Sender<String>) {
    let mut cleared = false;
    loop {
        screen.begin_line();
        let line = editor.readline(PROMPT);
        screen.end_line();
        let line = match line {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                if std::mem::replace(&mut cleared, true) {
                    screen.say("Ctrl-D or /quit finishes");
                }
                continue;
            }
            // The end of input, or a terminal that has gone.
            Err(_) => return,
        };
        cleared = false;
        if !line.is_empty() {
            // A history that only lives in memory takes every line.
            let _ = editor.add_history_entry(line.as_str());
        }
        match Typed::read(&line, blank_lines) {
            Typed::Nothing => {}
            Typed::Help => screen.say(HELP),
            Typed::Quit => return,
            Typed::Unknown(word) => screen.say(&format!(
                "'{word}' is no command; /help lists them, and '/{word}' sends it to the server"
            )),
            Typed::Message(message) => {
                if lines.blocking_send(message.to_owned()).is_err() {
                    return;
                }
            }
        }
    }
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
enum Typed<'a> {
    Nothing,
    Message(&'a str),
    Help,
    Quit,
    Unknown(&'a str),
}

impl<'a> Typed<'a> {
    fn read(line: &'a str, blank_lines: bool) -> Self {
        match line.strip_prefix('/') {
            None if line.is_empty() && !blank_lines => Typed::Nothing,
            None => Typed::Message(line),
            Some(escaped) if escaped.starts_with('/') => Typed::Message(escaped),
            Some(_) => match line.trim_end() {
                "/help" => Typed::Help,
                "/quit" => Typed::Quit,
                _ => Typed::Unknown(line.split_whitespace().next().unwrap_or(line)),
            },
        }
    }
}

/// Puts what waits to be shown before the prompt, each time the editor draws it.
pub(super) struct Redraw(Arc<Screen>);

impl Highlighter for Redraw {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        let waiting = self.0.take();
        if waiting.is_empty() { Cow::Borrowed(prompt) } else { Cow::Owned(waiting + prompt) }
    }
}

impl Completer for Redraw {
    type Candidate = String;
}

impl Hinter for Redraw {
    type Hint = String;
}

impl Validator for Redraw {}

impl Helper for Redraw {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message_unless_it_begins_with_one_slash() {
        for (line, typed) in [
            ("hello", Typed::Message("hello")),
            (" spaced ", Typed::Message(" spaced ")),
            ("//help", Typed::Message("/help")),
            ("/help", Typed::Help),
            ("/quit  ", Typed::Quit),
            ("/nick joe", Typed::Unknown("/nick")),
            ("/", Typed::Unknown("/")),
            ("", Typed::Nothing),
        ] {
            assert_eq!(Typed::read(line, false), typed, "{line:?}");
        }
        assert_eq!(Typed::read("", true), Typed::Message(""), "a blank line ends a header");
    }
}
