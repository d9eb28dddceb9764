//! What a worker that was killed has left open: all of it is closed but what is on this page.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, RawFd};

use super::kept::Kept;
use super::memory::Memory;
use crate::sys::descriptors;

/// Standard streams: whatever they are, they are the program's.
const STANDARD: [RawFd; 3] = [0, 1, 2];

/// What is on record: another program that takes over finds it too.
pub(super) fn carried(kept: &Kept) -> impl Iterator<Item = RawFd> {
    on_record(kept.memory, kept.bell.as_raw_fd())
}

fn on_record(memory: &Memory, bell: RawFd) -> impl Iterator<Item = RawFd> {
    let listeners = memory.listeners().iter().filter(|record| record.is_live());
    let listeners = listeners.filter_map(super::listeners::number_of);
    [memory.number(), bell].into_iter().chain(listeners).chain(memory.live_connections())
}

/// The descriptors that another worker goes on with.
fn kept_open(kept: &Kept) -> BTreeSet<RawFd> {
    let from_the_start = kept.from_the_start.iter();
    // A number can be another's by now.
    let from_the_start =
        from_the_start.filter(|(number, identity)| descriptors::identity(*number) == Some(*identity));
    let from_the_start = from_the_start.map(|(number, _)| *number);
    STANDARD.into_iter().chain(from_the_start).chain(carried(kept)).collect()
}

/// Closes everything else, before this process has opened anything of its own, but for connections that may
/// have been accepted and not put into the table yet: these are returned, each with its cookie.
pub(super) fn close_what_was_left(kept: &Kept) -> Vec<(usize, u64)> {
    let keep = kept_open(kept);
    let mut accepted = Vec::new();
    for number in open(kept.numbers).filter(|number| !keep.contains(number)) {
        match usize::try_from(number).ok().zip(descriptors::untouched_connection(number)) {
            Some(connection) => accepted.push(connection),
            None => descriptors::close_left_behind(number),
        }
    }
    accepted
}

/// Closes all but the standard streams. Nothing may be opened in this process any more.
pub(super) fn close_all(kept: &Kept) {
    open(kept.numbers).filter(|number| !STANDARD.contains(number)).for_each(descriptors::close_left_behind);
}

/// What is on record, and whoever was accepted and is not: all that another program goes on with.
pub(super) fn hand_on_all(kept: &Kept, are_handed_on: bool) {
    let carried: BTreeSet<RawFd> = carried(kept).collect();
    let is_accepted = |number: &RawFd| descriptors::untouched_connection(*number).is_some();
    for number in open(kept.numbers).filter(|number| carried.contains(number) || is_accepted(number)) {
        descriptors::hand_on(number, are_handed_on);
    }
}

/// The numbers that are open below this one.
fn open(numbers: RawFd) -> impl Iterator<Item = RawFd> {
    // Counting is one call, and looking at every number there could be may be a million.
    let count = descriptors::count().unwrap_or(usize::MAX);
    (0..numbers).filter(|number| descriptors::is_open(*number)).take(count)
}

/// What is open now below this number, each with what it stands for.
pub(super) fn open_now(numbers: RawFd) -> Vec<(RawFd, descriptors::Identity)> {
    let count = descriptors::count().unwrap_or(usize::MAX);
    let open = (0..numbers).filter_map(|number| Some((number, descriptors::identity(number)?)));
    open.take(count).collect()
}

/// What is open now that no program before this one has put on record.
pub(super) fn open_besides(
    numbers: RawFd,
    memory: &Memory,
    bell: RawFd,
) -> Vec<(RawFd, descriptors::Identity)> {
    let on_record: BTreeSet<RawFd> = on_record(memory, bell).collect();
    // Those of the program before did not know what becomes of them here.
    for number in &on_record {
        descriptors::hand_on(*number, false);
    }
    let besides = open(numbers).filter(|number| !on_record.contains(number));
    let besides = besides.filter(|number| {
        let is_accepted = descriptors::untouched_connection(*number).is_some();
        if is_accepted {
            descriptors::hand_on(*number, false);
        }
        !is_accepted
    });
    besides.filter_map(|number| Some((number, descriptors::identity(number)?))).collect()
}
