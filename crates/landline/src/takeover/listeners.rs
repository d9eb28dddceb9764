//! Listeners on record: what another worker finds when this one is killed. Those that are closed because the
//! server is ending stay there, too: whoever goes on with its connections has to know where they called.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use socket2::{Domain, Socket, Type};

use super::arrival;
use super::memory::{Memory, Record, WORDS_MAX};
use super::worker::Worker;
use crate::address::Address;
use crate::server::Bound;
use crate::sys::descriptors;

/// What stands for the keeper where a worker's number does: theirs begin at 1.
const KEEPER: u32 = 0;

/// That a listener is on record. Dropping it strikes it off: it goes before its socket is closed.
#[derive(Debug)]
pub(crate) struct OnRecord {
    record: &'static Record,
    is_left: bool,
}

impl OnRecord {
    fn new(record: &'static Record) -> Self {
        Self { record, is_left: false }
    }

    /// Leaves it on record.
    fn stay(mut self) {
        self.is_left = true;
    }

    /// Whether it is closed, so that there is nobody to accept.
    pub(crate) fn is_closed(&self) -> bool {
        self.record.is_closed()
    }

    /// Where it listens or listened, if that is an address of the network.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.record.address()
    }

    /// Leaves the listener open and on record if another process goes on with it, be it because this worker
    /// took it over and has not served, so that the next one has to, or because another has taken this one's
    /// place. Says whether it did.
    pub(crate) fn leave(&mut self, socket: &Socket) -> bool {
        let Some(worker) = Worker::this() else {
            self.is_left = true;
            return true;
        };
        if worker.number == 1 || worker.has_served() {
            return false;
        }
        if self.is_closed() || arrival::must_commit() {
            // There is nothing to keep open, or this program has a copy of what the one before goes on with.
            self.is_left = true;
        } else if let Ok(stays) = socket.try_clone() {
            self.record.number.store(stays.into_raw_fd(), Release);
            self.is_left = true;
        }
        self.is_left
    }
}

impl Drop for OnRecord {
    fn drop(&mut self) {
        if !self.is_left {
            let is_ending = Worker::this().is_some_and(|worker| worker.is_ending());
            self.record.state.store(if is_ending { Record::CLOSED } else { Record::FREE }, Release);
        }
    }
}

/// The sockets that a worker before this one has left listening for these words, in their order; none if
/// there are none, or this worker has them already.
pub(crate) fn on_record(asked: &Address) -> Vec<(Socket, OnRecord)> {
    let Some(worker) = Worker::this() else { return Vec::new() };
    let words = asked.to_string().into_bytes();
    let of_others = |record: &&Record| is_on_record(record) && record.worker.load(Relaxed) != worker.number;
    let listeners = worker.kept.memory.listeners();
    let matching = listeners.iter().filter(of_others).filter(|record| record.words() == words);
    let Some(group) = matching.map(|record| record.group.load(Relaxed)).min() else { return Vec::new() };
    let group = listeners.iter().filter(of_others).filter(|record| record.group.load(Relaxed) == group);
    let taken = group.filter_map(|record| {
        record.worker.store(worker.number, Relaxed);
        let on_record = OnRecord::new(record);
        if on_record.is_closed() {
            // It stands for what was closed, and nothing is done with it.
            return Some((Socket::new(Domain::IPV4, Type::STREAM, None).ok()?, on_record));
        }
        let socket = descriptors::adopt_socket(number_of(record)?, record.cookie.load(Relaxed))?;
        Some((Socket::from(socket), on_record))
    });
    taken.collect()
}

/// Puts sockets that listen for these words on record. One for which there is no room, or that is nobody's
/// but this process's, is none that could be taken over.
pub(crate) fn publish(asked: &Address, sockets: &[&Socket]) -> Vec<Option<OnRecord>> {
    match Worker::this() {
        Some(worker) => put_on_record(worker.kept.memory, worker.number, asked, sockets),
        None => sockets.iter().map(|_| None).collect(),
    }
}

fn put_on_record(
    memory: &'static Memory,
    worker: u32,
    asked: &Address,
    sockets: &[&Socket],
) -> Vec<Option<OnRecord>> {
    let words = asked.to_string();
    if words.len() > WORDS_MAX {
        return sockets.iter().map(|_| None).collect();
    }
    let listeners = memory.listeners();
    let in_use = listeners.iter().filter(|record| record.state.load(Acquire) != Record::FREE);
    let group = in_use.map(|record| record.group.load(Relaxed)).max().unwrap_or(0).wrapping_add(1);
    let len = u32::try_from(sockets.len()).unwrap_or(u32::MAX);
    let records = sockets.iter().map(|socket| {
        let cookie = descriptors::cookie(socket.as_raw_fd())?;
        let begin = |record: &&Record| {
            record.state.compare_exchange(Record::FREE, Record::BEGUN, AcqRel, Relaxed).is_ok()
        };
        let record = listeners.iter().find(begin)?;
        record.number.store(socket.as_raw_fd(), Relaxed);
        record.cookie.store(cookie, Relaxed);
        record.group.store(group, Relaxed);
        record.group_len.store(len, Relaxed);
        record.worker.store(worker, Relaxed);
        record.set_address(socket.local_addr().ok().and_then(|address| address.as_socket()));
        record.set_words(&words);
        record.state.store(Record::LIVE, Release);
        Some(OnRecord::new(record))
    });
    records.collect()
}

/// Leaves what the keeper listens on to its workers, as if one before them had: their sockets stay open, and
/// their files where they are.
///
/// # Errors
/// When not all of it can be put on record: then nobody would find it.
pub(super) fn leave_to_workers(memory: &'static Memory, bound: Vec<Arc<Bound>>) -> io::Result<()> {
    let Some(asked) = bound.first().map(|bound| bound.asked.clone()) else { return Ok(()) };
    let sockets: Vec<_> = bound.iter().map(|bound| bound.socket.try_clone()).collect::<Result<_, _>>()?;
    let on_record = put_on_record(memory, KEEPER, &asked, &sockets.iter().collect::<Vec<_>>());
    if on_record.iter().any(Option::is_none) {
        return Err(io::Error::other(format!("there is no room to put {asked} on record")));
    }
    on_record.into_iter().flatten().for_each(OnRecord::stay);
    for socket in sockets {
        // Its number is on record, and that is all who owns it.
        let _ = socket.into_raw_fd();
    }
    bound.into_iter().filter_map(Arc::into_inner).for_each(Bound::leave_file);
    Ok(())
}

/// Whether another worker is to know of it.
fn is_on_record(record: &Record) -> bool {
    record.is_live() || record.is_closed()
}

/// The descriptor of a listener that is on record and still there. A connection that is on record as one has
/// another owner.
pub(super) fn number_of(record: &Record) -> Option<RawFd> {
    let number = record.number.load(Relaxed);
    let is_it = descriptors::cookie(number) == Some(record.cookie.load(Relaxed));
    (is_it && descriptors::is_listening(number)).then_some(number)
}

/// Strikes off what a worker that was killed had not finished writing, and what is on record twice: a socket
/// has one owner.
pub(super) fn clear_half_written(memory: &Memory) {
    let listeners = memory.listeners();
    let of_group = |group: u32| {
        listeners
            .iter()
            .filter(move |record| is_on_record(record) && record.group.load(Relaxed) == group)
            .count()
    };
    for record in listeners.iter().filter(|record| record.state.load(Acquire) != Record::FREE) {
        let is_whole = of_group(record.group.load(Relaxed)) >= record.group_len.load(Relaxed) as usize;
        if !(is_on_record(record) && is_whole) {
            record.state.store(Record::FREE, Release);
        }
    }
    let mut sockets = BTreeSet::new();
    for record in listeners.iter().filter(|record| record.is_live()) {
        if !sockets.insert((record.number.load(Relaxed), record.cookie.load(Relaxed))) {
            record.state.store(Record::FREE, Release);
        }
    }
}

/// Closes listeners of a worker before this one that nobody has asked for again: callers would wait there in
/// vain.
pub(super) fn close_unclaimed(worker: Worker) {
    let listeners = worker.kept.memory.listeners().iter();
    for record in listeners.filter(|record| record.is_live() && record.worker.load(Relaxed) != worker.number)
    {
        record.state.store(Record::FREE, Release);
        if let Some(number) = number_of(record) {
            descriptors::close_left_behind(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn only_a_socket_that_listens_is_a_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let memory = Memory::new().unwrap();
        let record = &memory.listeners()[0];
        for (number, is_listener) in [(listener.as_raw_fd(), true), (caller.as_raw_fd(), false)] {
            record.number.store(number, Relaxed);
            record.cookie.store(descriptors::cookie(number).unwrap(), Relaxed);
            assert_eq!(number_of(record), is_listener.then_some(number));
            record.cookie.fetch_add(1, Relaxed);
            assert_eq!(number_of(record), None);
        }
    }

    #[test]
    fn what_a_keeper_listens_on_stays_open_and_on_record_with_its_file() {
        let path = std::env::temp_dir().join(format!("landline-ahead-{}.sock", std::process::id()));
        let memory: &'static Memory = Box::leak(Box::new(Memory::new().unwrap()));
        let file = format!("unix:{}", path.display());
        for asked in [&*file, "127.0.0.1:0"] {
            let server = crate::Server::bind(asked).unwrap();
            leave_to_workers(memory, server.into_bound()).unwrap();
        }
        assert!(path.exists());
        std::fs::remove_file(&path).unwrap();
        let live = memory.listeners().iter().filter(|record| record.is_live());
        let live: Vec<_> = live.map(|record| (record.words(), record.worker.load(Relaxed))).collect();
        assert_eq!(live, [(file.into_bytes(), KEEPER), (b"127.0.0.1:0".to_vec(), KEEPER)]);
        for record in &memory.listeners()[..2] {
            let socket = descriptors::adopt_socket(number_of(record).unwrap(), record.cookie.load(Relaxed));
            assert!(socket.is_some());
        }
    }

    #[test]
    fn a_listener_that_is_on_record_twice_is_there_once() {
        let memory = Memory::new().unwrap();
        for (record, number) in memory.listeners().iter().zip([7, 8, 7]) {
            record.number.store(number, Relaxed);
            record.state.store(Record::LIVE, Release);
        }
        clear_half_written(&memory);
        let live = memory.listeners().iter().filter(|record| record.is_live());
        assert_eq!(live.map(|record| record.number.load(Relaxed)).collect::<Vec<_>>(), [7, 8]);
    }
}
