//! The accept loop: it cannot die and cannot be stalled.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

use super::crew::Caller;
use super::door::{Door, Reserved};
use crate::error::describe;
use crate::event::{Event, PeerAddr, Refusal};
use crate::fault::{Step, passed};
use crate::sys::socket;

/// How many callers are accepted in a row before others get their turn.
const BATCH: usize = 64;
/// How many batches are taken at most when the listener is about to close: a full backlog. Callers may go on
/// calling.
const LAST_BATCHES: usize = 4096 / BATCH;
/// After how many EINVAL in a row a listener counts as broken. A single one can come from a socket option
/// that raced.
const INVALID_MAX: u32 = 10;
/// How often callers who wait for a place have somebody idle make room for them.
const RECLAIM_EVERY: Duration = Duration::from_secs(1);
/// How long to wait when resources have run out, at least; up to as long again is added at random, so that
/// several servers do not come back in step.
const PAUSE: Duration = Duration::from_millis(50);

/// What an error of accept(2) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nobody is waiting.
    Empty,
    /// One caller is lost; go on with the next.
    Caller,
    /// Descriptors or memory have run out: turn callers away, wait, go on.
    Resources,
    /// Not a sign of anything if it passes, and fatal if it stays.
    Invalid,
    /// This listener will never accept anybody again.
    Fatal,
}

/// The one place that knows what each error of accept(2) means.
pub(crate) fn classify(error: &io::Error) -> Class {
    let Some(errno) = Errno::from_io_error(error) else {
        return Class::Resources;
    };
    match errno {
        Errno::AGAIN => Class::Empty,
        Errno::INTR
        | Errno::CONNABORTED
        | Errno::PERM
        | Errno::PROTO
        | Errno::NOPROTOOPT
        // On Linux, errors of the network that hit the new connection before it was accepted.
        | Errno::NETDOWN
        | Errno::NETUNREACH
        | Errno::HOSTDOWN
        | Errno::HOSTUNREACH
        | Errno::TIMEDOUT => Class::Caller,
        Errno::INVAL => Class::Invalid,
        Errno::BADF | Errno::NOTSOCK | Errno::OPNOTSUPP | Errno::FAULT => Class::Fatal,
        // EMFILE, ENFILE, ENOBUFS, ENOMEM; and whatever else there may be is better waited out than died of.
        _ => Class::Resources,
    }
}

/// How to go on after some accepts.
enum Pace {
    Empty,
    More,
    Pause,
    /// Nobody more is let in, and callers are to wait.
    Full,
}

/// How an accept loop is told to end.
#[derive(Clone)]
pub(crate) struct Retirement {
    told: CancellationToken,
    /// Whether somebody else goes on with the listener's queue.
    is_kept: Rc<Cell<bool>>,
}

impl Retirement {
    /// It is also told when `drain` is.
    pub(crate) fn new(drain: &CancellationToken) -> Self {
        Self { told: drain.child_token(), is_kept: Rc::default() }
    }

    pub(crate) fn retire(&self, is_kept: bool) {
        self.is_kept.set(is_kept);
        self.told.cancel();
    }

    /// Whether the listener closes: whoever is in its queue then is taken or told, or else would be reset.
    fn closes(&self) -> bool {
        self.told.is_cancelled() && !self.is_kept.get()
    }
}

/// The accept loop of one thread for one listener.
pub(crate) struct Acceptor {
    door: Door,
    reserve: Reserve,
    invalid: u32,
}

impl Acceptor {
    /// Takes at once what it will need when there are no descriptors left.
    pub(crate) fn new(door: Door) -> Self {
        Self { door, reserve: Reserve::new(), invalid: 0 }
    }

    /// A descriptor of the listener for this thread's runtime.
    pub(crate) fn register(&self) -> io::Result<AsyncFd<OwnedFd>> {
        socket::register(self.door.socket())
    }

    /// Accepts callers until the listener is retired; one that is not registered yet is as soon as that can
    /// be. It returns only then, or when the listener is broken.
    pub(crate) async fn run(
        mut self,
        registered: Option<AsyncFd<OwnedFd>>,
        retired: &Retirement,
    ) -> io::Result<()> {
        let Some(listener) = self.registered(registered, retired).await else {
            return Ok(());
        };
        loop {
            tokio::select! {
                biased;
                () = retired.told.cancelled() => break,
                ready = listener.readable() => {
                    let mut ready = ready?;
                    match self.accept_batch(listener.get_ref(), false)? {
                        Pace::Empty => ready.clear_ready(),
                        Pace::More => tokio::task::yield_now().await,
                        Pace::Pause => tokio::time::sleep(pause()).await,
                        Pace::Full => self.wait_for_room(listener.get_ref(), retired).await,
                    }
                }
            }
        }
        let last_batches = if retired.closes() { LAST_BATCHES } else { 0 };
        for _ in 0..last_batches {
            if !matches!(self.accept_batch(listener.get_ref(), true)?, Pace::More) {
                break;
            }
        }
        Ok(())
    }

    /// Tries until it is registered; none if the listener is retired before.
    async fn registered(
        &self,
        mut registered: Option<AsyncFd<OwnedFd>>,
        retired: &Retirement,
    ) -> Option<AsyncFd<OwnedFd>> {
        while registered.is_none() && !retired.told.is_cancelled() {
            match self.register() {
                Ok(listener) => registered = Some(listener),
                Err(error) => {
                    self.door.host().local().exhausted(&error, 0);
                    tokio::select! {
                        () = tokio::time::sleep(pause()) => {}
                        () = retired.told.cancelled() => {}
                    }
                }
            }
        }
        registered
    }

    /// `last`: nobody can be left waiting.
    fn accept_batch(&mut self, listener: &OwnedFd, last: bool) -> io::Result<Pace> {
        for _ in 0..BATCH {
            let reserved = match self.door.reserve() {
                Reserved::Place(place) => Some(place),
                Reserved::Full if !last => return Ok(Pace::Full),
                Reserved::Unasked | Reserved::Full => None,
            };
            let error = match socket::accept(listener.as_fd()) {
                Ok((socket, address)) => {
                    passed(Step::Accept);
                    self.invalid = 0;
                    let peer = address.map_or_else(|| local_peer(&socket), PeerAddr::Ip);
                    self.door.arrive(Caller::new(socket, peer), reserved);
                    continue;
                }
                Err(error) => error,
            };
            match classify(&error) {
                Class::Empty => return Ok(Pace::Empty),
                Class::Caller => self.lost_one(&error),
                Class::Resources => {
                    self.turn_away(listener, &error);
                    return Ok(Pace::Pause);
                }
                Class::Invalid if self.invalid < INVALID_MAX => self.invalid += 1,
                Class::Invalid | Class::Fatal => return Err(error),
            }
        }
        Ok(Pace::More)
    }

    /// Waits until there may be a place, or the listener is retired.
    async fn wait_for_room(&self, listener: &OwnedFd, retired: &Retirement) {
        let room = self.door.room();
        // A place that became free before the waiting began told nobody.
        if let Reserved::Full = self.door.reserve() {
            if socket::has_caller(listener) {
                self.door.host().make_room();
            }
            tokio::select! {
                () = room => {}
                // Somebody may have been idle for long enough by then.
                () = tokio::time::sleep(RECLAIM_EVERY) => {}
                () = retired.told.cancelled() => {}
            }
        }
    }

    fn lost_one(&self, error: &io::Error) {
        if error.kind() != io::ErrorKind::Interrupted {
            self.door.host().local().emit(&Event::AcceptFailed { cause: describe(error).into() });
        }
    }

    /// Resources have run out: callers who would hang in the backlog are told so.
    fn turn_away(&mut self, listener: &OwnedFd, error: &io::Error) {
        let refused = self.reserve.shed(listener);
        self.door.host().local().exhausted(error, refused);
    }
}

/// Who calls by a Unix socket.
fn local_peer(socket: &OwnedFd) -> PeerAddr {
    socket::credentials(socket).map_or(PeerAddr::Unnamed, |(pid, uid)| PeerAddr::Local { pid, uid })
}

/// A descriptor that is held for the moment when there are no others: it is closed to accept a caller and
/// tell them.
struct Reserve(Option<OwnedFd>);

impl Reserve {
    fn new() -> Self {
        use rustix::fs::{Mode, OFlags, open};
        Self(open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok())
    }

    /// Refuses those who wait, a batch at most. Without a reserve, as when another thread got the descriptor,
    /// nobody.
    fn shed(&mut self, listener: &OwnedFd) -> u64 {
        let mut refused = 0;
        if self.0.take().is_some() {
            while refused < BATCH as u64
                && let Ok((caller, _)) = socket::accept(listener.as_fd())
            {
                socket::dismiss(&caller, Refusal::Busy.line().as_bytes());
                refused += 1;
            }
        }
        *self = Self::new();
        refused
    }
}

/// A pause of a length that differs from time to time.
fn pause() -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // The standard library's hashers are seeded at random, which is all the randomness this needs.
    let share = RandomState::new().hash_one(()) % 1000;
    PAUSE + PAUSE * u32::try_from(share).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_accept_is_in_one_class() {
        let class = |errno: Errno| classify(&errno.into());
        for errno in [Errno::CONNABORTED, Errno::PROTO, Errno::PERM, Errno::INTR, Errno::NETDOWN] {
            assert_eq!(class(errno), Class::Caller, "{errno:?}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::IO] {
            assert_eq!(class(errno), Class::Resources, "{errno:?}");
        }
        for errno in [Errno::BADF, Errno::NOTSOCK, Errno::OPNOTSUPP, Errno::FAULT] {
            assert_eq!(class(errno), Class::Fatal, "{errno:?}");
        }
        assert_eq!(class(Errno::AGAIN), Class::Empty);
        assert_eq!(class(Errno::INVAL), Class::Invalid);
    }

    #[test]
    fn a_pause_is_within_its_bounds() {
        assert!((0..100).all(|_| (PAUSE..=PAUSE * 2).contains(&pause())));
    }
}
