//! Where callers go: in or not, and to which thread.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use super::admission::{Admission, Attempt, Pass, Verdict};
use super::config::Excess;
use super::drive::{drive, read_away};
use super::handler::Handler;
use super::link::{Link, Stream};
use super::local::Local;
use super::table::Admitted;
use crate::event::{Event, PeerAddr, Refusal};
use crate::sys::socket;

/// How many refused callers each thread sees off properly at a time, in the way [`REFUSAL_TIME`] says. Those
/// beyond are told, and closed at once.
const REFUSALS_MAX: usize = 64;
/// How long a refused caller has to read its line and end its side.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// How long a new caller waits for the place of somebody idle.
const RECLAIM_TIME: Duration = Duration::from_secs(1);
/// How many connections may be on their way to a thread. When more are, they stay where they were accepted.
const INBOX: usize = 1024;

/// What every thread knows of every other.
#[derive(Debug)]
pub(crate) struct Crew {
    members: Vec<Member>,
    pub(crate) admission: Admission,
}

/// How to reach one thread.
#[derive(Debug)]
struct Member {
    inbox: mpsc::Sender<Errand>,
    /// How many connections it has, those on their way to it included.
    open: AtomicUsize,
}

/// The number of a descriptor, which is also that of its slot.
fn descriptor(socket: &OwnedFd) -> usize {
    usize::try_from(socket.as_raw_fd()).unwrap_or(usize::MAX)
}

/// Somebody who was accepted and has not yet been let in or refused.
#[derive(Debug)]
struct Caller {
    socket: OwnedFd,
    peer: Option<SocketAddr>,
}

/// What one thread asks of another.
#[derive(Debug)]
pub(crate) enum Errand {
    /// A connection to serve from now on.
    Serve(Arrival),
    /// The connection with this number is to end.
    Close(u64),
}

/// A connection on its way to its thread.
#[derive(Debug)]
pub(crate) struct Arrival {
    caller: Caller,
    pass: Pass,
    place: Place,
}

/// A connection's place on a thread: counted for as long as this exists, until the thread takes it over.
#[derive(Debug)]
struct Place {
    crew: Option<Arc<Crew>>,
    thread: usize,
}

impl Crew {
    /// A crew of `threads`, and the inbox of each.
    pub(crate) fn new(threads: usize, admission: Admission) -> (Arc<Self>, Vec<mpsc::Receiver<Errand>>) {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| mpsc::channel(INBOX)).unzip();
        let members = senders.into_iter().map(|inbox| Member { inbox, open: AtomicUsize::new(0) }).collect();
        (Arc::new(Self { members, admission }), receivers)
    }

    /// Tells a thread to close one of its connections; false if it can't take the order now.
    pub(crate) fn tell_to_close(&self, thread: usize, id: u64) -> bool {
        self.members.get(thread).is_some_and(|member| member.inbox.try_send(Errand::Close(id)).is_ok())
    }

    pub(crate) fn open_on(&self, thread: usize) -> usize {
        self.members[thread].open.load(Relaxed)
    }

    fn place(self: &Arc<Self>, thread: usize) -> Place {
        self.members[thread].open.fetch_add(1, Relaxed);
        Place { crew: Some(Arc::clone(self)), thread }
    }

    fn leave(&self, thread: usize) {
        self.members[thread].open.fetch_sub(1, Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(crew) = &self.crew {
            crew.leave(self.thread);
        }
    }
}

/// Which thread gets the next connection: the one that accepted it, as long as no other has clearly fewer. So
/// threads stay balanced however long connections live, and most connections cross to no other thread.
fn choose_thread(open: impl Iterator<Item = usize>, here: usize, open_here: usize) -> usize {
    let Some((least, open_least)) = open.enumerate().min_by_key(|(_, open)| *open) else {
        return here;
    };
    if open_here <= open_least + 1 + open_least / 16 { here } else { least }
}

/// What is known of the next caller's place before it is accepted.
#[derive(Debug)]
pub(crate) enum Reserved {
    /// Callers are accepted first and then let in or refused.
    Unasked,
    Place(Admitted),
    /// There is none: the caller is to wait.
    Full,
}

/// One thread's door: it lets callers in, sends them on, or sees them off.
pub(crate) struct Host<H: Handler> {
    local: Rc<Local>,
    crew: Arc<Crew>,
    handler: Arc<H>,
    /// How many refused callers are being seen off.
    refusals: Rc<()>,
    /// Told whenever a connection of this thread has ended.
    pub(crate) departed: Notify,
}

/// A connection that is being served, as its thread counts it. It is one pointer, because every connection
/// has one: what is counted where is known to the host.
struct Guest<H: Handler>(Rc<Host<H>>);

impl<H: Handler> Guest<H> {
    fn new(host: &Rc<Host<H>>, mut place: Place) -> Self {
        place.crew = None;
        Self(Rc::clone(host))
    }
}

impl<H: Handler> Drop for Guest<H> {
    fn drop(&mut self) {
        self.0.crew.leave(self.0.local.thread);
        self.0.departed.notify_waiters();
    }
}

impl<H: Handler> Host<H> {
    pub(crate) fn new(local: Rc<Local>, crew: Arc<Crew>, handler: Arc<H>) -> Rc<Self> {
        Rc::new(Self { local, crew, handler, refusals: Rc::new(()), departed: Notify::new() })
    }

    pub(crate) fn local(&self) -> &Rc<Local> {
        &self.local
    }

    /// Takes a place for the next caller before it is accepted, if that is how callers are let in.
    pub(crate) fn reserve(&self) -> Reserved {
        match self.local.config.excess {
            // Whoever called before the listener closes is taken or told.
            Excess::Wait if !self.local.is_draining() => match self.crew.admission.reserve() {
                Some(place) => Reserved::Place(place),
                None => Reserved::Full,
            },
            _ => Reserved::Unasked,
        }
    }

    /// Completes when there may be a place. Cancel-safe.
    pub(crate) fn room(&self) -> impl Future<Output = ()> {
        self.crew.admission.room()
    }

    /// Takes a caller from the listener.
    pub(crate) fn arrive(
        self: &Rc<Self>,
        socket: OwnedFd,
        peer: Option<SocketAddr>,
        reserved: Option<Admitted>,
    ) {
        let caller = Caller { socket, peer };
        match self.crew.admission.admit(&self.attempt(&caller), reserved) {
            Verdict::Admit(pass) => self.send_on(caller, pass),
            Verdict::Refuse(Refusal::Busy) if self.local.reclaim() => self.let_in_after_another(caller),
            Verdict::Refuse(refusal) => self.refuse(caller, refusal),
        }
    }

    fn attempt(&self, caller: &Caller) -> Attempt {
        Attempt {
            descriptor: descriptor(&caller.socket),
            peer: caller.peer.map(|peer| peer.ip()),
            now: self.local.clock(),
        }
    }

    /// Somebody idle was told to make room; that takes a moment.
    fn let_in_after_another(self: &Rc<Self>, caller: Caller) {
        let host = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let room = tokio::time::timeout(RECLAIM_TIME, async {
                loop {
                    let room = host.room();
                    match host.crew.admission.admit(&host.attempt(&caller), None) {
                        Verdict::Refuse(Refusal::Busy) => room.await,
                        verdict => return verdict,
                    }
                }
            });
            match room.await.unwrap_or(Verdict::Refuse(Refusal::Busy)) {
                Verdict::Admit(pass) => host.send_on(caller, pass),
                Verdict::Refuse(refusal) => host.refuse(caller, refusal),
            }
        });
    }

    fn send_on(self: &Rc<Self>, caller: Caller, pass: Pass) {
        let here = self.local.thread;
        let open = self.crew.members.iter().map(|member| member.open.load(Relaxed));
        // Other threads may be gone already when the server drains.
        let thread =
            if self.local.is_draining() { here } else { choose_thread(open, here, self.crew.open_on(here)) };
        let arrival = Arrival { caller, pass, place: self.crew.place(thread) };
        if thread == here {
            return self.host(arrival);
        }
        if let Err(unsent) = self.crew.members[thread].inbox.try_send(Errand::Serve(arrival))
            && let Errand::Serve(mut arrival) = unsent.into_inner()
        {
            arrival.place = self.crew.place(here);
            self.host(arrival);
        }
    }

    /// Does what another thread asked for.
    pub(crate) fn run_errand(self: &Rc<Self>, errand: Errand) {
        match errand {
            Errand::Serve(arrival) => self.host(arrival),
            Errand::Close(id) => self.local.close(id),
        }
    }

    /// Serves a connection on this thread from now on.
    fn host(self: &Rc<Self>, arrival: Arrival) {
        let Arrival { caller, pass: Pass { admitted, address }, place } = arrival;
        let index = descriptor(&caller.socket);
        let stream = match TcpStream::from_std(caller.socket.into()) {
            Ok(stream) => stream,
            Err(error) => return self.local.exhausted(&error, 1),
        };
        let seat = admitted.seat(index, caller.peer, self.local.thread, self.local.now());
        let link = Link::new(Rc::clone(&self.local), Stream::Tcp(stream), seat, address, caller.peer);
        if let Some(reason) = self.local.is_cut() {
            link.order(reason);
        }
        let guest = Guest::new(self, place);
        tokio::task::spawn_local(async move { drive(&*guest.0.handler, link).await });
    }

    /// Tells a caller that it is not let in, and sees to it that it can read so.
    fn refuse(&self, caller: Caller, refusal: Refusal) {
        self.local.emit(&Event::Refused { peer: PeerAddr::from(caller.peer), reason: refusal });
        match self.local.config.excess {
            Excess::Say | Excess::Wait => socket::dismiss(&caller.socket, refusal.line().as_bytes()),
            Excess::Close => return,
            Excess::Reset => return socket::reset_on_close(&caller.socket),
        }
        if Rc::strong_count(&self.refusals) > REFUSALS_MAX {
            return;
        }
        let seen_off = Rc::clone(&self.refusals);
        let Ok(mut stream) = TcpStream::from_std(caller.socket.into()) else {
            return;
        };
        let pool = Rc::clone(&self.local.pool);
        tokio::task::spawn_local(async move {
            let reading = read_away(&pool, |cx, buffer| Pin::new(&mut stream).poll_read(cx, buffer));
            let _ = tokio::time::timeout(REFUSAL_TIME, reading).await;
            drop(seen_off);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(open: &[usize], here: usize) -> usize {
        choose_thread(open.iter().copied(), here, open[here])
    }

    #[test]
    fn long_connections_stay_balanced_even_if_one_thread_accepts_them_all() {
        let mut open = [0; 2];
        for _ in 0..1000 {
            open[choose(&open, 0)] += 1;
        }
        let (most, least) = (open.iter().max().unwrap(), open.iter().min().unwrap());
        assert!(most * 10 <= least * 12, "{open:?}");
    }

    #[test]
    fn a_connection_stays_where_it_was_accepted_while_threads_are_about_even() {
        assert_eq!(choose(&[3, 3], 1), 1);
        assert_eq!(choose(&[4, 3], 0), 0);
        assert_eq!(choose(&[5, 3], 0), 1);
        assert_eq!(choose(&[510, 490], 0), 0);
        assert_eq!(choose(&[7], 0), 0);
    }
}
