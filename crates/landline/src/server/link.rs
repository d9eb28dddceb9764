//! What a connection's handle, its driver and its thread share: the socket, its slot, and how it is to end.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::admission::IpPlace;
use super::config::Policy;
use super::host::Guest;
use super::local::Local;
use super::peer::Peer;
use super::table::{Phase, Seat, Slot};
use crate::close::CloseReason;
use crate::event::Event;
use crate::sys::socket;

/// Any stream of bytes in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> Duplex for T {}

/// What a connection's bytes go through.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Other(Pin<Box<dyn Duplex>>),
}

/// One connection, from accept to close. Closing is dropping the last reference: the slot is cleared, the
/// event is sent, the descriptor is closed.
pub(crate) struct Link {
    /// Declared before the stream, so dropped before it: a slot is cleared before its descriptor can be
    /// another's.
    seat: Seat,
    stream: RefCell<Stream>,
    /// Its share of the connections from its address, if they are counted.
    address: Option<Box<IpPlace>>,
    local: Rc<Local>,
    policy: Arc<Policy>,
    /// Where the thread remembers this.
    key: Cell<usize>,
    pub(crate) peer: Peer,
    /// The task that drives this.
    task: RefCell<Option<Waker>>,
    /// Set from outside the task, to end it.
    order: Cell<Option<CloseReason>>,
    /// Whether it is to end at its next message boundary, and who wants to know.
    retiring: Cell<bool>,
    ending: OnceCell<CancellationToken>,
    reason: Cell<Option<CloseReason>>,
    detail: Cell<Option<Box<str>>>,
    accepted: Instant,
    peer_ended: Cell<bool>,
    write_waits: Cell<bool>,
    /// Its place on the thread, if it counts there: declared last, so given up when all else is done.
    _guest: Option<Guest>,
}

impl Link {
    /// Starts the life of a connection: from here on it is in the table and will be reported as closed.
    pub(crate) fn new(
        local: Rc<Local>,
        stream: Stream,
        seat: Seat,
        address: Option<Box<IpPlace>>,
        policy: Arc<Policy>,
        guest: Option<Guest>,
    ) -> Rc<Self> {
        let (id, peer) = (seat.slot().id(), seat.slot().peer());
        local.emit(&Event::Connected { id, peer, open: local.table.open() });
        Rc::new_cyclic(|link: &Weak<Link>| Self {
            key: Cell::new(local.remember(link)),
            peer: Peer::new(id, peer, policy.max_unsent),
            policy,
            seat,
            stream: RefCell::new(stream),
            address,
            local,
            task: RefCell::default(),
            order: Cell::new(None),
            retiring: Cell::new(false),
            ending: OnceCell::new(),
            reason: Cell::new(None),
            detail: Cell::default(),
            accepted: Instant::now(),
            peer_ended: Cell::new(false),
            write_waits: Cell::new(false),
            _guest: guest,
        })
    }

    pub(crate) fn local(&self) -> &Rc<Local> {
        &self.local
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn slot(&self) -> &Slot {
        self.seat.slot()
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match &*self.stream.borrow() {
            Stream::Tcp(stream) => stream.local_addr().map(socket::canonical),
            Stream::Unix(_) | Stream::Other(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Moves to a phase; being in it already changes nothing.
    pub(crate) fn enter(&self, phase: Phase) {
        let slot = self.slot();
        if slot.phase() != phase {
            slot.set_phase(phase, self.local.now());
        }
    }

    /// Moves to a phase whose time starts now, even if it is the one it was in.
    pub(crate) fn restart(&self, phase: Phase) {
        self.slot().set_phase(phase, self.local.now());
    }

    /// Why it ends; the first to say so is right.
    pub(crate) fn settle(&self, reason: CloseReason) {
        if self.reason.get().is_none() {
            self.reason.set(Some(reason));
        }
    }

    pub(crate) fn settle_with(&self, reason: CloseReason, detail: String) {
        self.settle(reason);
        let earlier = self.detail.take();
        self.detail.set(earlier.or_else(|| Some(detail.into_boxed_str())));
    }

    pub(crate) fn reason(&self) -> Option<CloseReason> {
        self.reason.get()
    }

    pub(crate) fn peer_has_ended(&self) -> bool {
        self.peer_ended.get()
    }

    pub(crate) fn write_waits(&self) -> bool {
        self.write_waits.get()
    }

    /// Says from outside that it has to end, and why.
    pub(crate) fn order(&self, reason: CloseReason) {
        self.order.set(Some(reason));
        self.wake();
    }

    /// Whether it has been idle all the time since.
    pub(crate) fn is_idle_since(&self, since: u64) -> bool {
        let view = self.slot().view();
        view.phase == Phase::Idle && view.since == since
    }

    /// Asks it to end at its next message boundary.
    pub(crate) fn retire(&self) {
        if !self.retiring.replace(true) {
            if let Some(ending) = self.ending.get() {
                ending.cancel();
            }
            self.wake();
        }
    }

    /// Why it has to end at its next message boundary, if it has to.
    pub(crate) fn has_to_end(&self) -> Option<CloseReason> {
        if self.local.is_draining() {
            return Some(CloseReason::Drained);
        }
        self.retiring.get().then_some(CloseReason::Retired)
    }

    /// Told when it has to end at its next message boundary.
    pub(crate) fn ending(&self) -> &CancellationToken {
        let ending = self.ending.get_or_init(|| self.local.drain.child_token());
        if self.retiring.get() {
            ending.cancel();
        }
        ending
    }

    pub(crate) fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }

    /// Remembers the task to wake, and returns what it has been ordered meanwhile.
    pub(crate) fn orders(&self, cx: &Context<'_>) -> Option<CloseReason> {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
        self.order.take()
    }

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = buffer.filled().len();
        let outcome = match &mut *self.stream.borrow_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Other(stream) => stream.as_mut().poll_read(cx, buffer),
        };
        outcome.map(|outcome| match outcome {
            Ok(()) => {
                let count = buffer.filled().len() - before;
                self.slot().received(count);
                self.peer_ended.set(count == 0 && buffer.capacity() > before);
                Ok(count)
            }
            Err(error) => Err(self.failed(error)),
        })
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = match &mut *self.stream.borrow_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Other(stream) => stream.as_mut().poll_write(cx, bytes),
        };
        self.wrote(outcome)
    }

    pub(crate) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = match &mut *self.stream.borrow_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Other(stream) => stream.as_mut().poll_write_vectored(cx, slices),
        };
        self.wrote(outcome)
    }

    /// Keeps count of what a write did, and of the time since the peer last took something.
    fn wrote(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.write_waits.set(outcome.is_pending());
        match outcome {
            Poll::Pending => {
                self.enter(Phase::Sending);
                Poll::Pending
            }
            Poll::Ready(Ok(0)) => Poll::Ready(Err(self.failed(io::ErrorKind::WriteZero.into()))),
            Poll::Ready(Ok(count)) => {
                self.slot().sent(count);
                if self.slot().phase() == Phase::Sending {
                    self.restart(Phase::Sending);
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.failed(error))),
        }
    }

    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.stream.borrow_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Other(stream) => stream.as_mut().poll_flush(cx),
        }
    }

    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.stream.borrow_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Other(stream) => stream.as_mut().poll_shutdown(cx),
        }
    }

    fn failed(&self, error: io::Error) -> io::Error {
        let reason = CloseReason::of(&error);
        if reason == CloseReason::IoFailed {
            self.settle_with(reason, crate::error::describe(&error));
        } else {
            self.settle(reason);
        }
        error
    }

    /// Whether bytes have arrived that were not read.
    pub(crate) fn has_unread(&self) -> bool {
        let stream = self.stream.borrow();
        let waiting = stream.socket().map(rustix::io::ioctl_fionread);
        waiting.is_some_and(|waiting| waiting.is_ok_and(|bytes| bytes > 0))
    }

    /// Whether the peer has acknowledged everything that was sent to it.
    pub(crate) fn all_acknowledged(&self) -> bool {
        let stream = self.stream.borrow();
        let unacknowledged = stream.socket().map(|socket| socket::unacknowledged(&socket));
        unacknowledged.is_none_or(|unacknowledged| unacknowledged.is_ok_and(|bytes| bytes == 0))
    }

    pub(crate) fn reset_on_close(&self) {
        if let Some(socket) = self.stream.borrow().socket() {
            socket::reset_on_close(&socket);
        }
    }
}

impl Stream {
    /// The socket, if it is one.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Stream::Tcp(stream) => Some(stream.as_fd()),
            Stream::Unix(stream) => Some(stream.as_fd()),
            Stream::Other(_) => None,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(outbox) = self.peer.outbox() {
            outbox.close();
        }
        let slot = self.seat.slot();
        let closed = Event::Closed {
            id: slot.id(),
            peer: self.peer.name(),
            reason: self.reason.get().unwrap_or(CloseReason::ServerClosed),
            detail: self.detail.take(),
            messages: slot.messages(),
            bytes_in: slot.bytes_in(),
            bytes_out: slot.bytes_out(),
            lasted: self.accepted.elapsed(),
        };
        // Whoever hears of it finds the place free.
        self.seat.vacate();
        self.address = None;
        self.local.emit(&closed);
        self.local.forget(self.key.get());
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link(#{}, {:?})", self.slot().id(), self.slot().phase())
    }
}
