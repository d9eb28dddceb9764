//! The program on a terminal of which one sees the screen, as a person does, and not the bytes.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use nix::pty::{Winsize, openpty};
use rustix::termios::tcsetwinsize;

use crate::support::{GUARD, code, wait};

pub(crate) struct Screen {
    child: Option<Child>,
    keyboard: File,
    seen: Arc<(Mutex<vt100::Parser>, Condvar)>,
}

impl Screen {
    /// A terminal of so many columns and rows, with the program on it.
    pub(crate) fn open(command: &Command, columns: u16, rows: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        // So that it is the terminal of the program, which then hears of another size.
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        let child = session.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        let seen = Arc::new((Mutex::new(vt100::Parser::new(some(rows), some(columns), 0)), Condvar::new()));
        let (mut output, shown) = (File::from(pty.master.try_clone().unwrap()), seen.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A terminal that nobody has open any more fails to be read.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                shown.0.lock().unwrap().process(&bytes[..count]);
                shown.1.notify_all();
            }
        });
        Self { child: Some(child), keyboard: File::from(pty.master), seen }
    }

    pub(crate) fn presses(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn is_resized(&mut self, columns: u16, rows: u16) {
        self.seen.0.lock().unwrap().screen_mut().set_size(some(rows), some(columns));
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keyboard, size).unwrap();
    }

    /// Waits until it looks so.
    pub(crate) fn shows(&self, what: &str, looks_so: impl Fn(&vt100::Screen) -> bool) {
        let parser = self.seen.0.lock().unwrap();
        let waited =
            self.seen.1.wait_timeout_while(parser, GUARD, |parser| !looks_so(parser.screen())).unwrap();
        assert!(!waited.1.timed_out(), "waiting for {what}: {:#?}", waited.0.screen().contents());
    }

    /// Waits until the line with the cursor is this one, with the cursor in that column.
    pub(crate) fn has_cursor(&self, line: &str, column: u16) {
        self.shows(&format!("{line:?} with the cursor at {column}"), |screen| {
            let (row, at) = screen.cursor_position();
            let (_, columns) = screen.size();
            let shown = screen.rows(0, columns.get()).nth(usize::from(row)).unwrap_or_default();
            shown.trim_end() == line.trim_end() && at == column
        });
    }

    /// Waits until one of its lines is this one.
    pub(crate) fn has_line(&self, line: &str) {
        self.shows(&format!("{line:?}"), |screen| {
            screen.rows(0, screen.size().1.get()).any(|shown| shown.trim_end() == line)
        });
    }

    /// The first line that begins so, and whether its last character is dimmed.
    pub(crate) fn line_that_begins_with(&self, front: &str) -> (String, bool) {
        let parser = self.seen.0.lock().unwrap();
        let screen = parser.screen();
        let (_, columns) = screen.size();
        let (row, line) =
            screen.rows(0, columns.get()).enumerate().find(|(_, line)| line.starts_with(front)).unwrap();
        let line = line.trim_end().to_owned();
        let last = (u16::try_from(row).unwrap(), u16::try_from(line.len() - 1).unwrap());
        (line, screen.cell(last.0, last.1).is_some_and(vt100::Cell::dim))
    }

    /// Waits for the end of the program.
    pub(crate) fn ends(mut self) -> i32 {
        code(&wait(self.child.take().unwrap()))
    }
}

fn some(size: u16) -> NonZero<u16> {
    NonZero::new(size).unwrap()
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
