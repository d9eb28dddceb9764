//! What a worker that was killed has left open: all of it is closed but what is on this page.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, RawFd};

use super::keeper::Kept;
use crate::sys::descriptors;

/// Standard streams: whatever they are, they are the program's.
const STANDARD: [RawFd; 3] = [0, 1, 2];

/// The descriptors that another worker goes on with.
fn kept_open(kept: &Kept) -> HashSet<RawFd> {
    let own = [kept.memory.number(), kept.bell.as_raw_fd()];
    let from_the_start = kept.from_the_start.iter();
    // A number can be another's by now.
    let from_the_start =
        from_the_start.filter(|(number, identity)| descriptors::identity(*number) == Some(*identity));
    let listeners = kept.memory.listeners().iter().filter(|record| record.is_live());
    let listeners = listeners.filter_map(super::listeners::number_of);
    let from_the_start = from_the_start.map(|(number, _)| *number);
    let connections = kept.memory.live_connections();
    STANDARD.into_iter().chain(own).chain(from_the_start).chain(listeners).chain(connections).collect()
}

/// Closes everything else, before this process has opened anything of its own, but for connections that may
/// have been accepted and not put into the table yet: these are returned, each with its cookie.
pub(super) fn close_what_was_left(kept: &Kept) -> Vec<(usize, u64)> {
    let keep = kept_open(kept);
    let mut accepted = Vec::new();
    // Counting is one call, and looking at every number there could be may be a million.
    let mut left = descriptors::count().unwrap_or(usize::MAX);
    for number in 0..kept.numbers {
        if left == 0 {
            break;
        }
        // What is kept was looked at already, but for the standard streams.
        let is_kept = keep.contains(&number);
        if (is_kept && !STANDARD.contains(&number)) || descriptors::is_open(number) {
            left = left.saturating_sub(1);
            if is_kept {
                continue;
            }
            match usize::try_from(number).ok().zip(descriptors::untouched_connection(number)) {
                Some(connection) => accepted.push(connection),
                None => descriptors::close_left_behind(number),
            }
        }
    }
    accepted
}

/// What is open now below this number, each with what it stands for.
pub(super) fn open_now(numbers: RawFd) -> Vec<(RawFd, descriptors::Identity)> {
    let count = descriptors::count().unwrap_or(usize::MAX);
    let open = (0..numbers).filter_map(|number| Some((number, descriptors::identity(number)?)));
    open.take(count).collect()
}
