//! Those who have been idle for longest, to make room when the server is full.

use std::collections::BinaryHeap;
use std::rc::Weak;

use super::link::Link;

/// How many are known at a time: so many places can be had between two sweeps.
const KNOWN_MAX: usize = 64;

/// The connections of one thread that have been idle for longest, as of the last sweep.
#[derive(Debug, Default)]
pub(crate) struct Idlest {
    /// Kept in the order of the sweep's stamps, those idle for longest first.
    sorted: std::collections::VecDeque<Idle>,
    gathering: BinaryHeap<Idle>,
}

#[derive(Debug)]
struct Idle {
    since: u64,
    link: Weak<Link>,
}

impl Idlest {
    /// One connection that could make room.
    pub(crate) fn gather(&mut self, since: u64, link: Weak<Link>) {
        if self.gathering.len() == KNOWN_MAX {
            match self.gathering.peek() {
                // The heap's first is the one that has been idle for the shortest time.
                Some(shortest) if shortest.since > since => drop(self.gathering.pop()),
                _ => return,
            }
        }
        self.gathering.push(Idle { since, link });
    }

    /// The round is over: what was gathered is what is known now.
    pub(crate) fn settle(&mut self) {
        let gathered = std::mem::take(&mut self.gathering);
        self.sorted = gathered.into_sorted_vec().into();
    }

    /// Since when the connection that has been idle for longest has been.
    pub(crate) fn first(&self) -> Option<u64> {
        self.sorted.front().map(|idle| idle.since)
    }

    /// The connection that has been idle for longest and still is.
    pub(crate) fn take(&mut self) -> Option<std::rc::Rc<Link>> {
        loop {
            let idle = self.sorted.pop_front()?;
            let link = idle.link.upgrade();
            if let Some(link) = link.filter(|link| link.is_idle_since(idle.since)) {
                return Some(link);
            }
        }
    }
}

impl PartialEq for Idle {
    fn eq(&self, other: &Self) -> bool {
        self.since == other.since
    }
}

impl Eq for Idle {}

impl PartialOrd for Idle {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Idle {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.since.cmp(&other.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_only_those_idle_for_longest_are_known_and_in_that_order() {
        let mut idlest = Idlest::default();
        for since in (0..1000).rev().chain(1000..2000) {
            idlest.gather(since, Weak::new());
        }
        idlest.settle();
        let known: Vec<u64> = idlest.sorted.iter().map(|idle| idle.since).collect();
        assert_eq!(known, (0..KNOWN_MAX as u64).collect::<Vec<_>>());
        assert!(idlest.take().is_none(), "they are gone");
    }
}
