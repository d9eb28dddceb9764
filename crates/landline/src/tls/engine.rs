//! TLS without a socket: bytes of the network in, plain bytes out, and the other way around.
//!
//! rustls is used by its interface without buffers, so that an idle connection holds none: what it holds here
//! is a record that has not come completely, or what the peer does not take.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{Error, ServerConfig};
use tokio::io::ReadBuf;

use super::words::words;
use crate::buffer::{Buffer, Pool};

/// How much of what the peer sent is held at most, in bytes, before something complete is in it: the longest
/// message of a handshake, in records that are not too short.
const INCOMING_MAX: usize = 128 << 10;
/// How many bytes of plain text are encrypted at a time: as many as fill this much memory with what TLS adds.
const ENCRYPTED_MAX: usize = 64 << 10;
/// What TLS adds to a record at most, in bytes: its header, a nonce, a tag and a type.
const RECORD_OVERHEAD: usize = 64;
/// The longest plain text of a record, in bytes.
const RECORD_MAX: usize = 16 << 10;
/// Plain text that makes [`ENCRYPTED_MAX`] of records.
const PLAIN_MAX: usize = ENCRYPTED_MAX - (ENCRYPTED_MAX / RECORD_MAX + 1) * RECORD_OVERHEAD;
/// How much memory what is not plain text is given first, in bytes: an alert, a ticket.
const MESSAGE_ROOM: usize = 512;
/// What a record begins with, and from where on what is older than records, or binary: all else is text.
const RECORDS: RangeInclusive<u8> = 20..=23;
const OLD_HELLO: u8 = 0x80;

/// Bytes of which those at the front are done with. When all are, it holds no memory.
#[derive(Default)]
pub(super) struct Held {
    bytes: Option<Buffer>,
    done: usize,
}

impl Held {
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.as_ref().map_or(&[], |bytes| &bytes[self.done..])
    }

    fn rest_mut(&mut self) -> &mut [u8] {
        let done = self.done;
        self.bytes.as_mut().map_or(&mut [], |bytes| &mut bytes.filled_mut()[done..])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// Room for at least `count` more bytes.
    pub(super) fn room(&mut self, pool: &Rc<Pool>, count: usize) -> &mut [u8] {
        let bytes = self.bytes.get_or_insert_with(|| pool.take(count));
        bytes.reserve(count);
        bytes.room()
    }

    /// So many bytes of the room are filled.
    pub(super) fn fill(&mut self, count: usize) {
        if let Some(bytes) = &mut self.bytes {
            bytes.extend_filled(count);
        }
        self.finish(0);
    }

    /// So many more bytes are done with.
    pub(super) fn finish(&mut self, count: usize) {
        self.done += count;
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Keeps what is left in no more memory than that needs, because it has to wait.
    pub(super) fn shrink(&mut self) {
        let smaller = match &self.bytes {
            Some(bytes) if self.done > 0 => Some(bytes.tail(self.done)),
            Some(bytes) => bytes.smaller(),
            None => None,
        };
        if let Some(smaller) = smaller {
            *self = Self { bytes: Some(smaller), done: 0 };
        }
    }

    fn append(&mut self, pool: &Rc<Pool>, bytes: &[u8]) {
        self.room(pool, bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.fill(bytes.len());
    }
}

/// How the peer's side has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It has not.
    Open,
    /// It said so.
    Said,
    /// Its socket ended before it did: something may be missing.
    Torn,
}

/// What went wrong.
pub(super) struct Fault {
    pub(super) words: Box<str>,
    /// Whether it is the peer who gave up.
    pub(super) is_peers: bool,
    /// Whether somebody was told of it.
    pub(super) is_told: bool,
}

impl Fault {
    fn new(words: impl Into<Box<str>>, is_peers: bool) -> Self {
        Self { words: words.into(), is_peers, is_told: false }
    }
}

/// What is to be sent as soon as anything can be.
#[derive(Clone, Copy)]
enum Task<'a> {
    Nothing,
    Send(&'a [u8]),
    Goodbye,
}

/// Where the plain text goes that comes.
pub(super) struct Sink<'a, 'b>(pub(super) Option<&'a mut ReadBuf<'b>>);

/// The protocol, from its first byte.
enum Session {
    /// Nobody has spoken: whoever never does costs nothing more.
    Silent(Arc<ServerConfig>),
    Begun(Box<UnbufferedServerConnection>),
}

/// One side of a connection that speaks TLS.
pub(super) struct Engine {
    pub(super) pool: Rc<Pool>,
    session: Session,
    /// What has come and is in no complete message yet.
    pub(super) incoming: Held,
    /// What is to be sent as it is.
    pub(super) outgoing: Held,
    /// What has come in plain text and had no room where it was asked for.
    plain: Held,
    pub(super) end: End,
    /// What went wrong, after which nothing is understood.
    pub(super) fault: Option<Fault>,
    /// Whether both sides know who they speak to.
    pub(super) is_open: bool,
    /// What it began with.
    first: Option<u8>,
    has_said_goodbye: bool,
}

impl Engine {
    pub(super) fn new(rules: Arc<ServerConfig>, pool: Rc<Pool>) -> Self {
        Self {
            pool,
            session: Session::Silent(rules),
            incoming: Held::default(),
            outgoing: Held::default(),
            plain: Held::default(),
            end: End::Open,
            fault: None,
            is_open: false,
            first: None,
            has_said_goodbye: false,
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        matches!(self.session, Session::Silent(_))
    }

    /// Whether plain text, its end, or what went wrong can be had without another byte.
    pub(super) fn is_readable(&self) -> bool {
        !self.plain.is_empty() || self.end != End::Open || self.fault.is_some()
    }

    pub(super) fn has_plain(&self) -> bool {
        !self.plain.is_empty()
    }

    /// Takes plain text that is there already; how much.
    pub(super) fn take_plain(&mut self, out: &mut ReadBuf<'_>) -> usize {
        let rest = self.plain.rest();
        let count = rest.len().min(out.remaining());
        out.put_slice(&rest[..count]);
        self.plain.finish(count);
        count
    }

    /// Looks at what has come in, of which `count` bytes are new. What goes wrong is remembered.
    pub(super) fn received(&mut self, count: usize, sink: &mut Sink<'_, '_>) {
        self.incoming.fill(count);
        if self.is_silent() {
            self.begin();
        }
        if self.run(Task::Nothing, sink).is_ok() && self.incoming.rest().len() > INCOMING_MAX {
            let words = "the client sends messages of TLS that are too long, or in too many pieces";
            self.fault = Some(Fault::new(words, false));
        }
        self.incoming.shrink();
    }

    fn begin(&mut self) {
        let (Session::Silent(rules), Some(first)) = (&self.session, self.incoming.rest().first()) else {
            return;
        };
        self.first = Some(*first);
        match UnbufferedServerConnection::new(Arc::clone(rules)) {
            Ok(session) => self.session = Session::Begun(Box::new(session)),
            Err(error) => self.fault = Some(Fault::new(words(&error), false)),
        }
    }

    /// Encrypts as much as is sent at a time; how much that was.
    pub(super) fn encrypt(&mut self, bytes: &[u8]) -> Result<usize, Box<str>> {
        let some = &bytes[..bytes.len().min(PLAIN_MAX)];
        self.run(Task::Send(some), &mut Sink(None))?;
        Ok(some.len())
    }

    /// Says, once, that nothing more follows.
    pub(super) fn say_goodbye(&mut self) {
        if self.fault.is_none() && !std::mem::replace(&mut self.has_said_goodbye, true) {
            // Nobody is left to tell that it could not be said.
            let _ = self.run(Task::Goodbye, &mut Sink(None));
        }
    }

    /// Goes as far as it can with what has come, and does one thing when it is there.
    fn run(&mut self, task: Task<'_>, sink: &mut Sink<'_, '_>) -> Result<(), Box<str>> {
        if let Some(fault) = &self.fault {
            return Err(fault.words.clone());
        }
        let Session::Begun(session) = &mut self.session else { return Ok(()) };
        loop {
            // Looked at between any two steps: the end of the peer's side can follow at once.
            self.is_open |= !session.is_handshaking();
            let UnbufferedStatus { mut discard, state, .. } =
                session.process_tls_records(self.incoming.rest_mut());
            let failed = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                    match traffic.next_record() {
                        Some(Ok(record)) => {
                            discard += record.discard;
                            deliver(record.payload, sink, &mut self.plain, &self.pool);
                        }
                        Some(Err(error)) => break Some(error),
                        None => break None,
                    }
                },
                // It is not offered: whoever sends some all the same is not read.
                Ok(ConnectionState::ReadEarlyData(mut early)) => {
                    while let Some(Ok(record)) = early.next_record() {
                        discard += record.discard;
                    }
                    None
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    encode(&mut message, &mut self.outgoing, &self.pool);
                    None
                }
                Ok(ConnectionState::TransmitTlsData(transmitted)) => {
                    transmitted.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.end = End::Said;
                    None
                }
                Ok(ConnectionState::WriteTraffic(traffic)) => {
                    let done = perform(task, traffic, &mut self.outgoing, &self.pool);
                    self.incoming.finish(discard);
                    return done;
                }
                Ok(_) => {
                    self.incoming.finish(discard);
                    return match task {
                        Task::Send(_) => Err("nothing can be sent any more".into()),
                        Task::Nothing | Task::Goodbye => Ok(()),
                    };
                }
                Err(error) => Some(error),
            };
            self.incoming.finish(discard);
            if let Some(failed) = failed {
                self.say_why();
                return Err(self.fail(&failed));
            }
        }
    }

    /// Queues the alert that tells the peer what is wrong. What has come is not looked at again: that would
    /// fail again.
    fn say_why(&mut self) {
        let Session::Begun(session) = &mut self.session else { return };
        while session.wants_write() {
            let UnbufferedStatus { state, discard, .. } =
                session.process_tls_records(self.incoming.rest_mut());
            let Ok(ConnectionState::EncodeTlsData(mut message)) = state else { return };
            encode(&mut message, &mut self.outgoing, &self.pool);
            self.incoming.finish(discard);
        }
    }

    fn fail(&mut self, failed: &Error) -> Box<str> {
        let is_text = self.first.is_some_and(|first| !RECORDS.contains(&first) && first < OLD_HELLO);
        let words: Box<str> = if is_text {
            "it spoke plain text; this listener speaks TLS".into()
        } else {
            words(failed).into()
        };
        self.incoming = Held::default();
        self.fault = Some(Fault::new(words.clone(), matches!(failed, Error::AlertReceived(_))));
        words
    }
}

/// Gives plain text to whoever asked for it, or keeps it.
fn deliver(payload: &[u8], sink: &mut Sink<'_, '_>, plain: &mut Held, pool: &Rc<Pool>) {
    let taken = match &mut sink.0 {
        Some(out) if plain.is_empty() => {
            let count = payload.len().min(out.remaining());
            out.put_slice(&payload[..count]);
            count
        }
        _ => 0,
    };
    if taken < payload.len() {
        plain.append(pool, &payload[taken..]);
    }
}

fn encode(message: &mut EncodeTlsData<'_, ServerConnectionData>, outgoing: &mut Held, pool: &Rc<Pool>) {
    let mut room = MESSAGE_ROOM;
    loop {
        match message.encode(outgoing.room(pool, room)) {
            Ok(count) => return outgoing.fill(count),
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size }))
                if required_size > room =>
            {
                room = required_size;
            }
            Err(_) => return outgoing.finish(0),
        }
    }
}

/// Encrypts what is to be sent.
fn perform(
    task: Task<'_>,
    mut traffic: WriteTraffic<'_, ServerConnectionData>,
    outgoing: &mut Held,
    pool: &Rc<Pool>,
) -> Result<(), Box<str>> {
    let mut room = match task {
        Task::Nothing => return Ok(()),
        Task::Send(bytes) => bytes.len() + (bytes.len() / RECORD_MAX + 1) * RECORD_OVERHEAD,
        Task::Goodbye => MESSAGE_ROOM,
    };
    loop {
        let place = outgoing.room(pool, room);
        let written = match task {
            Task::Send(bytes) => traffic.encrypt(bytes, place),
            Task::Nothing | Task::Goodbye => traffic.queue_close_notify(place),
        };
        match written {
            Ok(count) => {
                outgoing.fill(count);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size }))
                if required_size > room =>
            {
                room = required_size;
            }
            Err(_) => {
                outgoing.finish(0);
                return Err("the keys of this connection are used up".into());
            }
        }
    }
}
