//! The terminal, shared by the line editor and by what the server says.
//!
//! While a line is being edited only the editor's thread writes to the terminal: what is to be shown waits
//! here, the editor is woken, and takes it as it redraws its prompt. So nothing is lost or shown out of order
//! between a line that ends and the next that begins, which pushing text through the editor's own queue would
//! not ensure.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use landline::event::Charset;
use rustix::termios::tcgetwinsize;
use rustyline::ExternalPrinter;
use tokio::sync::Notify;
use unicode_width::UnicodeWidthStr;

use crate::call::{Took, stdio};
use crate::terminal;

/// How much text may wait for the editor, in bytes, before reading from the server stops.
const WAITING_MAX: usize = 256 * 1024;

/// What wakes the editor: it redraws its line after printing this. It has to end in a line feed, or else one
/// is added; one row up before it leaves the cursor where it was.
const WAKE: &str = "\x1b[A\n";

/// How far a time stands from what it is of, in columns.
const GAP_MIN: usize = 2;

#[derive(Debug)]
pub(super) struct Screen {
    /// Whether data goes to this terminal, or byte for byte to wherever stdout leads.
    pub(super) shows_data: bool,
    pub(super) charset: Charset,
    state: Mutex<State>,
    /// Told whenever the editor has taken what waited.
    taken: Notify,
    waker: OnceLock<SyncSender<()>>,
}

#[derive(Debug, Default)]
struct State {
    editing: bool,
    waiting: String,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            shows_data: io::stdout().is_terminal(),
            charset: terminal::charset(),
            state: Mutex::default(),
            taken: Notify::new(),
            waker: OnceLock::new(),
        }
    }

    /// Shows text above the prompt, as a line of its own.
    pub(super) fn show(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut state = self.lock();
        let ending = if text.ends_with('\n') { "" } else { "\n" };
        if state.editing {
            state.waiting.push_str(text);
            state.waiting.push_str(ending);
            if let Some(waker) = self.waker.get() {
                // Full: the editor is being woken already.
                let _ = waker.try_send(());
            }
        } else {
            self.write(&format!("{text}{ending}"));
        }
    }

    /// Shows a reply with the time that it took at the right of its first line, if there is room.
    pub(super) fn show_timed(&self, text: &str, took: Duration) {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let note = Took(took).to_string();
        let gap = columns().and_then(|columns| columns.checked_sub(first.width() + note.width()));
        match gap.filter(|gap| *gap >= GAP_MIN && self.has_styles()) {
            None => self.show(text),
            Some(gap) => {
                let dimmed = Style::new().dimmed();
                self.show(&format!("{first}{:gap$}{dimmed}{note}{dimmed:#}\n{rest}", ""));
            }
        }
    }

    /// Whether this terminal shows styles, and somebody wants them.
    pub(super) fn has_styles(&self) -> bool {
        self.shows_data && AutoStream::choice(&io::stdout()) != ColorChoice::Never
    }

    /// Waits until there is room for more to show. Cancel safe.
    pub(super) async fn room(&self) {
        while self.lock().waiting.len() > WAITING_MAX {
            self.taken.notified().await;
        }
    }

    /// Says something of ours: talk, as opposed to data.
    pub(super) fn say(&self, text: &str) {
        self.talk(text, Style::new());
    }

    /// Says that something has happened to the connection.
    pub(super) fn notice(&self, text: &str) {
        self.talk(&format!("! {text}"), AnsiColor::Yellow.on_default());
    }

    fn talk(&self, text: &str, style: Style) {
        let text = terminal::words(text, self.charset);
        let stderr = io::stderr();
        if !stderr.is_terminal() {
            // With stderr gone there is nobody to tell.
            let _ = writeln!(stderr.lock(), "{text}");
        } else if AutoStream::choice(&stderr) == ColorChoice::Never {
            self.show(&text);
        } else {
            self.show(&format!("{style}{text}{style:#}"));
        }
    }

    /// From here on the editor's thread writes, if it can be woken.
    pub(super) fn begin_line(&self) {
        let mut state = self.lock();
        state.editing = self.can_edit();
    }

    /// Whether lines are edited here: not on a terminal that can't move its cursor.
    pub(super) fn can_edit(&self) -> bool {
        self.waker.get().is_some()
    }

    /// The line is done; what still waited is shown.
    pub(super) fn end_line(&self) {
        let mut state = self.lock();
        state.editing = false;
        let waiting = std::mem::take(&mut state.waiting);
        self.write(&waiting);
        self.taken.notify_one();
    }

    /// What waits to be shown; for the editor's thread, while it redraws.
    pub(super) fn take(&self) -> String {
        let waiting = std::mem::take(&mut self.lock().waiting);
        self.taken.notify_one();
        waiting
    }

    /// How the editor is woken. The wake-up may block for as long as the editor is not reading, so it has a
    /// thread.
    pub(super) fn wake_by(&self, mut printer: impl ExternalPrinter + Send + 'static) {
        let (sender, wakes) = sync_channel(1);
        std::thread::spawn(move || while wakes.recv().is_ok() && printer.print(WAKE.to_owned()).is_ok() {});
        // Only the first one counts, and there is only one editor.
        let _ = self.waker.set(sender);
    }

    /// Writes to the terminal itself. With stdout elsewhere, the terminal is on stderr.
    fn write(&self, text: &str) {
        // A terminal that has gone is noticed by the editor.
        let _ = if self.shows_data {
            stdio::print(text.as_bytes())
        } else {
            io::stderr().lock().write_all(text.as_bytes())
        };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How wide the terminal is.
fn columns() -> Option<usize> {
    let size = tcgetwinsize(rustix::stdio::stdout()).ok()?;
    // The last column is left free: some terminals go on to the next line once it is taken.
    usize::from(size.ws_col).checked_sub(1)
}
