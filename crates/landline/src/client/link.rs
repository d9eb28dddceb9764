//! One connection of a client.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use super::conversation::write_or_flush;
use super::driver::Queue;
use super::flight::{Flight, Sent};
use super::stream::{ReadHalf, Stream, WriteHalf};
use super::{Ask, Cutter, Options, lost, speaks_tls};
use crate::address::Address;
use crate::error::{Error, Kind, describe};
use crate::frame::Cut;

/// How much room there is for one read.
const READ_SIZE: usize = 16 * 1024;

/// How many bytes may wait to be written before no more asks are taken.
const UNWRITTEN_MAX: usize = 256 * 1024;

/// Answers up to this length are copied: who keeps one for long keeps no more than that. Longer ones are
/// handed out as they lie, with whatever else came in the same read.
const COPIED_MAX: usize = 4 * 1024;

pub(super) struct Link {
    peer: Address,
    reader: ReadHalf,
    writer: WriteHalf,
    cutter: Cutter,
    /// What came and is no whole message yet.
    held: BytesMut,
    unwritten: BytesMut,
    writing: Writing,
    flight: Flight<Ask>,
    flying_max: usize,
    greetings: usize,
    silence_max: Option<Duration>,
    /// Since when the server has said nothing, or has had nothing to answer.
    silent_since: Instant,
    has_answered: bool,
    /// It is in plain text.
    is_plain: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// Nothing waits to be written.
    Done,
    /// Something does, or may not be out: TLS may hold back what it has taken.
    Goes,
    /// It has failed: reading will tell how the connection ended, after what still came.
    Failed,
}

/// Why a connection is over.
#[derive(Debug)]
pub(super) enum End {
    /// No client is left.
    Unused,
    Closed,
    Failed(String),
    Silent(Duration),
    /// Something that nobody had asked for came.
    Unasked,
    /// An error that is the same for all.
    Told(Error),
}

impl End {
    /// What it is to one ask.
    pub(super) fn error(&self, peer: &Address, sent: Sent, half: bool) -> Error {
        let what = match (sent, half) {
            (Sent::Not, _) => format!("the message to {peer} was not sent"),
            (Sent::Maybe, true) => format!("half an answer from {peer}"),
            (Sent::Maybe, false) => format!("no answer from {peer}"),
        };
        let error = match self {
            End::Told(error) => error.again(),
            End::Closed => Error::new(Kind::Lost, what, "the server closed the connection"),
            End::Unused => Error::new(Kind::Lost, what, "nobody waits for it"),
            End::Failed(cause) => Error::new(Kind::Lost, what, cause),
            End::Silent(limit) => {
                Error::new(Kind::Timeout, what, format!("the server said nothing for {limit:?}"))
            }
            End::Unasked => {
                let cause = "the server said what nobody had asked for, so that answers can't be told apart";
                Error::new(Kind::Lost, what, cause)
            }
        };
        if sent == Sent::Not { error.with_unsent() } else { error }
    }
}

impl Link {
    pub(super) fn new(stream: Stream, peer: &Address, options: &Options) -> Self {
        let is_plain = stream.tls_version().is_none();
        let (reader, writer) = stream.into_split();
        Self {
            peer: peer.clone(),
            reader,
            writer,
            cutter: options.cutter(),
            held: BytesMut::new(),
            unwritten: BytesMut::new(),
            writing: Writing::Done,
            flight: Flight::new(),
            flying_max: options.flying_max(),
            greetings: options.greetings,
            silence_max: options.ask_timeout,
            silent_since: Instant::now(),
            has_answered: false,
            is_plain,
        }
    }

    /// Whether the server has answered anything.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered
    }

    pub(super) fn has_half_an_answer(&self) -> bool {
        !self.held.is_empty()
    }

    /// What is left when the connection is over.
    pub(super) fn into_flight(self) -> Flight<Ask> {
        self.flight
    }

    /// Sends asks and gives out answers until the connection is over.
    pub(super) async fn converse(&mut self, queue: &mut Queue) -> End {
        loop {
            while self.has_room()
                && let Some(ask) = queue.try_next()
            {
                self.send(ask);
            }
            self.held.reserve(READ_SIZE);
            let silent_at = self.silence_max.filter(|_| !self.flight.is_empty() || self.greetings > 0);
            let silent_at = silent_at.map(|limit| self.silent_since + limit);
            tokio::select! {
                ask = queue.next(), if self.has_room() => match ask {
                    Some(ask) => self.send(ask),
                    None => return self.finish().await,
                },
                read = self.reader.read_buf(&mut self.held) => match read {
                    Ok(0) => return self.closed(),
                    Ok(_) => if let Err(end) = self.receive() {
                        return end;
                    },
                    Err(cause) => return self.failed(cause),
                },
                written = write_or_flush(&mut self.writer, &self.unwritten), if self.writing == Writing::Goes => self.wrote(&written),
                () = sleep_until(silent_at.unwrap_or_else(Instant::now)), if silent_at.is_some() => {
                    return End::Silent(self.silence_max.unwrap_or_default());
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        let is_open = self.greetings == 0 && self.writing != Writing::Failed;
        is_open && self.flight.len() < self.flying_max && self.unwritten.len() < UNWRITTEN_MAX
    }

    fn send(&mut self, ask: Ask) {
        if self.flight.is_empty() {
            self.silent_since = Instant::now();
        }
        self.unwritten.extend_from_slice(&ask.message);
        let len = ask.message.len();
        self.flight.push(ask, len);
        self.writing = Writing::Goes;
    }

    fn wrote(&mut self, written: &io::Result<Option<usize>>) {
        match written {
            Ok(Some(count)) => {
                self.unwritten.advance(*count);
                self.flight.wrote(*count);
            }
            Ok(None) => self.writing = Writing::Done,
            Err(_) => self.writing = Writing::Failed,
        }
    }

    /// Gives out the whole answers of what came.
    fn receive(&mut self) -> Result<(), End> {
        self.silent_since = Instant::now();
        // Its first words may be the alert of a server that speaks TLS.
        if self.is_plain
            && !self.has_answered
            && let Some(error) = speaks_tls(&self.peer, &self.held)
        {
            self.held.clear();
            return Err(End::Told(error));
        }
        loop {
            match self.cutter.next(&self.held) {
                Ok(Cut::Message { body, end, .. }) => {
                    let message = self.take(body, end);
                    self.answer(message)?;
                }
                Ok(Cut::More { .. }) => return Ok(()),
                Err(error) => {
                    let cannot = format!("cannot read the answer of {}", self.peer);
                    return Err(End::Told(Error::new(Kind::Framing, cannot, error.to_string())));
                }
            }
        }
    }

    fn take(&mut self, body: std::ops::Range<usize>, end: usize) -> Bytes {
        if body.len() > COPIED_MAX {
            return self.held.split_to(end).freeze().slice(body);
        }
        let copy = Bytes::copy_from_slice(&self.held[body]);
        self.held.advance(end);
        copy
    }

    fn answer(&mut self, message: Bytes) -> Result<(), End> {
        if self.greetings > 0 {
            self.greetings -= 1;
            return Ok(());
        }
        let ask = self.flight.answered().ok_or(End::Unasked)?;
        self.has_answered = true;
        ask.end(Ok(message));
        Ok(())
    }

    /// The server has closed: what came of a last line is a line.
    fn closed(&mut self) -> End {
        if let Ok(Some(Cut::Message { body, end, .. })) = self.cutter.finish(&self.held) {
            let message = self.take(body, end);
            if let Err(end) = self.answer(message) {
                return end;
            }
        }
        End::Closed
    }

    fn failed(&self, cause: io::Error) -> End {
        let words = describe(&cause);
        match lost(&self.peer, cause) {
            error if error.is_tls() => End::Told(error),
            _ => End::Failed(words),
        }
    }

    /// No client is left, so nobody waits for an answer any more.
    async fn finish(&mut self) -> End {
        // A server that is gone already needs no end.
        let _ = self.writer.shutdown().await;
        End::Unused
    }
}
