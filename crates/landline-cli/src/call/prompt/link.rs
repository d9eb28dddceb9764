//! One connection of a prompt: lines out, whatever the server says onto the screen.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use landline::address::Address;
use landline::client::{self, Cutter, Delimiting, ReadHalf, Stream, WriteHalf};
use landline::error::Error;
use landline::frame::{Cut, FrameError, Framing};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use super::screen::Screen;
use crate::call::crlf::Crlf;
use crate::call::show::Escaper;
use crate::call::{Call, REPLY_MAX, stdio};

/// A line without an ending is shown when nothing has followed it for this long: it may be a prompt of the
/// server's.
const LINE_PATIENCE: Duration = Duration::from_millis(100);

/// A line is also shown when it has grown this long, in bytes.
const LINE_MAX: usize = 64 * 1024;

const READ_SIZE: usize = 16 * 1024;

pub(super) struct Link {
    address: Address,
    reader: ReadHalf,
    writer: WriteHalf,
    /// Nothing came yet, and what comes may be the alert of a server that speaks TLS.
    may_be_tls: bool,
    delimiting: Delimiting,
    cutter: Cutter,
    crlf: bool,
    unsent: Vec<u8>,
    /// Something was written or waits to be, and may not be out: TLS may hold back what it has taken.
    sending: bool,
    /// What came and is no whole message yet; only the `length` framing waits for whole messages.
    held: Vec<u8>,
    screen: Arc<Screen>,
    escaper: Escaper,
    /// The line that has not ended.
    line: String,
    /// When to show it all the same.
    show_at: Option<Instant>,
    /// When the first message without a reply was sent.
    asked_at: Option<Instant>,
    /// How long the reply took whose first line was not shown yet.
    took: Option<Duration>,
    /// How long replies took, for whoever counts.
    round_trips: Vec<Duration>,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    Closed,
    Reset,
    /// Lost in another way; the cause in words.
    Lost(String),
    Framing(FrameError),
    /// TLS can't be spoken here, or is what would have to be.
    Tls(Error),
}

impl End {
    pub(super) fn cause(&self) -> String {
        match self {
            End::Closed => "closed by the server".to_owned(),
            End::Reset => "connection reset by peer".to_owned(),
            End::Lost(cause) => cause.clone(),
            End::Framing(error) => error.to_string(),
            End::Tls(error) => error.to_string(),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed => f.write_str("server closed the connection"),
            End::Reset => f.write_str("server reset the connection"),
            End::Tls(error) => error.fmt(f),
            End::Lost(_) => write!(f, "connection lost ({})", self.cause()),
            End::Framing(_) => write!(f, "connection ended: the server sent {}", self.cause()),
        }
    }
}

impl Link {
    pub(super) fn new(stream: Stream, call: &Call<'_>, screen: Arc<Screen>) -> Self {
        let (args, escaper) = (call.args, Escaper::new(screen.charset).passing_controls(call.args.raw));
        let (reader, writer) = stream.into_split();
        Self {
            address: args.address.clone(),
            reader,
            writer,
            may_be_tls: !args.tls.tls,
            cutter: call.delimiting().cutter(REPLY_MAX),
            delimiting: call.delimiting(),
            crlf: args.crlf,
            unsent: Vec::new(),
            sending: false,
            held: Vec::new(),
            screen,
            escaper,
            line: String::new(),
            show_at: None,
            asked_at: None,
            took: None,
            round_trips: Vec::new(),
        }
    }

    /// How long replies took since this was called last.
    pub(super) fn round_trips(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.round_trips)
    }

    /// Whether everything typed so far is out: more is not taken before, so what waits is bounded by one
    /// line.
    pub(super) fn takes_lines(&self) -> bool {
        !self.sending
    }

    /// Frames a line; [`drive`](Self::drive) sends it.
    pub(super) fn send(&mut self, line: &str) -> Result<(), FrameError> {
        if self.crlf {
            self.send_bytes(&Crlf::default().convert(line.as_bytes()))
        } else {
            self.send_bytes(line.as_bytes())
        }
    }

    /// Delimits bytes that are one message.
    pub(super) fn send_bytes(&mut self, message: &[u8]) -> Result<(), FrameError> {
        let message = self.delimiting.encode(message)?;
        self.asked_at.get_or_insert_with(Instant::now);
        self.put(&message);
        Ok(())
    }

    /// Takes a part of a stream that is delimited already; with `--crlf`, `crlf` knows what came before.
    pub(super) fn send_piece(&mut self, piece: &[u8], crlf: &mut Crlf) {
        if self.crlf { self.put(&crlf.convert(piece)) } else { self.put(piece) }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.sending = true;
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
                        self.note_reply();
                        if let Some(error) = self.mistaken() {
                            return Ok(Some(End::Tls(error)));
                        }
                        if let Err(error) = self.receive()? {
                            return Ok(Some(End::Framing(error)));
                        }
                    }
                    Ok(0) => return self.end(End::Closed).map(Some),
                    Err(error) => {
                        let end = self.lost(error);
                        return self.end(end).map(Some);
                    }
                },
                written = write_or_flush(&mut self.writer, &self.unsent), if self.sending => {
                    if let Ok(Some(count)) = written {
                        self.unsent.drain(..count);
                        continue;
                    }
                    // After an error, reading tells how it ended, once everything that came is shown.
                    self.unsent.clear();
                    self.sending = false;
                    return Ok(None);
                }
                () = sleep_until(show_at.unwrap_or_else(Instant::now)), if show_at.is_some() => self.show_line(),
            }
        }
    }

    /// Sends a FIN, then shows what comes until the server has closed too. The error is one of stdout.
    pub(super) async fn finish(&mut self) -> io::Result<End> {
        while self.sending {
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

    /// Something came: it is taken for the beginning of the reply to what was asked first.
    fn note_reply(&mut self) {
        if let Some(asked_at) = self.asked_at.take() {
            self.took = Some(asked_at.elapsed());
            self.round_trips.extend(self.took);
        }
    }

    /// The error if what came first shows that TLS is spoken there; then nobody wants to see it.
    fn mistaken(&mut self) -> Option<Error> {
        let first = std::mem::take(&mut self.may_be_tls);
        let error = client::speaks_tls(&self.address, &self.held).filter(|_| first)?;
        self.held.clear();
        Some(error)
    }

    fn lost(&self, error: io::Error) -> End {
        let (kind, cause) = (error.kind(), landline::error::describe(&error));
        match client::lost(&self.address, error) {
            error if error.is_tls() => End::Tls(error),
            _ if kind == io::ErrorKind::ConnectionReset => End::Reset,
            _ => End::Lost(cause),
        }
    }

    /// Shows what `held` has of whole messages; the inner error is one of framing.
    fn receive(&mut self) -> io::Result<Result<(), FrameError>> {
        let mut held = std::mem::take(&mut self.held);
        if matches!(self.delimiting, Delimiting::Framed(Framing::Line, _)) {
            // Shown as it comes: a line may be the server's own prompt, without an end.
            self.show(&held)?;
            held.clear();
        }
        let mut done = 0;
        let found = loop {
            match self.cutter.next(&held[done..]) {
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
        let lines: String = self.line.drain(..ended).collect();
        self.show_reply(&lines);
        if self.line.len() > LINE_MAX {
            self.show_line();
        }
        self.show_at = (!self.line.is_empty()).then(|| Instant::now() + LINE_PATIENCE);
        Ok(())
    }

    /// Shows the line that has not ended.
    fn show_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        self.show_reply(&line);
        self.show_at = None;
    }

    fn show_reply(&mut self, text: &str) {
        match self.took.take_if(|_| !text.is_empty()) {
            Some(took) => self.screen.show_timed(text, took),
            None => self.screen.show(text),
        }
    }

    /// Shows whatever is left, ended or not.
    fn end(&mut self, end: End) -> io::Result<End> {
        let held = std::mem::take(&mut self.held);
        self.show(&held)?;
        self.escaper.finish(&mut self.line);
        self.show_line();
        match (&end, self.cutter.finish(&held)) {
            (End::Closed, Err(error)) => Ok(End::Framing(error)),
            _ => Ok(end),
        }
    }
}

/// Writes some of `unsent`; with nothing left, has it all go out (`None`).
async fn write_or_flush(writer: &mut (impl AsyncWrite + Unpin), unsent: &[u8]) -> io::Result<Option<usize>> {
    if unsent.is_empty() {
        writer.flush().await?;
        return Ok(None);
    }
    writer.write(unsent).await.map(Some)
}
