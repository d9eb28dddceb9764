//! Replies as they came, and whether a server is up.

use std::io::{self, IsTerminal};
use std::time::Duration;

use super::{Outcome, Report};
use crate::call::show::Escaper;
use crate::call::{Call, Took, stdio};
use crate::terminal;

/// Prints replies, and nothing else.
pub(super) struct Plain;

impl Report for Plain {
    fn tell(&mut self, outcome: &Outcome<'_>) -> io::Result<()> {
        let mut printer = Printer::new();
        printer.print(outcome.reply)?;
        printer.finish()
    }
}

/// Prints what a server says: byte for byte; on a terminal, control bytes are escaped and the last line is
/// ended.
pub(super) struct Printer {
    escaper: Option<Escaper>,
    is_within_line: bool,
}

impl Printer {
    pub(super) fn new() -> Self {
        let escaper = io::stdout().is_terminal().then(|| Escaper::new(terminal::charset()));
        Self { escaper, is_within_line: false }
    }

    pub(super) fn print(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.escaper {
            None => stdio::print(bytes),
            Some(escaper) => {
                let mut text = String::new();
                escaper.push(bytes, &mut text);
                self.show(&text)
            }
        }
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        let mut text = String::new();
        if let Some(escaper) = &mut self.escaper {
            escaper.finish(&mut text);
            self.show(&text)?;
            if self.is_within_line {
                stdio::print(b"\n")?;
            }
        }
        Ok(())
    }

    fn show(&mut self, text: &str) -> io::Result<()> {
        self.is_within_line = text.chars().last().map_or(self.is_within_line, |last| last != '\n');
        stdio::print(text.as_bytes())
    }
}

/// Says that a server is up, in one line; when it is not, the error says so.
pub(super) struct Up {
    address: String,
    messages: u64,
    connecting: Option<Duration>,
}

impl Up {
    pub(super) fn new(call: &Call<'_>) -> Self {
        Self {
            address: call.args.address.to_string(),
            messages: call.args.messages.len() as u64,
            connecting: None,
        }
    }
}

impl Report for Up {
    fn tell(&mut self, outcome: &Outcome<'_>) -> io::Result<()> {
        self.connecting = outcome.connecting.or(self.connecting);
        // With messages, it is up once the last one of a round is answered.
        if outcome.failure.is_some() || !outcome.number.is_multiple_of(self.messages) {
            return Ok(());
        }
        let connected = self.connecting.take().map(|took| format!("connected in {}", Took(took)));
        let answered = (self.messages > 0).then(|| format!("answered in {}", Took(outcome.took)));
        let facts: Vec<String> = connected.into_iter().chain(answered).collect();
        stdio::print(format!("{} is up: {}\n", self.address, facts.join(", ")).as_bytes())
    }
}
