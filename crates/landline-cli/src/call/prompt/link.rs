//! One connection of a prompt: lines out, whatever the server says onto the screen.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use landline::frame::{Cut, Decoder, Ending, FrameError, Framing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep_until};

use super::screen::Screen;
use crate::call::crlf::Crlf;
use crate::call::show::Escaper;
use crate::call::{REPLY_MAX, stdio};

/// A line without an ending is shown when nothing has followed it for this long: it may be a prompt of the
/// server's.
const LINE_PATIENCE: Duration = Duration::from_millis(100);

/// A line is also shown when it has grown this long, in bytes.
const LINE_MAX: usize = 64 * 1024;

const READ_SIZE: usize = 16 * 1024;

pub(super) struct Link {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    decoder: Decoder,
    crlf: bool,
    unsent: Vec<u8>,
    /// What came and is no whole message yet; only the `length` framing waits for whole messages.
    held: Vec<u8>,
    screen: Arc<Screen>,
    escaper: Escaper,
    /// The line that has not ended.
    line: String,
    /// When to show it all the same.
    show_at: Option<Instant>,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    Closed,
    Lost(io::Error),
    Framing(FrameError),
}

impl End {
    pub(super) fn cause(&self) -> String {
        match self {
            End::Closed => "closed by the server".to_owned(),
            End::Lost(error) => landline::error::describe(error),
            End::Framing(error) => error.to_string(),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed => f.write_str("server closed the connection"),
            End::Lost(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                f.write_str("server reset the connection")
            }
            End::Lost(_) => write!(f, "connection lost ({})", self.cause()),
            End::Framing(_) => write!(f, "connection ended: the server sent {}", self.cause()),
        }
    }
}

impl Link {
    pub(super) fn new(stream: TcpStream, framing: Framing, crlf: bool, screen: Arc<Screen>) -> Self {
        let (reader, writer) = stream.into_split();
        let escaper = Escaper::new(screen.charset);
        Self {
            reader,
            writer,
            decoder: Decoder::new(framing, REPLY_MAX),
            crlf,
            unsent: Vec::new(),
            held: Vec::new(),
            screen,
            escaper,
            line: String::new(),
            show_at: None,
        }
    }

    /// Whether everything typed so far is out: more is not taken before, so what waits is bounded by one
    /// line.
    pub(super) fn takes_lines(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Frames a line; [`drive`](Self::drive) sends it.
    pub(super) fn send(&mut self, line: &str) -> Result<(), FrameError> {
        let framing = self.decoder.framing();
        let (body, ending) = if self.crlf {
            (Crlf::default().convert(line.as_bytes()), Ending::CrLf)
        } else {
            (line.as_bytes().to_vec(), Ending::Lf)
        };
        let mut message = vec![0; framing.prefix_len()];
        message.extend_from_slice(&body);
        let suffix = framing.seal(&mut message, ending)?;
        message.extend_from_slice(suffix);
        self.unsent.extend_from_slice(&message);
        Ok(())
    }

    /// Sends what waits and shows what comes, until all is sent (`None`) or the connection ends. Cancel safe:
    /// nothing is lost, and it goes on with the next call. The error is one of stdout.
    pub(super) async fn drive(&mut self) -> io::Result<Option<End>> {
        loop {
            self.screen.room().await;
            self.held.reserve(READ_SIZE);
            let show_at = self.show_at;
            tokio::select! {
                read = self.reader.read_buf(&mut self.held) => match read {
                    Ok(1..) => {
                        if let Err(error) = self.receive()? {
                            return Ok(Some(End::Framing(error)));
                        }
                    }
                    Ok(0) => return self.end(End::Closed).map(Some),
                    Err(error) => return self.end(End::Lost(error)).map(Some),
                },
                written = self.writer.write(&self.unsent), if !self.unsent.is_empty() => {
                    match written {
                        Ok(count) => drop(self.unsent.drain(..count)),
                        // Reading tells how it ended, once everything that came is shown.
                        Err(_) => self.unsent.clear(),
                    }
                    if self.unsent.is_empty() {
                        return Ok(None);
                    }
                }
                () = sleep_until(show_at.unwrap_or_else(Instant::now)), if show_at.is_some() => self.show_line(),
            }
        }
    }

    /// Sends a FIN, then shows what comes until the server has closed too. The error is one of stdout.
    pub(super) async fn finish(&mut self) -> io::Result<End> {
        while !self.unsent.is_empty() {
            if let Some(end) = self.drive().await? {
                return Ok(end);
            }
        }
        // A connection that is gone already is found so by reading.
        let _ = self.writer.shutdown().await;
        loop {
            if let Some(end) = self.drive().await? {
                return Ok(end);
            }
        }
    }

    /// Shows what `held` has of whole messages; the inner error is one of framing.
    fn receive(&mut self) -> io::Result<Result<(), FrameError>> {
        let mut held = std::mem::take(&mut self.held);
        if self.decoder.framing() == Framing::Line {
            // Shown as it comes: a line may be the server's own prompt, without an end.
            self.show(&held)?;
            held.clear();
        }
        let mut done = 0;
        let found = loop {
            match self.decoder.next(&held[done..]) {
                Ok(Cut::Message { body, end, .. }) => {
                    self.show(&held[done..][body])?;
                    self.show_line();
                    done += end;
                }
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        held.drain(..done);
        self.held = held;
        Ok(found)
    }

    fn show(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.screen.shows_data {
            return stdio::print(bytes);
        }
        self.escaper.push(bytes, &mut self.line);
        let ended = self.line.rfind('\n').map_or(0, |at| at + 1);
        self.screen.show(&self.line[..ended]);
        self.line.drain(..ended);
        if self.line.len() > LINE_MAX {
            self.show_line();
        }
        self.show_at = (!self.line.is_empty()).then(|| Instant::now() + LINE_PATIENCE);
        Ok(())
    }

    /// Shows the line that has not ended.
    fn show_line(&mut self) {
        self.screen.show(&self.line);
        self.line.clear();
        self.show_at = None;
    }

    /// Shows whatever is left, ended or not.
    fn end(&mut self, end: End) -> io::Result<End> {
        let held = std::mem::take(&mut self.held);
        self.show(&held)?;
        self.escaper.finish(&mut self.line);
        self.show_line();
        match (&end, self.decoder.finish(&held)) {
            (End::Closed, Err(error)) => Ok(End::Framing(error)),
            _ => Ok(end),
        }
    }
}
