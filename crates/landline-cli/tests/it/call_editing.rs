//! The prompt of `landline call` as one sees it: what is on the screen while lines are typed.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::sync_channel;

use crate::screen::Screen;
use crate::support::*;

const LEFT: &str = "\x1b[D";
const RIGHT: &str = "\x1b[C";
const UP: &str = "\x1b[A";
const PASTE: [&str; 2] = ["\x1b[200~", "\x1b[201~"];

/// A server that answers lines in upper case and, at its end, tells all that it heard.
fn listening() -> Server<Vec<String>> {
    server(|mut stream| {
        let mut heard = Vec::new();
        let reader = std::io::BufReader::new(stream.try_clone().unwrap());
        for line in std::io::BufRead::lines(reader) {
            let line = line.unwrap();
            writeln!(stream, "{}", line.to_uppercase()).unwrap();
            heard.push(line);
        }
        heard
    })
}

fn call(server: &str) -> Command {
    landline(["call", server])
}

/// A prompt on a screen of 40 columns, ready to be typed at.
fn prompt(command: &Command) -> Screen {
    let screen = Screen::open(command, 60, 16);
    screen.has_cursor(">>:", 4);
    screen
}

fn finish(mut screen: Screen) {
    screen.presses("\x04");
    assert_eq!(screen.ends(), 0);
}

/// Where a command of these tests keeps what was typed.
fn history_of(command: &Command) -> PathBuf {
    let state = command.get_envs().find(|(name, _)| *name == "XDG_STATE_HOME").and_then(|(_, value)| value);
    Path::new(state.unwrap()).join("landline/history")
}

#[test]
fn chinese_is_edited_in_the_middle_and_each_character_takes_its_two_columns() {
    let server = listening();
    let mut screen = prompt(&call(&server.typed()));
    screen.presses("你好世界");
    screen.has_cursor(">>: 你好世界", 12);
    screen.presses(&LEFT.repeat(2));
    screen.has_cursor(">>: 你好世界", 8);
    screen.presses("\x7f大");
    screen.has_cursor(">>: 你大世界", 8);
    // Ctrl-A, Ctrl-E, and a word back with Ctrl-W.
    screen.presses("\x01");
    screen.has_cursor(">>: 你大世界", 4);
    screen.presses("\x05 再见\x17");
    screen.has_cursor(">>: 你大世界", 13);
    screen.presses("!\r");
    screen.shows("the reply", |screen| screen.contents().contains("\n你大世界 !"));
    finish(screen);
    assert_eq!(server.end(), ["你大世界 !"]);
}

#[test]
fn accents_that_combine_and_emoji_are_taken_back_as_one_character() {
    let server = listening();
    let mut screen = prompt(&call(&server.typed()));
    screen.presses("cafe\u{301}");
    screen.has_cursor(">>: cafe\u{301}", 8);
    screen.presses("\x7f");
    screen.has_cursor(">>: caf", 7);
    screen.presses("🦀");
    screen.has_cursor(">>: caf🦀", 9);
    screen.presses("\x7f");
    screen.has_cursor(">>: caf", 7);
    screen.presses("\r");
    screen.shows("the reply", |screen| screen.contents().contains("\nCAF"));
    finish(screen);
    assert_eq!(server.end(), ["caf"]);
}

#[test]
fn a_line_longer_than_the_terminal_goes_on_below_and_is_edited_there_at_any_width() {
    let server = listening();
    let mut screen = Screen::open(&call(&server.typed()), 20, 12);
    screen.shows("the prompt", |screen| screen.contents().contains(">>: "));
    let line = "0123456789abcdefghijklmnopqrst";
    screen.presses(line);
    screen.has_cursor("ghijklmnopqrst", 14);
    screen.presses(&LEFT.repeat(20));
    screen.presses("!");
    screen.shows("the insertion", |screen| screen.contents().contains("0123456789!abcde"));
    screen.is_resized(50, 12);
    screen.presses("?");
    screen.shows("the line at its new width", |screen| {
        screen.contents().replace('\n', "").contains(">>: 0123456789!?abcdefghijklmnopqrst")
    });
    screen.presses("\r");
    screen.shows("the reply", |screen| screen.contents().replace('\n', "").contains("0123456789!?ABC"));
    finish(screen);
    assert_eq!(server.end(), ["0123456789!?abcdefghijklmnopqrst"]);
}

#[test]
fn what_arrives_unasked_stands_above_the_line_that_is_being_typed_which_stays_whole() {
    let (go, wait) = sync_channel::<()>(0);
    let server = server(move |mut stream| {
        wait.recv().unwrap();
        stream.write_all("news 你好\nmore news\n".as_bytes()).unwrap();
        read_line(&mut stream)
    });
    let mut screen = prompt(&call(&server.typed()));
    screen.presses("half a line");
    screen.has_cursor(">>: half a line", 15);
    go.send(()).unwrap();
    screen.has_line("more news");
    screen.has_line("news 你好");
    screen.has_cursor(">>: half a line", 15);
    screen.presses(" and the rest\r");
    assert_eq!(server.end(), b"half a line and the rest\n");
    finish(screen);
}

#[test]
fn a_reply_has_the_time_it_took_dimmed_at_its_right_unless_colours_are_not_wanted() {
    let answered = |setting: Option<&str>| {
        let server = listening();
        let mut command = call(&server.typed());
        if let Some(name) = setting {
            command.env(name, "1");
        }
        let mut screen = prompt(&command);
        screen.presses("hello\r");
        screen.shows("the reply", |screen| screen.contents().contains("\nHELLO"));
        let line = screen.line_that_begins_with("HELLO");
        finish(screen);
        line
    };
    let (line, last_is_dim) = answered(None);
    assert!(line.len() == 59 && line.ends_with("ms") && last_is_dim, "{line:?}");
    assert_eq!(answered(Some("NO_COLOR")), ("HELLO".to_owned(), false));
}

#[test]
fn control_bytes_of_the_server_act_on_the_terminal_only_if_somebody_asks_for_it() {
    for (flag, is_red) in [("--color=auto", false), ("--raw", true)] {
        let server = server(|mut stream| {
            read_line(&mut stream);
            stream.write_all(b"\x1b[31mred\x1b[m\n").unwrap();
            read_line(&mut stream);
        });
        let mut screen = prompt(&landline(["call", flag, &server.typed()]));
        screen.presses("hello\r");
        let front = if is_red { "red" } else { "\\x1b[31mred" };
        screen.shows("the reply", |screen| screen.contents().contains(&format!("\n{front}")));
        screen.presses("bye\r\x04");
        assert_eq!(screen.ends(), 0);
    }
}

#[test]
fn lines_come_back_in_the_next_session_but_for_those_with_a_space_in_front() {
    let server = listener(|listener| (0..2).for_each(|_| upper(accept(&listener))));
    let command = call(&server.typed());
    let mut screen = prompt(&command);
    for line in ["remember me", " my secret", "and me"] {
        screen.presses(&format!("{line}\r"));
        screen.shows(line, |screen| screen.contents().contains(&line.to_uppercase()));
    }
    finish(screen);
    let history = history_of(&command);
    assert_eq!(std::fs::read_to_string(&history).unwrap(), "remember me\nand me\n");
    assert_eq!(std::fs::metadata(&history).unwrap().permissions().mode() & 0o777, 0o600);

    let mut screen = prompt(&command);
    screen.presses(UP);
    screen.has_cursor(">>: and me", 10);
    screen.presses(UP);
    screen.has_cursor(">>: remember me", 15);
    // Ctrl-U; then an earlier line is suggested, and the right arrow takes it.
    screen.presses("\x15rem");
    screen.has_cursor(">>: remember me", 7);
    screen.presses(RIGHT);
    screen.has_cursor(">>: remember me", 15);
    screen.presses("\r");
    screen.shows("the reply", |screen| screen.contents().contains("REMEMBER ME"));
    finish(screen);
    server.end();
}

#[test]
fn a_history_that_can_not_be_kept_is_told_once_and_nothing_else_suffers() {
    let server = listening();
    let mut command = call(&server.typed());
    command.env("XDG_STATE_HOME", "/proc/nowhere");
    let mut screen = prompt(&command);
    screen.presses("one\rtwo\r");
    screen.shows("both replies", |screen| screen.contents().contains("TWO"));
    screen.shows("one notice", |screen| screen.contents().matches("lines are not kept").count() == 1);
    finish(screen);
    assert_eq!(server.end(), ["one", "two"]);
}

#[test]
fn pasted_lines_are_messages_in_their_order_and_never_commands() {
    let server = listening();
    let mut screen = prompt(&call(&server.typed()));
    screen.presses(&format!("{}one\r/quit\r你好\r{}", PASTE[0], PASTE[1]));
    screen.shows("what was pasted", |screen| screen.contents().contains("/quit"));
    screen.presses("\r");
    screen.shows("the replies", |screen| {
        screen.contents().contains("ONE") && screen.contents().contains("/QUIT")
    });
    finish(screen);
    assert_eq!(server.end(), ["one", "/quit", "你好"]);
}

#[test]
fn tab_completes_commands_and_the_paths_of_files() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("call-editing");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a file.txt"), "from a file\nwithout an end").unwrap();
    let server = listening();
    let mut screen = Screen::open(&call(&server.typed()), 160, 20);
    screen.has_cursor(">>:", 4);
    screen.presses("/st\t");
    screen.has_cursor(">>: /stats", 10);
    screen.presses("\r");
    screen.shows("what it says", |screen| screen.contents().contains("reconnects · 0 messages sent"));
    screen.presses(&format!("/f\t{}/a\t", folder.display()));
    screen.shows("the path", |screen| screen.contents().contains(r"call-editing/a\ file.txt"));
    screen.presses("\r");
    screen.shows("the replies", |screen| screen.contents().contains("WITHOUT AN END"));
    screen.shows("the report", |screen| screen.contents().contains("a file.txt was sent: 27 B"));
    finish(screen);
    assert_eq!(server.end(), ["from a file", "without an end"]);
}

#[test]
fn a_file_larger_than_memory_should_hold_passes_in_pieces_and_one_that_is_none_is_refused() {
    const LEN: usize = 5_000_000;
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("call-large-file");
    std::fs::write(&path, "0123456789abcde\n".repeat(LEN / 16)).unwrap();
    let server = server(|mut stream| std::io::copy(&mut stream, &mut std::io::sink()).unwrap());
    let mut screen = Screen::open(&call(&server.typed()), 160, 20);
    screen.has_cursor(">>:", 4);
    for (argument, words) in [
        ("/nosuch", "cannot send /nosuch: no such file or directory"),
        ("/tmp", "cannot send /tmp: it is a folder"),
        ("/dev/zero", "cannot send /dev/zero: it is no regular file"),
    ] {
        screen.presses(&format!("/file {argument}\r"));
        screen.shows(words, |screen| screen.contents().contains(words));
    }
    screen.presses(&format!("/file {}\r", path.display()));
    screen.shows("its end", |screen| screen.contents().contains("call-large-file was sent: 5000000 B"));
    finish(screen);
    assert_eq!(server.end(), LEN as u64);
}

#[test]
fn reconnect_opens_another_connection_and_stats_count_it() {
    let server = listener(|listener| (0..2).for_each(|_| upper(accept(&listener))));
    let mut screen = prompt(&call(&server.typed()));
    screen.presses("one\r");
    screen.shows("the reply", |screen| screen.contents().contains("ONE"));
    screen.presses("/reconnect\r");
    screen.shows("two banners", |screen| screen.contents().matches("connected to").count() == 2);
    screen.presses("two\r");
    screen.shows("the reply", |screen| screen.contents().contains("TWO"));
    screen.presses("/stats\r");
    screen.shows("what it counts", |screen| {
        let seen = screen.contents();
        seen.contains("1 reconnects · 2 messages sent") && seen.contains("this connection: 4 B out, 4 B in")
    });
    finish(screen);
    server.end();
}
