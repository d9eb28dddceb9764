//! What a worker that was killed has left open: all of it is closed but what is on this page.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, RawFd};
use std::thread;

use super::found::{Connections, Named};
use super::kept::Kept;
use super::memory::Memory;
use crate::sys::{descriptors, socket};

/// From so many connections on, starting a thread takes less time than it saves.
const MANY: usize = 500;

/// Standard streams: whatever they are, they are the program's.
const STANDARD: [RawFd; 3] = [0, 1, 2];

/// What is on record beside connections.
fn on_record_besides(memory: &Memory, bell: RawFd) -> impl Iterator<Item = RawFd> {
    let listeners = memory.listeners().iter().filter(|record| record.is_live());
    let listeners = listeners.filter_map(super::listeners::number_of);
    [memory.number(), bell].into_iter().chain(listeners)
}

/// Those of these connections whose descriptors are what the table says.
fn still_there(claims: &[Named]) -> Vec<Named> {
    let is_there = |(number, cookie): &&Named| socket::cookie_of(*number) == *cookie;
    claims.iter().filter(is_there).copied().collect()
}

/// The same, in half the time.
fn still_there_by_two(claims: &[Named]) -> Vec<Named> {
    let (ours, others) = claims.split_at(claims.len() / 2);
    thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, || still_there(others)).ok();
        let mut there = still_there(ours);
        let others_there = other.and_then(|other| other.join().ok());
        there.extend(others_there.unwrap_or_else(|| still_there(others)));
        there
    })
}

/// What the program was started with, as far as it is there. A number can be another's by now.
fn from_the_start(kept: &Kept) -> impl Iterator<Item = RawFd> {
    let from_the_start = kept.from_the_start.iter();
    let there = from_the_start.filter(|(number, identity)| descriptors::identity(*number) == Some(*identity));
    there.map(|(number, _)| *number)
}

/// The descriptors beside connections that another worker goes on with.
fn kept_open(kept: &Kept) -> BTreeSet<RawFd> {
    let on_record = on_record_besides(kept.memory, kept.bell.as_raw_fd());
    STANDARD.into_iter().chain(from_the_start(kept)).chain(on_record).collect()
}

/// Closes what the worker before has left, before this one has opened anything of its own. Returned are the
/// connections of the table that are still there, and those that may have been accepted and not put into the
/// table yet. With many connections, threads help: everybody waits for it.
pub(super) fn clear_up(kept: &Kept) -> (Connections, Vec<Named>) {
    if kept.memory.claims().take(MANY).count() < MANY {
        return sweep(kept, still_there, descriptors::close_left_behind);
    }
    let mut slow = Vec::new();
    let found = sweep(kept, still_there_by_two, |number| {
        // It knows every connection of a thread, and has to forget each.
        if descriptors::is_epoll(number) { slow.push(number) } else { descriptors::close_left_behind(number) }
    });
    close_meanwhile(slow);
    found
}

/// Closes all that nobody goes on with.
fn sweep(
    kept: &Kept,
    still_there: impl FnOnce(&[Named]) -> Vec<Named>,
    mut close: impl FnMut(RawFd),
) -> (Connections, Vec<Named>) {
    let keep = kept_open(kept);
    // What has another owner is no connection, whatever the table says.
    let claims = kept.memory.claims().filter(|(number, _)| !keep.contains(&as_raw(*number)));
    let connections = Connections::new(&still_there(&claims.collect::<Vec<_>>()));
    let is_connection = |number: RawFd| usize::try_from(number).is_ok_and(|number| connections.has(number));
    let mut accepted = Vec::new();
    for number in open_or(kept.numbers, is_connection) {
        if is_connection(number) || keep.contains(&number) {
            continue;
        }
        match usize::try_from(number).ok().zip(descriptors::untouched_connection(number)) {
            Some(connection) => accepted.push(connection),
            None => close(number),
        }
    }
    (connections, accepted)
}

fn as_raw(number: usize) -> RawFd {
    RawFd::try_from(number).unwrap_or(RawFd::MAX)
}

/// Closes these while others go on. Until then they stay open, so nobody else gets their numbers.
fn close_meanwhile(numbers: Vec<RawFd>) {
    let close_all = |numbers: Vec<RawFd>| numbers.into_iter().for_each(descriptors::close_left_behind);
    let theirs = numbers.clone();
    if thread::Builder::new().name("closing".into()).spawn(move || close_all(theirs)).is_err() {
        close_all(numbers);
    }
}

/// Closes all but the standard streams. Nothing may be opened in this process any more.
pub(super) fn close_all(kept: &Kept) {
    open(kept.numbers).filter(|number| !STANDARD.contains(number)).for_each(descriptors::close_left_behind);
}

/// Has another program find all that it goes on with: what is on record, and whoever was accepted and is not.
/// Callers wait meanwhile, so nothing is looked at here that its worker will look at.
pub(super) fn hand_on_all(kept: &Kept) {
    hand_on_none(kept);
    let known = known(kept.memory, kept.bell.as_raw_fd());
    for number in &known {
        descriptors::hand_on(*number);
    }
    for number in open_besides(kept.numbers, &known).filter(|number| is_accepted(*number)) {
        descriptors::hand_on(number);
    }
}

/// Has programs that this one starts find nothing but what it had at its own start.
pub(super) fn hand_on_none(kept: &Kept) {
    let from_the_start: BTreeSet<RawFd> = STANDARD.into_iter().chain(from_the_start(kept)).collect();
    let mut next = 0;
    for number in from_the_start.into_iter().chain([kept.numbers]) {
        if next < number {
            descriptors::hand_on_none(next..=number - 1);
        }
        next = number.saturating_add(1);
    }
}

/// What is on record, and what the table says that connections are.
fn known(memory: &Memory, bell: RawFd) -> BTreeSet<RawFd> {
    let claims = memory.claims().map(|(number, _)| as_raw(number));
    on_record_besides(memory, bell).chain(claims).collect()
}

fn is_accepted(number: RawFd) -> bool {
    descriptors::untouched_connection(number).is_some()
}

/// The numbers that are open below this one.
fn open(numbers: RawFd) -> impl Iterator<Item = RawFd> {
    open_or(numbers, |_| false)
}

/// The same, where those that are `known` to be open are not asked about.
fn open_or(numbers: RawFd, known: impl Fn(RawFd) -> bool) -> impl Iterator<Item = RawFd> {
    // Counting is one call, and looking at every number there could be may be a million.
    let count = descriptors::count().unwrap_or(usize::MAX);
    (0..numbers).filter(move |number| known(*number) || descriptors::is_open(*number)).take(count)
}

/// What is open now below this number, each with what it stands for.
pub(super) fn open_now(numbers: RawFd) -> Vec<(RawFd, descriptors::Identity)> {
    let count = descriptors::count().unwrap_or(usize::MAX);
    let open = (0..numbers).filter_map(|number| Some((number, descriptors::identity(number)?)));
    open.take(count).collect()
}

/// What is open besides what is known.
fn open_besides(numbers: RawFd, known: &BTreeSet<RawFd>) -> impl Iterator<Item = RawFd> {
    open_or(numbers, |number| known.contains(&number)).filter(|number| !known.contains(number))
}

/// What this program was started with and no program before it has put on record. What has been put there is kept from
/// those that this one starts.
pub(super) fn not_on_record(
    numbers: RawFd,
    memory: &Memory,
    bell: RawFd,
) -> Vec<(RawFd, descriptors::Identity)> {
    let known = known(memory, bell);
    runs(&known).into_iter().for_each(descriptors::hand_on_none);
    let (accepted, others): (Vec<_>, Vec<_>) =
        open_besides(numbers, &known).partition(|number| is_accepted(*number));
    for number in accepted {
        descriptors::hand_on_none(number..=number);
    }
    others.into_iter().filter_map(|number| Some((number, descriptors::identity(number)?))).collect()
}

/// Numbers that follow each other, together.
fn runs(numbers: &BTreeSet<RawFd>) -> Vec<RangeInclusive<RawFd>> {
    let mut runs: Vec<RangeInclusive<RawFd>> = Vec::new();
    for number in numbers {
        match runs.last_mut().filter(|run| run.end() + 1 == *number) {
            Some(run) => *run = *run.start()..=*number,
            None => runs.push(*number..=*number),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn only_what_the_kernel_knows_by_this_name_is_still_there_however_many_look() {
        let sockets = [(); 5].map(|()| OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap()));
        let named = |socket: &OwnedFd| {
            let number = usize::try_from(socket.as_raw_fd()).unwrap();
            (number, socket::cookie_of(number))
        };
        let mut claims: Vec<Named> = sockets.iter().map(named).collect();
        claims[1].1 += 1;
        claims[4].0 = 1 << 20;
        let there = [claims[0], claims[2], claims[3]];
        assert_eq!((still_there(&claims), still_there_by_two(&claims)), (there.to_vec(), there.to_vec()));
        assert!(still_there_by_two(&[]).is_empty());
    }

    #[test]
    fn an_epoll_is_told_from_all_else() {
        let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(descriptors::is_epoll(epoll.as_raw_fd()));
        assert!(![socket.as_raw_fd(), -1].into_iter().any(descriptors::is_epoll));
    }

    #[test]
    fn numbers_that_follow_each_other_are_one_run_and_a_gap_begins_another() {
        let runs_of = |numbers: &[RawFd]| runs(&numbers.iter().copied().collect());
        assert_eq!(runs_of(&[]), []);
        assert_eq!(runs_of(&[9, 3, 4, 5, 7, 10]), [3..=5, 7..=7, 9..=10]);
    }
}
