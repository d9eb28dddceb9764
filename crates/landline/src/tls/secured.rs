//! A connection that speaks TLS: its socket, and what TLS makes of the bytes.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustls::ServerConfig;
use tokio::io::ReadBuf;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::engine::{End, Engine, Held, Sink};
use crate::buffer::Pool;
use crate::server::Handshake;
use crate::server::stream::{Readable, poll_send};
use crate::sys::socket;

/// How much room a read from the network has at least, in bytes: a record, and what TLS adds to it.
const READ_MIN: usize = 18 << 10;
/// How often a connection is read in a row if no plain text comes of it, before others get their turn.
const READS_MAX: usize = 8;
/// How much may wait to be sent, in bytes, while more is read: the answers of TLS itself are short.
const UNSENT_MAX: usize = 4 << 10;

/// A socket with TLS on it. What is idle holds no buffer.
pub(crate) struct Secured {
    socket: AsyncFd<OwnedFd>,
    engine: RefCell<Engine>,
    /// Counts as one of those that are at their handshake, until it is done.
    handshake: Cell<Option<Handshake>>,
}

/// How a handshake ended that did not succeed.
#[derive(Debug)]
pub(crate) enum HandshakeFault {
    /// The socket failed.
    Io(io::Error),
    /// TLS did, for a reason that is fit to be told.
    Tls(Box<str>),
}

impl Secured {
    pub(crate) fn new(
        socket: AsyncFd<OwnedFd>,
        rules: Arc<ServerConfig>,
        pool: &Rc<Pool>,
        handshake: Option<Handshake>,
    ) -> Self {
        let engine = RefCell::new(Engine::new(rules, Rc::clone(pool)));
        Self { socket, engine, handshake: Cell::new(handshake) }
    }

    pub(crate) fn socket(&self) -> &AsyncFd<OwnedFd> {
        &self.socket
    }

    /// Agrees with the peer on keys, and on who they are; before that there is no plain text.
    pub(crate) fn poll_handshake(&self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeFault>> {
        let outcome = self.poll_agree(cx);
        if outcome.is_ready() {
            self.handshake.take();
        }
        outcome
    }

    fn poll_agree(&self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeFault>> {
        let mut engine = self.engine.borrow_mut();
        for _ in 0..READS_MAX {
            let flushed = self.poll_send_all(cx, &mut engine.outgoing).map_err(HandshakeFault::Io)?;
            if let Some(fault) = &mut engine.fault {
                fault.is_told = true;
                return Poll::Ready(Err(HandshakeFault::Tls(fault.words.clone())));
            }
            if engine.is_open {
                return flushed.map(Ok);
            }
            if engine.end != End::Open {
                let fault = if engine.is_silent() {
                    "the client ended before its handshake"
                } else {
                    "the client ended within its handshake"
                };
                return Poll::Ready(Err(HandshakeFault::Tls(fault.into())));
            }
            ready!(flushed);
            let guard = ready!(self.socket.poll_read_ready(cx)).map_err(HandshakeFault::Io)?;
            let mut sink = Sink(None);
            match self.receive(cx, guard, &mut engine, READ_MIN, &mut sink) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(HandshakeFault::Io(error))),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits until there may be plain text, or its end.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readable<'_>>> {
        if self.engine.borrow().is_readable() {
            return Poll::Ready(Ok(Readable::Other));
        }
        self.socket.poll_read_ready(cx).map_ok(Readable::Socket)
    }

    /// Reads plain text; 0 bytes are its end.
    pub(crate) fn poll_read<'a>(
        &'a self,
        cx: &mut Context<'_>,
        mut readable: Readable<'a>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut engine = self.engine.borrow_mut();
        let before = out.filled().len();
        for _ in 0..READS_MAX {
            let sent = self.poll_send_all(cx, &mut engine.outgoing)?;
            let count = engine.take_plain(out);
            if count > 0 || out.remaining() == 0 {
                return Poll::Ready(Ok(count));
            }
            if engine.fault.is_some() {
                return self.poll_read_failed(cx, &mut engine, out);
            }
            if engine.end != End::Open {
                return Poll::Ready(Ok(0));
            }
            if sent.is_pending() && engine.outgoing.rest().len() > UNSENT_MAX {
                return Poll::Pending;
            }
            let guard = match readable {
                Readable::Socket(guard) => guard,
                Readable::Other => ready!(self.socket.poll_read_ready(cx))?,
            };
            let room = out.remaining().max(READ_MIN);
            let received = self.receive(cx, guard, &mut engine, room, &mut Sink(Some(out)));
            ready!(received)?;
            readable = Readable::Other;
            if out.filled().len() > before {
                // What TLS has to say goes with it, or later.
                let _ = self.poll_send_all(cx, &mut engine.outgoing)?;
                return Poll::Ready(Ok(out.filled().len() - before));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Says what went wrong; whoever reads on gets what nobody understands.
    fn poll_read_failed(
        &self,
        cx: &mut Context<'_>,
        engine: &mut Engine,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Some(fault) = engine.fault.as_mut().filter(|fault| !fault.is_told) {
            fault.is_told = true;
            let kind =
                if fault.is_peers { io::ErrorKind::ConnectionReset } else { io::ErrorKind::InvalidData };
            return Poll::Ready(Err(io::Error::new(kind, &*fault.words)));
        }
        loop {
            let mut guard = ready!(self.socket.poll_read_ready(cx))?;
            match socket::receive(guard.get_inner(), out) {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Receives once, and has it looked at; pending if there is nothing.
    fn receive<'a>(
        &'a self,
        cx: &mut Context<'_>,
        mut guard: AsyncFdReadyGuard<'a, OwnedFd>,
        engine: &mut Engine,
        room: usize,
        sink: &mut Sink<'_, '_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let Engine { incoming, pool, .. } = &mut *engine;
            let place = incoming.room(pool, room);
            let room = place.len();
            match socket::receive(guard.get_inner(), &mut ReadBuf::new(place)) {
                Ok(0) => {
                    incoming.finish(0);
                    engine.end = End::Torn;
                    return Poll::Ready(Ok(()));
                }
                Ok(count) => {
                    // A short read has emptied the socket. The end of the input stays readable.
                    if count < room {
                        guard.clear_ready();
                    }
                    engine.received(count, sink);
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => {
                    incoming.finish(0);
                    return Poll::Ready(Err(error.into()));
                }
            }
            incoming.finish(0);
            guard = ready!(self.socket.poll_read_ready(cx))?;
        }
    }

    /// Encrypts some of this, and sends of it what the peer takes at once; it is all
    /// [flushed](Self::poll_flush) before more is encrypted.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut engine = self.engine.borrow_mut();
        ready!(self.poll_send_all(cx, &mut engine.outgoing))?;
        let count =
            engine.encrypt(bytes).map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, &*fault))?;
        let _ = self.poll_send_all(cx, &mut engine.outgoing)?;
        Poll::Ready(Ok(count))
    }

    /// Sends what is encrypted.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send_all(cx, &mut self.engine.borrow_mut().outgoing)
    }

    /// How many bytes that are encrypted wait to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.engine.borrow().outgoing.rest().len()
    }

    /// Ends our side, and says so in TLS first.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut engine = self.engine.borrow_mut();
        engine.say_goodbye();
        ready!(self.poll_send_all(cx, &mut engine.outgoing))?;
        Poll::Ready(socket::end(self.socket.get_ref()))
    }

    /// Says in TLS that our side ends, as far as that can be said at once.
    pub(crate) fn say_goodbye(&self) {
        let mut engine = self.engine.borrow_mut();
        engine.say_goodbye();
        // There is no time to wait.
        let _ = socket::send(self.socket.get_ref(), engine.outgoing.rest());
    }

    /// Whether the peer's socket has ended before the peer said so: something may be missing.
    pub(crate) fn is_torn(&self) -> bool {
        self.engine.borrow().end == End::Torn
    }

    /// Whether a part of a record has come whose rest has not.
    pub(crate) fn is_within_record(&self) -> bool {
        !self.engine.borrow().incoming.is_empty()
    }

    /// Whether there is plain text that was not read.
    pub(crate) fn has_plain(&self) -> bool {
        self.engine.borrow().has_plain()
    }

    fn poll_send_all(&self, cx: &mut Context<'_>, outgoing: &mut Held) -> Poll<io::Result<()>> {
        while !outgoing.is_empty() {
            let rest = outgoing.rest();
            let send = |socket: &OwnedFd| socket::send(socket, rest);
            match poll_send(&self.socket, cx, send, rest.len(), false) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => outgoing.finish(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    outgoing.shrink();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
