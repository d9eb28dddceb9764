//! What a server says, on stdout.

use std::io::{self, IsTerminal};

use super::show::Escaper;
use super::stdio;
use crate::terminal;

/// Prints what a server says: byte for byte; on a terminal, control bytes are escaped and the last line is
/// ended.
pub(super) struct Printer {
    escaper: Option<Escaper>,
    is_within_line: bool,
}

impl Printer {
    /// With `raw`, a terminal gets every byte, too.
    pub(super) fn new(raw: bool) -> Self {
        let escaper = (io::stdout().is_terminal() && !raw).then(|| Escaper::new(terminal::charset()));
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
