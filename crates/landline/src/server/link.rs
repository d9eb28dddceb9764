//! What a connection's handle, its driver and its thread share: the socket, its slot, and how it is to end.

mod order;
mod steps;

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio_util::sync::CancellationToken;

use super::admission::IpPlace;
use super::checkpoint::{Checkpoints, Left};
use super::config::Policy;
use super::host::Guest;
use super::listener::Serve;
use super::local::Local;
use super::peer::Peer;
use super::stream::{Readable, Stream};
use super::table::{Phase, Seat, Slot};
use crate::buffer::Buffer;
use crate::close::CloseReason;
use crate::event::{Ends, Event, StepKind, Via};
use crate::fault::{Step, passed};
use crate::sys::socket;
use crate::tls::Secured;

/// One connection, from accept to close. Closing is dropping the last reference: the slot is cleared, the
/// event is sent, the descriptor is closed.
pub(crate) struct Link {
    // What a message needs comes first, for the sake of caches.
    /// Has the slot. Declared before the stream, so dropped before it: a slot is cleared before its
    /// descriptor can be another's.
    pub(crate) peer: Peer,
    stream: Stream,
    local: Rc<Local>,
    /// The task that drives this.
    task: Cell<Option<Waker>>,
    /// Set from outside the task.
    order: Cell<Option<Order>>,
    /// Whether it is to end at its next message boundary.
    retiring: Cell<bool>,
    reason: Cell<Option<CloseReason>>,
    peer_ended: Cell<bool>,
    /// Who has ended, and who first.
    ends: Cell<Ends>,
    write_waits: Cell<bool>,
    /// Who wants to know that it is to end at its next message boundary.
    ending: OnceCell<CancellationToken>,
    detail: Cell<Option<Box<str>>>,
    /// Its session as bytes, where its checkpoint says: it goes when the slot is cleared.
    saved: Cell<Option<Box<Buffer>>>,
    /// Where the thread remembers this.
    key: Cell<usize>,
    /// Who serves it, if that came by a listener.
    #[cfg_attr(
        not(all(target_os = "linux", feature = "takeover")),
        expect(dead_code, reason = "where no process takes over, nobody asks whether another can go on")
    )]
    server: Option<Arc<dyn Serve>>,
    /// Its share of the connections from its address, if they are counted.
    address: Option<Box<IpPlace>>,
    /// Its place on the thread, if it counts there: declared last, so given up when all else is done.
    _guest: Option<Guest>,
}

pub(crate) use order::Order;

/// What a connection begins with, or goes on with.
pub(crate) struct Beginning {
    pub(crate) stream: Stream,
    pub(crate) seat: Seat,
    /// By way of whom it came.
    pub(crate) via: Option<Via>,
    pub(crate) address: Option<Box<IpPlace>>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) server: Option<Arc<dyn Serve>>,
    pub(crate) guest: Option<Guest>,
}

impl Link {
    /// Starts the life of a connection: from here on it is in the table and will be reported as closed.
    pub(crate) fn new(local: Rc<Local>, beginning: Beginning) -> Rc<Self> {
        let (slot, via) = (beginning.seat.slot(), beginning.via);
        let (id, peer, open) = (slot.id(), slot.peer(), local.table.open());
        local.emit(&Event::Connected { id, peer, via, open });
        let link = Self::resume(local, beginning);
        link.tell(|| StepKind::Accepted);
        link
    }

    /// Goes on with the life of a connection that is in the table.
    pub(crate) fn resume(local: Rc<Local>, beginning: Beginning) -> Rc<Self> {
        let Beginning { stream, seat, via: _, address, policy, server, guest } = beginning;
        let peer = Peer::new(seat, policy);
        Rc::new_cyclic(|link: &Weak<Link>| Self {
            key: Cell::new(local.remember(link)),
            peer,
            stream,
            server,
            address,
            local,
            task: Cell::default(),
            order: Cell::new(None),
            retiring: Cell::new(false),
            ending: OnceCell::new(),
            reason: Cell::new(None),
            detail: Cell::default(),
            saved: Cell::default(),
            peer_ended: Cell::new(false),
            ends: Cell::default(),
            write_waits: Cell::new(false),
            _guest: guest,
        })
    }

    pub(crate) fn local(&self) -> &Rc<Local> {
        &self.local
    }

    pub(crate) fn policy(&self) -> &Policy {
        self.peer.policy()
    }

    pub(crate) fn slot(&self) -> &Slot {
        self.peer.slot()
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// How far it is, if that is kept for other processes.
    #[inline]
    pub(crate) fn checkpoints(&self) -> Option<&Checkpoints> {
        self.peer.checkpoints()
    }

    /// Keeps what its checkpoint says of its session; what was kept before can be another's.
    #[inline]
    pub(crate) fn keep_saved(&self, session: Option<Buffer>) {
        let Some(session) = session else { return };
        match self.saved.take() {
            Some(mut place) => {
                *place = session;
                self.saved.set(Some(place));
            }
            None => self.saved.set(Some(Box::new(session))),
        }
    }

    /// What it had in hand, if another process began it.
    pub(crate) fn take_left(&self) -> Option<Left> {
        self.local.take_left(self.peer.descriptor())
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
        if let Some(task) = self.task.take() {
            task.wake_by_ref();
            self.task.set(Some(task));
        }
    }

    /// Waits until there may be something to read.
    #[inline]
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readable<'_>>> {
        self.stream.poll_readable(cx).map_err(|error| self.failed(error))
    }

    /// Reads once it is [readable](Self::poll_readable); pending if there is nothing after all.
    #[inline]
    pub(crate) fn poll_read<'a>(
        &'a self,
        cx: &mut Context<'_>,
        readable: Readable<'a>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        match ready!(self.stream.poll_read(cx, readable, buffer)) {
            Ok(count) => {
                self.slot().received(count);
                if count == 0 && buffer.remaining() > 0 {
                    self.peer_ended.set(true);
                    self.ended_by_peer();
                } else {
                    self.tell(|| StepKind::Received { bytes: count, total: self.slot().bytes_in() });
                }
                Poll::Ready(Ok(count))
            }
            Err(error) => Poll::Ready(Err(self.failed(error))),
        }
    }

    /// Waits until there is something to read, and reads it.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let readable = ready!(self.poll_readable(cx))?;
        self.poll_read(cx, readable, buffer)
    }

    #[inline]
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = self.stream.poll_write(cx, bytes, self.write_waits.get());
        self.wrote(outcome, bytes.len())
    }

    pub(crate) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.stream.poll_write_vectored(cx, slices, self.write_waits.get());
        self.wrote(outcome, slices.iter().map(|slice| slice.len()).sum())
    }

    /// Keeps count of what a write did, and of the time since the peer last took something.
    #[inline]
    fn wrote(&self, outcome: Poll<io::Result<usize>>, len: usize) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Pending => {
                self.write_waits.set(true);
                self.enter(Phase::Sending);
                Poll::Pending
            }
            Poll::Ready(Ok(0)) if len > 0 => Poll::Ready(Err(self.failed(io::ErrorKind::WriteZero.into()))),
            Poll::Ready(Ok(count)) => {
                self.write_waits.set(false);
                self.slot().sent(count);
                self.tell(|| StepKind::Sent { bytes: count, total: self.slot().bytes_out() });
                if self.slot().phase() == Phase::Sending {
                    self.restart(Phase::Sending);
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.failed(error))),
        }
    }

    /// Sends what the stream itself holds. A socket holds nothing.
    #[inline]
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Stream::Socket(_) = &self.stream {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush_stream(cx)
    }

    fn poll_flush_stream(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.stream.unsent();
        let outcome = self.stream.poll_flush(cx).map_err(|error| self.failed(error));
        self.write_waits.set(outcome.is_pending());
        if outcome.is_pending() {
            self.enter(Phase::Sending);
        }
        if self.stream.unsent() < before && self.slot().phase() == Phase::Sending {
            self.restart(Phase::Sending);
        }
        outcome
    }

    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = ready!(self.stream.poll_shutdown(cx));
        if outcome.is_ok() {
            self.ended();
        }
        Poll::Ready(outcome)
    }

    fn failed(&self, error: io::Error) -> io::Error {
        let reason = CloseReason::of(&error);
        // What somebody else than the operating system says is worth telling, too.
        if reason == CloseReason::IoFailed || error.get_ref().is_some() {
            self.settle_with(reason, crate::error::describe(&error));
        } else {
            self.settle(reason);
        }
        self.lost(reason);
        error
    }

    /// Whether bytes have arrived that were not read.
    pub(crate) fn has_unread(&self) -> bool {
        let waiting = self.stream.as_socket().map(rustix::io::ioctl_fionread);
        waiting.is_some_and(|waiting| waiting.is_ok_and(|bytes| bytes > 0)) || self.stream.has_plain()
    }

    /// Whether a part of something has come whose rest it takes to be read.
    pub(crate) fn is_within_record(&self) -> bool {
        self.stream.is_within_record()
    }

    /// Whether the peer's end may not be where the peer wanted it: what is unfinished is no message.
    pub(crate) fn is_torn(&self) -> bool {
        self.stream.is_torn()
    }

    /// Says to the peer, as far as that can be done at once, that our side ends in order.
    pub(crate) fn say_goodbye(&self) {
        if let Some(tls) = self.stream.as_tls() {
            tls.say_goodbye();
        }
    }

    /// What comes before its first byte of plain text, if something does.
    pub(crate) fn tls(&self) -> Option<&Secured> {
        self.stream.as_tls()
    }

    /// Whether the peer has acknowledged everything that was sent to it.
    pub(crate) fn all_acknowledged(&self) -> bool {
        let unacknowledged = self.stream.as_socket().map(|socket| socket::unacknowledged(&socket));
        unacknowledged.is_none_or(|unacknowledged| unacknowledged.is_ok_and(|bytes| bytes == 0))
    }

    pub(crate) fn reset_on_close(&self) {
        if let Some(socket) = self.stream.as_socket() {
            socket::reset_on_close(&socket);
            self.ends.set(Ends::Reset);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(outbox) = self.peer.outbox() {
            outbox.close();
        }
        self.closing();
        let (peer, slot) = (self.peer.name(), self.peer.slot());
        let lasted = self.local.clock.precise().saturating_sub(slot.accepted());
        let closed = Event::Closed {
            id: slot.id(),
            peer,
            reason: self.reason.get().unwrap_or(CloseReason::ServerClosed),
            detail: self.detail.take(),
            messages: slot.messages(),
            bytes_in: slot.bytes_in(),
            bytes_out: slot.bytes_out(),
            lasted: Duration::from_micros(lasted),
        };
        // Whoever hears of it finds the place free.
        self.peer.vacate();
        passed(Step::Clear);
        self.address = None;
        if !self.is_handed_on() {
            self.local.emit(&closed);
        }
        self.local.forget(self.key.get());
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link(#{}, {:?})", self.slot().id(), self.slot().phase())
    }
}
