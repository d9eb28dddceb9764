//! A worker starts from the connection table: which of the connections that the worker before it had can go
//! on.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::host::Host;
use super::listener::Listener;
use super::local::Share;
use super::plan::Plan;
use super::table::{Phase, Slot};
use crate::close::CloseReason;
use crate::event::Event;
use crate::sys::positions::{Positions, positions};
use crate::sys::socket;

/// How many connections went on, and how many did not, on all threads.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) resumed: AtomicUsize,
    pub(crate) lost: AtomicUsize,
}

/// Goes on with the connections in the table that are this thread's: with those that were at rest, and whose
/// listener is still there. The others end.
pub(crate) fn recover(host: &Rc<Host>, plan: &Plan) {
    let local = host.local();
    let is_ours = |slot: &Slot| usize::from(slot.thread()) % plan.config.threads == local.thread;
    let ours = local.table.live_with_descriptors().filter(|(_, slot)| is_ours(slot));
    for (number, slot) in ours {
        let cookie = slot.cookie();
        let Some(socket) = socket::adopt(number, cookie) else {
            // The descriptor is nobody's or somebody else's: of this connection nothing is left but its slot.
            lose(host, slot);
            continue;
        };
        let at = positions(&socket).ok();
        let Some((listener, at)) = listener_of(&socket, plan).zip(at) else {
            lose(host, slot);
            continue;
        };
        if is_new(&at) {
            // As if it had just been accepted.
            slot.set_framing(0);
        } else if listener.server.resumes() && is_at_rest(slot, &at) {
            slot.sent(slot.unsent() as usize);
            slot.set_unsent(0);
        } else {
            lose(host, slot);
            continue;
        }
        match host.resume(socket, listener, plan) {
            Ok(()) => drop(local.recovered.resumed.fetch_add(1, Relaxed)),
            // It is closed by now, and its number may have been given to somebody else.
            Err(_) if slot.cookie() == cookie => lose(host, slot),
            Err(_) => {}
        }
    }
}

/// Says how many connections went on, if there were any.
pub(crate) fn tell(share: &Share) {
    let count = |counter: &AtomicUsize| counter.load(Relaxed);
    let (resumed, lost) = (count(&share.recovered.resumed), count(&share.recovered.lost));
    if resumed + lost > 0 {
        share.events.event(&Event::Resumed { resumed, lost });
    }
}

/// Whether nobody has begun to serve it, so that anybody can.
fn is_new(at: &Positions) -> bool {
    (at.is_established, at.consumed, at.written) == (true, 0, 0)
}

/// Whether all that was read from it is answered, and the answers are sent: by the kernel's count and by the
/// slot's. What has to be sent for an answer is said before that it is answered, so a process that was killed
/// after it had sent all of it, and before it said so, has left one at rest.
fn is_at_rest(slot: &Slot, at: &Positions) -> bool {
    slot.phase() != Phase::Closing
        && slot.framing() != 0
        && at.is_established
        && at.consumed == slot.bytes_in()
        && at.consumed == slot.answered_to()
        && at.written == slot.bytes_out() + u64::from(slot.unsent())
}

/// Where a connection called: the listener with its local address, or with its port and every address.
fn listener_of<'a>(socket: &std::os::fd::OwnedFd, plan: &'a Plan) -> Option<&'a Arc<Listener>> {
    let called = socket::local_addr(socket).ok()?;
    let candidates =
        || plan.listeners.iter().filter_map(|listener| Some((listener.bound.address.ip()?, listener)));
    let exact = candidates().find(|(address, _)| *address == called);
    let any =
        || candidates().find(|(address, _)| address.ip().is_unspecified() && address.port() == called.port());
    exact.or_else(any).map(|(_, listener)| listener)
}

/// Ends a connection that can't go on. Its descriptor is closed by whoever has it, after this: a slot is
/// cleared before its descriptor can be another's.
fn lose(host: &Host, slot: &Slot) {
    let local = host.local();
    local.recovered.lost.fetch_add(1, Relaxed);
    let lasted = local.clock.precise().saturating_sub(slot.accepted());
    local.emit(&Event::Closed {
        id: slot.id(),
        peer: slot.peer(),
        reason: CloseReason::WorkerDied,
        detail: None,
        messages: slot.messages(),
        bytes_in: slot.bytes_in(),
        bytes_out: slot.bytes_out(),
        lasted: Duration::from_micros(lasted),
    });
    slot.clear();
}

#[cfg(test)]
mod tests;
