//! A worker whose keeper was killed makes itself keeper: it becomes the same program anew, which takes over
//! what is on record and starts a worker. To the connections it is a crash like any other.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::worker::Worker;
use super::{arrival, sweep};
use crate::sys::exec;
use crate::sys::signals::Set;

/// Becomes keeper, if there is a worker to be kept afterwards. It returns only if it can't; then this process
/// serves on as it is.
pub(crate) fn become_keeper() {
    let Some(worker) = Worker::this() else { return };
    let control = worker.kept.memory.control();
    // A program that has not taken over yet is nobody's heir.
    if control.ending.load(Acquire) == 1 || control.end.was_given() || arrival::must_commit() {
        return;
    }
    let decision = worker.kept.memory.decision();
    decision.heir.store(super::upgrade::own_id(), Release);
    control.ended_at.store(crate::sys::clock::microseconds(), Relaxed);
    control.killed_by.store(libc::SIGKILL, Relaxed);
    control.restarts.fetch_add(1, Relaxed);
    // Another signal is to wait for the one that can obey it.
    Set::of([libc::SIGCHLD, libc::SIGUSR2]).block();
    // Nobody is accepted any more, unless by a thread that did not get to know of it in time. What the others accepted
    // just before, they may put into the table during the first look; so there is a second.
    for _ in 0..2 {
        sweep::hand_on_all(worker.kept);
    }
    let _ = exec::itself(arrival::MEMORY, &worker.kept.memory.number().to_string());
    decision.heir.store(0, Release);
    control.restarts.fetch_sub(1, Relaxed);
    sweep::hand_on_none(worker.kept);
    Set::of([libc::SIGCHLD, libc::SIGUSR2]).unblock();
}
