//! Who is let in: a verdict with a reason, before any handler sees the caller.
//!
//! It does no I/O and reads no clock. What it keeps is exact and shared by all threads: how many connections
//! there are, how many from each address, and when the next may come.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::access::Access;
use super::config::Config;
use super::table::{Admitted, Table};
#[cfg(all(target_os = "linux", feature = "takeover"))]
use crate::event::PeerAddr;
use crate::event::Refusal;

/// Somebody who wants in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) descriptor: usize,
    pub(crate) peer: Option<IpAddr>,
    /// The server's clock, in milliseconds.
    pub(crate) now: u64,
}

/// The decision on one caller.
#[derive(Debug)]
pub(crate) enum Verdict {
    Admit(Pass),
    Refuse(Refusal),
}

/// The right to be let in: what is counted for a connection for as long as this exists.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) admitted: Admitted,
    /// Behind a pointer, because most servers have no rule that counts addresses.
    pub(crate) address: Option<Box<IpPlace>>,
    /// If something comes before the first message, until it is done.
    pub(crate) handshake: Option<Handshake>,
}

/// Somebody's PROXY header and TLS handshake: they count as going on for as long as this exists.
#[derive(Debug)]
pub(crate) struct Handshake(Arc<AtomicUsize>);

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// One exact number of each kind for the whole server, whichever thread and whichever listener accepts.
#[derive(Debug)]
pub(crate) struct Admission {
    table: Arc<Table>,
    max_connections: usize,
    max_handshakes: usize,
    handshakes: Arc<AtomicUsize>,
    pace: Option<Arc<Pace>>,
    per_ip: Option<Arc<PerIp>>,
}

impl Admission {
    /// What is to be counted from now on, by these rules. What `before` has counted goes on being counted.
    pub(crate) fn new(
        table: Arc<Table>,
        max_connections: usize,
        config: &Config,
        before: Option<&Admission>,
    ) -> Self {
        let pace = config.max_accept_rate.map(|rate| {
            let same = before.and_then(|before| before.pace.as_ref()).filter(|pace| pace.is(rate));
            same.map_or_else(|| Arc::new(Pace::new(rate)), Arc::clone)
        });
        let per_ip = config.max_connections_per_ip.map(|max| match before.and_then(|b| b.per_ip.as_ref()) {
            Some(per_ip) => per_ip.with_max(max),
            None => Arc::new(PerIp::new(max)),
        });
        let handshakes = before.map_or_else(Arc::default, |before| Arc::clone(&before.handshakes));
        Self { table, max_connections, max_handshakes: config.max_handshakes, handshakes, pace, per_ip }
    }

    pub(crate) fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// Takes a place before anybody is accepted for it: for callers who are left waiting while there is none.
    pub(crate) fn reserve(&self) -> Option<Admitted> {
        self.table.admit(self.max_connections)
    }

    /// Counts one more handshake, unless there are as many as may be.
    pub(crate) fn begin_handshake(&self) -> Option<Handshake> {
        let more = |going_on| (going_on < self.max_handshakes).then_some(going_on + 1);
        self.handshakes.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Handshake(Arc::clone(&self.handshakes)))
    }

    /// Whether there is no place.
    pub(crate) fn is_full(&self) -> bool {
        self.table.open() >= self.max_connections
    }

    /// Completes when a place may have become free. Cancel-safe.
    pub(crate) fn room(&self) -> impl Future<Output = ()> {
        self.table.room()
    }

    /// Counts a connection that was let in before this began.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn recount(&self, peer: PeerAddr) -> Option<Box<IpPlace>> {
        match (&self.per_ip, peer) {
            (Some(per_ip), PeerAddr::Ip(address)) => per_ip.take(address.ip()).map(Box::new),
            _ => None,
        }
    }

    /// Decides. The cheapest questions come first, and nothing stays counted for a caller who is refused.
    /// `reserved` is the place that was taken beforehand, if one was.
    pub(crate) fn admit(&self, attempt: &Attempt, access: &Access, reserved: Option<Admitted>) -> Verdict {
        if !access.admits(attempt.peer) {
            return Verdict::Refuse(Refusal::Denied);
        }
        // A descriptor beyond the table can only come from a process that holds very many of its own.
        if !self.table.holds(attempt.descriptor) {
            return Verdict::Refuse(Refusal::Busy);
        }
        let Some(admitted) = reserved.or_else(|| self.reserve()) else {
            return Verdict::Refuse(Refusal::Busy);
        };
        let address = match (&self.per_ip, attempt.peer) {
            (Some(per_ip), Some(peer)) => match per_ip.take(peer) {
                Some(place) => Some(Box::new(place)),
                None => return Verdict::Refuse(Refusal::TooManyPerIp),
            },
            _ => None,
        };
        if self.pace.as_ref().is_some_and(|pace| !pace.take(attempt.now)) {
            return Verdict::Refuse(Refusal::TooFast);
        }
        Verdict::Admit(Pass { admitted, address, handshake: None })
    }
}

/// How many new connections there may be per second, evenly: the generic cell rate algorithm, with room for
/// one second's worth at once.
#[derive(Debug)]
struct Pace {
    /// What one connection costs, in microseconds.
    interval: u64,
    /// When everything that was let through would have come at an even pace: microseconds of the server's
    /// clock.
    even: Mutex<u64>,
}

impl Pace {
    fn new(per_second: NonZeroU32) -> Self {
        Self { interval: Self::interval(per_second), even: Mutex::new(0) }
    }

    fn interval(per_second: NonZeroU32) -> u64 {
        (1_000_000 / u64::from(per_second.get())).max(1)
    }

    fn is(&self, per_second: NonZeroU32) -> bool {
        self.interval == Self::interval(per_second)
    }

    fn take(&self, now: u64) -> bool {
        const BURST: u64 = 1_000_000;
        let now = now.saturating_mul(1000);
        let mut even = self.even.lock().unwrap_or_else(PoisonError::into_inner);
        let next = now.max(*even) + self.interval;
        let in_time = next <= now + BURST;
        if in_time {
            *even = next;
        }
        in_time
    }
}

/// How many connections there are from each address. An IPv6 address counts with its whole /64: that is what
/// one customer has.
#[derive(Debug)]
struct PerIp {
    max: usize,
    open: Arc<Counts>,
}

type Counts = Mutex<HashMap<IpAddr, usize>>;

/// One connection from an address.
#[derive(Debug)]
pub(crate) struct IpPlace {
    counts: Arc<Counts>,
    address: IpAddr,
}

impl PerIp {
    fn new(max: usize) -> Self {
        Self { max, open: Arc::default() }
    }

    /// The same counts under another limit.
    fn with_max(&self, max: usize) -> Arc<Self> {
        Arc::new(Self { max, open: Arc::clone(&self.open) })
    }

    fn take(&self, peer: IpAddr) -> Option<IpPlace> {
        let address = match peer.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 @ IpAddr::V4(_) => v4,
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.max {
            if *count == 0 {
                open.remove(&address);
            }
            return None;
        }
        *count += 1;
        Some(IpPlace { counts: Arc::clone(&self.open), address })
    }
}

impl Drop for IpPlace {
    fn drop(&mut self) {
        let mut open = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // An address without connections takes up no memory.
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(peer: &str, now: u64) -> Attempt {
        Attempt { descriptor: 3, peer: Some(peer.parse().unwrap()), now }
    }

    /// The reason, if it is a refusal; a place that was given is given up again.
    fn refusal(verdict: impl std::borrow::Borrow<Verdict>) -> Option<Refusal> {
        match verdict.borrow() {
            Verdict::Admit(_) => None,
            Verdict::Refuse(refusal) => Some(*refusal),
        }
    }

    fn everybody() -> Access {
        Access::new(&[], &[])
    }

    fn admission(table: &Arc<Table>, max_connections: usize, config: &Config) -> Admission {
        Admission::new(Arc::clone(table), max_connections, config, None)
    }

    #[test]
    fn the_caller_after_the_last_place_is_refused_as_busy() {
        let table = Table::new(4).unwrap();
        let admission = admission(&table, 1, &Config::default());
        let admit = |attempt: &Attempt| admission.admit(attempt, &everybody(), None);
        let here = attempt("127.0.0.1", 0);
        let Verdict::Admit(place) = admit(&here) else { panic!("there was a place") };
        assert_eq!(refusal(admit(&here)), Some(Refusal::Busy));
        drop(place);
        let beyond = Attempt { descriptor: 4, ..here };
        assert_eq!(refusal(admit(&beyond)), Some(Refusal::Busy), "no slot for this descriptor");
        assert_eq!(refusal(admit(&here)), None);
    }

    #[test]
    fn each_address_has_its_own_number_and_an_ipv6_network_counts_as_one() {
        let table = Table::new(4).unwrap();
        let config = Config { max_connections_per_ip: Some(2), ..Config::default() };
        let admission = admission(&table, 100, &config);
        let admit = |peer: &str| admission.admit(&attempt(peer, 0), &everybody(), None);
        let held = [admit("192.0.2.1"), admit("192.0.2.1"), admit("192.0.2.2")];
        assert_eq!(refusal(admit("192.0.2.1")), Some(Refusal::TooManyPerIp));
        assert_eq!(refusal(admit("::ffff:192.0.2.1")), Some(Refusal::TooManyPerIp));
        let network = [admit("2001:db8::1"), admit("2001:db8::ffff:1")];
        assert_eq!(refusal(admit("2001:db8::2")), Some(Refusal::TooManyPerIp));
        assert_eq!(refusal(admit("2001:db8:0:1::2")), None);
        assert_eq!(table.open(), 5, "a refused caller holds no place");
        drop((held, network));
        let per_ip = admission.per_ip.as_ref().unwrap();
        assert!(per_ip.open.lock().unwrap().is_empty(), "an address without connections is forgotten");
    }

    #[test]
    fn new_connections_come_at_their_pace_with_room_for_one_second_at_once() {
        let table = Table::new(4).unwrap();
        let config = Config { max_accept_rate: NonZeroU32::new(10), ..Config::default() };
        let admission = admission(&table, 100, &config);
        let admitted = |now, tries: u32| {
            let admit =
                |_: &u32| refusal(admission.admit(&attempt("192.0.2.1", now), &everybody(), None)).is_none();
            (0..tries).filter(admit).count()
        };
        assert_eq!(admitted(0, 100), 10);
        assert_eq!(admitted(99, 100), 0);
        assert_eq!(admitted(100, 100), 1);
        assert_eq!(admitted(600, 100), 5);
        assert_eq!(admitted(60_000, 100), 10, "what was not used is not saved up");
    }

    #[test]
    fn a_denied_caller_is_denied_before_anything_is_counted() {
        let table = Table::new(4).unwrap();
        let access = Access::new(&[], &["192.0.2.0/24".parse().unwrap()]);
        let admission = admission(&table, 0, &Config::default());
        let admit = |peer: &str| refusal(admission.admit(&attempt(peer, 0), &access, None));
        assert_eq!(admit("192.0.2.1"), Some(Refusal::Denied));
        assert_eq!(admit("192.0.3.1"), Some(Refusal::Busy));
        assert_eq!(table.open(), 0);
    }

    #[test]
    fn new_rules_hold_against_what_was_counted_before() {
        let table = Table::new(4).unwrap();
        let limited = |max| Config {
            max_connections_per_ip: Some(max),
            max_accept_rate: NonZeroU32::new(2),
            ..Config::default()
        };
        let before = admission(&table, 100, &limited(1));
        let here = attempt("192.0.2.1", 0);
        let held = before.admit(&here, &everybody(), None);
        assert_eq!(refusal(&held), None);
        let after = Admission::new(Arc::clone(&table), 100, &limited(2), Some(&before));
        let second = after.admit(&here, &everybody(), None);
        assert_eq!(refusal(&second), None);
        let elsewhere = attempt("192.0.2.2", 0);
        assert_eq!(refusal(after.admit(&here, &everybody(), None)), Some(Refusal::TooManyPerIp));
        assert_eq!(refusal(after.admit(&elsewhere, &everybody(), None)), Some(Refusal::TooFast));
    }
}
