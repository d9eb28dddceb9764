//! What every thread knows of every other: how to reach it, how many connections it has.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;

use tokio::sync::mpsc;

use super::admission::Pass;
use super::listener::Listener;
use crate::event::{PeerAddr, Via};

/// How many connections may be on their way to a thread. When more are, they stay where they were accepted.
const INBOX: usize = 1024;

/// The threads of a server.
#[derive(Debug)]
pub(crate) struct Crew {
    members: Vec<Member>,
}

/// How to reach one thread.
#[derive(Debug)]
struct Member {
    inbox: mpsc::Sender<Errand>,
    /// How many connections it has, those on their way to it included.
    open: AtomicUsize,
}

/// What one thread asks of another.
#[derive(Debug)]
pub(crate) enum Errand {
    /// A connection to serve from now on.
    Serve(Arrival),
    /// The connection with this number is to end.
    Close(u64),
    /// Whoever has been idle for longest is to make room.
    Reclaim,
    /// The thread says that it has come to this.
    Answer(SyncSender<()>),
}

/// Somebody who was accepted and has not yet been let in or refused.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) socket: OwnedFd,
    pub(crate) peer: PeerAddr,
    /// Behind a pointer, because most servers have no proxies before them.
    pub(crate) by_proxy: Option<Box<ByProxy>>,
}

/// How somebody came by way of a proxy.
#[derive(Debug)]
pub(crate) struct ByProxy {
    pub(crate) via: Via,
    /// How long the proxy's header is, in bytes. It was looked at, and is still there to be read.
    pub(crate) header_len: u16,
}

impl Caller {
    /// Somebody who calls as who they are.
    pub(crate) fn new(socket: OwnedFd, peer: PeerAddr) -> Self {
        Self { socket, peer, by_proxy: None }
    }
}

/// A connection on its way to its thread.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) caller: Caller,
    pub(crate) pass: Pass,
    pub(crate) listener: Arc<Listener>,
    pub(crate) place: Place,
}

/// A connection's place on a thread: counted for as long as this exists, until the thread takes it over.
#[derive(Debug)]
pub(crate) struct Place {
    crew: Option<Arc<Crew>>,
    thread: usize,
}

impl Crew {
    /// A crew of `threads`, and the inbox of each.
    pub(crate) fn new(threads: usize) -> (Arc<Self>, Vec<mpsc::Receiver<Errand>>) {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| mpsc::channel(INBOX)).unzip();
        let members = senders.into_iter().map(|inbox| Member { inbox, open: AtomicUsize::new(0) }).collect();
        (Arc::new(Self { members }), receivers)
    }

    /// Asks something of a thread; it comes back if the thread can't be asked now.
    pub(crate) fn ask(&self, thread: usize, errand: Errand) -> Result<(), Errand> {
        match self.members.get(thread) {
            Some(member) => member.inbox.try_send(errand).map_err(mpsc::error::TrySendError::into_inner),
            None => Err(errand),
        }
    }

    /// How many threads there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn open_on(&self, thread: usize) -> usize {
        self.members[thread].open.load(Relaxed)
    }

    /// Counts a connection on a thread.
    pub(crate) fn place(self: &Arc<Self>, thread: usize) -> Place {
        self.members[thread].open.fetch_add(1, Relaxed);
        Place { crew: Some(Arc::clone(self)), thread }
    }

    /// A connection of a thread has ended.
    pub(crate) fn leave(&self, thread: usize) {
        self.members[thread].open.fetch_sub(1, Relaxed);
    }

    /// The thread for a connection that was accepted on thread `here`.
    pub(crate) fn choose(&self, here: usize) -> usize {
        let open = self.members.iter().map(|member| member.open.load(Relaxed));
        choose_thread(open, here, self.open_on(here))
    }
}

impl Place {
    /// The thread counts the connection itself from now on.
    pub(crate) fn take_over(mut self) {
        self.crew = None;
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
