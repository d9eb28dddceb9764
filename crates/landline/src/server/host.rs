//! One thread's connections: those it takes, those it sends on, those it sees off.

#[cfg(all(target_os = "linux", feature = "takeover"))]
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::ready;
use std::time::Duration;

use tokio::sync::Notify;

use super::admission::{IpPlace, Pass};
use super::config::Excess;
use super::crew::{Arrival, Caller, Crew, Errand, Place};
use super::drive::read_away;
use super::link::{Beginning, Link};
use super::listener::Listener;
use super::local::Local;
#[cfg(all(target_os = "linux", feature = "takeover"))]
use super::plan::Plan;
use super::stream::Stream;
use super::table::{Seat, Who};
use crate::event::{Event, Refusal};
use crate::fault::{Step, passed};
use crate::sys::socket;

/// How many refused callers each thread sees off properly at a time, in the way [`REFUSAL_TIME`] says. Those
/// beyond are told, and closed at once.
const REFUSALS_MAX: usize = 64;
/// How long a refused caller has to read its line and end its side.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// The number of a descriptor, which is also that of its slot.
pub(crate) fn descriptor(socket: &OwnedFd) -> usize {
    usize::try_from(socket.as_raw_fd()).unwrap_or(usize::MAX)
}

/// One thread, as connections come to it.
pub(crate) struct Host {
    local: Rc<Local>,
    crew: Arc<Crew>,
    /// How many refused callers are being seen off.
    refusals: Rc<()>,
    /// Told whenever a connection of this thread has ended.
    pub(crate) departed: Notify,
}

/// A connection that is being served, as its thread counts it. It is one pointer, because every connection
/// has one: what is counted where is known to the host.
pub(crate) struct Guest(Rc<Host>);

impl Guest {
    fn new(host: &Rc<Host>, place: Place) -> Self {
        place.take_over();
        Self(Rc::clone(host))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.crew.leave(self.0.local.thread);
        self.0.departed.notify_waiters();
    }
}

impl Host {
    pub(crate) fn new(local: Rc<Local>, crew: Arc<Crew>) -> Rc<Self> {
        Rc::new(Self { local, crew, refusals: Rc::new(()), departed: Notify::new() })
    }

    pub(crate) fn local(&self) -> &Rc<Local> {
        &self.local
    }

    /// Ends the connection that has been idle for longest, on whichever thread, if one has been for long
    /// enough; false if none has.
    pub(crate) fn make_room(&self) -> bool {
        match self.local.idlest_thread() {
            Some(thread) if thread == self.local.thread => self.local.reclaim(),
            Some(thread) => self.crew.ask(thread, Errand::Reclaim).is_ok(),
            None => false,
        }
    }

    /// Does what another thread asked for.
    pub(crate) fn run_errand(self: &Rc<Self>, errand: Errand) {
        match errand {
            Errand::Serve(arrival) => self.host(arrival),
            Errand::Close(id) => self.local.close(id),
            Errand::Reclaim => drop(self.local.reclaim()),
            // Whoever asked may have given up.
            Errand::Answer(told) => drop(told.try_send(())),
        }
    }

    /// Sends a connection to the thread that is to have it.
    pub(crate) fn send_on(self: &Rc<Self>, caller: Caller, pass: Pass, listener: Arc<Listener>) {
        let here = self.local.thread;
        // Other threads may be gone already when the server drains.
        let thread = if self.local.is_draining() { here } else { self.crew.choose(here) };
        let arrival = Arrival { caller, pass, listener, place: self.crew.place(thread) };
        if thread == here {
            return self.host(arrival);
        }
        if let Err(Errand::Serve(mut arrival)) = self.crew.ask(thread, Errand::Serve(arrival)) {
            arrival.place = self.crew.place(here);
            self.host(arrival);
        }
    }

    /// Serves a connection on this thread from now on.
    fn host(self: &Rc<Self>, arrival: Arrival) {
        let Arrival { caller, pass: Pass { admitted, address, handshake }, listener, place } = arrival;
        let Caller { socket, peer, by_proxy } = caller;
        let (via, header_len) = by_proxy.map_or((None, 0), |by| (Some(by.via), by.header_len));
        let index = descriptor(&socket);
        let stream = match listener.stream(socket, &self.local.pool, handshake) {
            Ok(stream) => stream,
            Err(error) => return self.local.exhausted(&error, 1),
        };
        let seat =
            admitted.seat(index, Who { peer, header_len, is_tls: listener.is_tls() }, self.local.entry());
        passed(Step::Begin);
        // Not before it is in the table: if this process dies in between, the next one reads it away.
        if let Some(socket) = stream.as_socket().filter(|_| header_len > 0) {
            // It is there, whole.
            let _ = socket::read_away(&socket, header_len.into());
        }
        let beginning = Beginning { via, ..self.beginning((stream, seat, address), &listener, place) };
        let link = Link::new(Rc::clone(&self.local), beginning);
        if let Some(reason) = self.local.is_cut() {
            link.order(reason);
        }
        Arc::clone(&listener.server).serve(link);
    }

    /// Goes on serving a connection that is in the table.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn resume(
        self: &Rc<Self>,
        socket: OwnedFd,
        listener: &Listener,
        plan: &Plan,
    ) -> io::Result<()> {
        let (index, thread) = (descriptor(&socket), self.local.thread);
        let handshake = listener.is_tls().then(|| plan.admission.begin_handshake()).flatten();
        let stream = listener.stream(socket, &self.local.pool, handshake)?;
        let seat = self.local.table.readmit().resume(index, thread);
        seat.slot().set_tls(listener.is_tls());
        let address = plan.admission.recount(seat.slot().peer());
        let beginning = self.beginning((stream, seat, address), listener, self.crew.place(thread));
        let link = Link::resume(Rc::clone(&self.local), beginning);
        Arc::clone(&listener.server).serve(link);
        Ok(())
    }

    fn beginning(
        self: &Rc<Self>,
        (stream, seat, address): (Stream, Seat, Option<Box<IpPlace>>),
        listener: &Listener,
        place: Place,
    ) -> Beginning {
        let (policy, server) = (Arc::clone(&listener.policy), Some(Arc::clone(&listener.server)));
        let guest = Some(Guest::new(self, place));
        Beginning { stream, seat, via: None, address, policy, server, guest }
    }

    /// Tells a caller that it is not let in, and sees to it that it can read so.
    pub(crate) fn refuse(&self, caller: Caller, refusal: Refusal, excess: Excess) {
        self.local.emit(&Event::Refused { peer: caller.peer, reason: refusal });
        match excess {
            Excess::Say | Excess::Wait => socket::dismiss(&caller.socket, refusal.line().as_bytes()),
            Excess::Close => return,
            Excess::Reset => return socket::reset_on_close(&caller.socket),
        }
        self.see_off(caller.socket);
    }

    /// Reads away for a moment what still comes from somebody to whom our side has ended, so that what was
    /// said last is not lost to a reset.
    pub(crate) fn see_off(&self, socket: OwnedFd) {
        if Rc::strong_count(&self.refusals) > REFUSALS_MAX {
            return;
        }
        let seen_off = Rc::clone(&self.refusals);
        let Ok(stream) = Stream::socket(socket) else {
            return;
        };
        let pool = Rc::clone(&self.local.pool);
        tokio::task::spawn_local(async move {
            let reading = read_away(&pool, |cx, buffer| {
                let readable = ready!(stream.poll_readable(cx))?;
                stream.poll_read(cx, readable, buffer)
            });
            let _ = tokio::time::timeout(REFUSAL_TIME, reading).await;
            drop(seen_off);
        });
    }
}
