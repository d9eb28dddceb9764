//! Replies as they came, and whether a server is up.

use std::io;
use std::time::Duration;

use super::{Outcome, Report};
use crate::call::printer::Printer;
use crate::call::{Call, Took, stdio};

/// Prints replies, and nothing else.
pub(super) struct Plain {
    pub(super) raw: bool,
}

impl Report for Plain {
    fn tell(&mut self, outcome: &Outcome<'_>) -> io::Result<()> {
        let mut printer = Printer::new(self.raw);
        printer.print(outcome.reply)?;
        printer.finish()
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
