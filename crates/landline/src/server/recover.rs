//! A worker starts from the connection table: which of the connections that the worker before it had can go
//! on, and from where.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::checkpoint::{Checkpoint, Checkpoints, Left, State};
use super::crew::Caller;
use super::door::Door;
use super::host::Host;
use super::listen::ListenAddr;
use super::listener::Listener;
use super::local::Share;
use super::plan::Plan;
use super::table::{Phase, Slot};
use crate::buffer::Pool;
use crate::close::CloseReason;
use crate::event::{Event, PeerAddr};
use crate::fault::{Step, judged, passed};
use crate::sys::arena::Handle;
use crate::sys::positions::{Positions, positions};
use crate::sys::socket;
use crate::takeover;

/// No connection ever comes this far, in bytes: a position beyond it was never written by a worker, and sums
/// of those below do not overflow.
const POSITION_MAX: u64 = 1 << 62;

/// How many connections went on, and how many did not, on all threads.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) resumed: AtomicUsize,
    pub(crate) lost: AtomicUsize,
}

/// What becomes of a connection.
enum Fate {
    /// Nobody has begun to serve it, so that anybody can.
    New,
    GoesOn(Left),
    Lost,
}

/// Goes on with the connections in the table that are this thread's, wherever that can be done without a byte
/// lost or said twice. The others end.
pub(crate) fn recover(host: &Rc<Host>, plan: &Plan) {
    let local = host.local();
    let is_ours = |slot: &Slot| usize::from(slot.thread()) % plan.config.threads == local.thread;
    let ours = local.table.live_with_descriptors().filter(|(_, slot)| is_ours(slot));
    let poison = takeover::poison();
    // These have an owner, whatever the table says.
    let listening = plan.listeners.iter().map(|listener| listener.bound.socket.as_raw_fd());
    let listening: BTreeSet<usize> = listening.filter_map(|number| number.try_into().ok()).collect();
    for (number, slot) in ours {
        let cookie = slot.cookie();
        // If its descriptor is nobody's or somebody else's, nothing is left of the connection but its slot.
        let mut socket = if listening.contains(&number) { None } else { takeover::adopt((number, cookie)) };
        let is_poison = poison.contains(&slot.id());
        if !is_poison && resume(host, plan, number, slot, &mut socket).is_some() {
            local.recovered.resumed.fetch_add(1, Relaxed);
        } else if slot.cookie() == cookie {
            lose(host, slot, if is_poison { CloseReason::Poison } else { CloseReason::WorkerDied });
        }
        // Not before: once it is closed, its number may be given to another, who gets the slot.
        if let Some(socket) = socket {
            // What was sent to it may still be on its way.
            let _ = socket::end(&socket);
            host.see_off(socket);
        }
    }
}

/// Goes on with one connection, if that can be done, and takes its socket.
fn resume(
    host: &Rc<Host>,
    plan: &Plan,
    number: usize,
    slot: &Slot,
    socket: &mut Option<OwnedFd>,
) -> Option<()> {
    let local = host.local();
    let listener = listener_of(socket.as_ref()?, plan)?;
    skip_header(slot, socket.as_ref()?)?;
    let checkpoint = local.table.checkpoints(number).and_then(Checkpoints::current);
    let resumable = listener.server.resumes();
    let fate = if slot.is_tls() || listener.is_tls() {
        fate_without_keys(slot, socket.as_ref()?)
    } else {
        fate(slot, checkpoint, socket.as_ref()?, &local.pool, resumable)
    };
    match fate {
        Fate::New => {
            slot.set_framing(0);
            let begins = slot.header_len().into();
            slot.set_position(begins, begins, 0);
        }
        Fate::GoesOn(left) => local.keep_left(number, left),
        Fate::Lost => return None,
    }
    let resumed = host.resume(socket.take()?, listener, plan);
    passed(Step::Recover);
    if resumed.is_err() {
        drop(local.take_left(number));
    }
    resumed.ok()
}

/// Lets in whom the worker before had accepted and not put into the table: they stand at the door.
pub(crate) fn let_in(host: &Rc<Host>, plan: &Plan) {
    // Another server in this process has its own table, and they have not called there.
    let is_ours = host.local().table.arena().is_some();
    let accepted = if is_ours { takeover::take_accepted() } else { Vec::new() };
    for (number, cookie) in accepted {
        let Some(socket) = socket::adopt(number, cookie) else { continue };
        // One that has called nowhere is none of ours; it is closed.
        if let Some(listener) = listener_of(&socket, plan) {
            let peer = socket::peer_addr(&socket).map_or(PeerAddr::Unnamed, PeerAddr::Ip);
            Door::new(host, listener, &plan.admission).arrive(Caller::new(socket, peer), None);
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

/// What becomes of a connection that speaks TLS, or is to: the keys have died with their process.
fn fate_without_keys(slot: &Slot, socket: &OwnedFd) -> Fate {
    let is_new = slot.phase() != Phase::Closing && is_untouched(slot, socket);
    if is_new { Fate::New } else { Fate::Lost }
}

/// What becomes of a connection that is `resumable`, if whoever serves it can go on at all.
fn fate(
    slot: &Slot,
    checkpoint: Option<Checkpoint>,
    socket: &OwnedFd,
    pool: &Rc<Pool>,
    resumable: bool,
) -> Fate {
    let is_untouched = || is_untouched(slot, socket);
    let left = match checkpoint {
        _ if slot.phase() == Phase::Closing => None,
        // Such a one says where it receives before it does, and what it sends before that.
        None if (resumable && slot.is_untouched()) || is_untouched() => return Fate::New,
        Some(checkpoint) if resumable && checkpoint.state != State::Torn => {
            left(slot, &checkpoint, socket, pool)
        }
        _ => None,
    };
    left.map_or(Fate::Lost, Fate::GoesOn)
}

/// Whether a connection that is served here could go on elsewhere, as [`fate`] will find it there.
/// `resumable` is whether any can of whoever serves it, and `can_resume` whether this one can once it was
/// answered.
pub(crate) fn can_go_on(
    slot: &Slot,
    checkpoints: Option<&Checkpoints>,
    socket: &impl AsFd,
    resumable: bool,
    can_resume: impl FnOnce() -> bool,
) -> bool {
    let is_untouched = || is_untouched(slot, socket);
    match checkpoints.and_then(Checkpoints::current) {
        _ if slot.phase() == Phase::Closing => false,
        _ if slot.is_tls() => is_untouched(),
        None => (resumable && slot.is_untouched()) || is_untouched(),
        Some(checkpoint) => {
            checkpoint.state != State::Torn
                && (checkpoint.is_at_rest() || positions(socket).is_ok())
                && can_resume()
        }
    }
}

/// Whether nothing was read or written beyond its header, by the kernel's counts.
fn is_untouched(slot: &Slot, socket: &impl AsFd) -> bool {
    positions(socket).is_ok_and(|at| (at.consumed, at.written) == (slot.header_len().into(), 0))
}

/// Reads away what the worker before had not read of a connection's header; none if it is not there.
fn skip_header(slot: &Slot, socket: &OwnedFd) -> Option<()> {
    let header_len = slot.header_len();
    if header_len == 0 {
        return Some(());
    }
    let read = positions(socket).ok()?.consumed;
    match u64::from(header_len).checked_sub(read) {
        Some(rest @ 1..) => socket::read_away(socket, usize::try_from(rest).ok()?).ok(),
        _ => Some(()),
    }
}

/// What a connection had in hand, by its checkpoint and the kernel's counts; none if they contradict each
/// other, or there is no going on from there.
fn left(slot: &Slot, at: &Checkpoint, socket: &OwnedFd, pool: &Rc<Pool>) -> Option<Left> {
    let (base, is_closing) = (at.base()?, at.state == State::Closing);
    // One at rest has nothing in hand that the kernel could know more about.
    let kernel = if at.is_at_rest() {
        Positions { consumed: at.answered, written: at.sent, is_established: !is_closing }
    } else {
        positions(socket).ok()?
    };
    if kernel.consumed.max(kernel.written) > POSITION_MAX {
        return None;
    }
    let received = usize::try_from(kernel.consumed.checked_sub(base)?).ok()?;
    let sent = usize::try_from(judged(kernel.written, at.sent).checked_sub(at.sent)?).ok()?;
    let (consumed, staged) = (at.consumed as usize, at.output_len as usize);
    let adopt = |handle: Handle, len| match handle {
        Handle::NONE => (len == 0).then_some(None),
        handle => pool.adopt(handle, len).map(Some),
    };
    let input = adopt(at.input, received)?;
    let output = adopt(at.output, if at.output.is_some() { staged } else { 0 })?;
    let session = adopt(at.session, at.session_len as usize)?;
    if !kernel.is_established
        || consumed > received
        || (output.is_some() && sent > staged)
        || (output.is_none() && sent > 0)
    {
        return None;
    }
    slot.set_position(base, kernel.consumed, kernel.written);
    Some(Left { input, consumed, output, sent, session, is_closing })
}

/// Where a connection called: the listener with its local address, or with its port and every address.
fn listener_of<'a>(socket: &OwnedFd, plan: &'a Plan) -> Option<&'a Arc<Listener>> {
    let Ok(called) = socket::local_addr(socket) else {
        let path = ListenAddr::Unix(socket::local_path(socket)?);
        return plan.listeners.iter().find(|listener| listener.bound.address == path);
    };
    let candidates =
        || plan.listeners.iter().filter_map(|listener| Some((listener.bound.address.ip()?, listener)));
    let exact = candidates().find(|(address, _)| *address == called);
    let any =
        || candidates().find(|(address, _)| address.ip().is_unspecified() && address.port() == called.port());
    exact.or_else(any).map(|(_, listener)| listener)
}

/// Ends a connection that can't go on. Its descriptor is closed by whoever has it, after this: a slot is
/// cleared before its descriptor can be another's.
fn lose(host: &Host, slot: &Slot, reason: CloseReason) {
    let local = host.local();
    local.recovered.lost.fetch_add(1, Relaxed);
    let lasted = local.clock.precise().saturating_sub(slot.accepted());
    local.emit(&Event::Closed {
        id: slot.id(),
        peer: slot.peer(),
        reason,
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
