//! The door of a listener: who calls there is let in, or not.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;

use super::admission::{Admission, Attempt, Handshake, Pass, Verdict};
use super::config::Excess;
use super::crew::Caller;
use super::host::{Host, descriptor};
use super::listener::Listener;
use super::table::Admitted;
use crate::event::{Named, PeerAddr, Refusal};

/// How long a new caller waits for the place of somebody idle.
const RECLAIM_TIME: Duration = Duration::from_secs(1);

/// What is known of the next caller's place before it is accepted.
#[derive(Debug)]
pub(crate) enum Reserved {
    /// Callers are accepted first and then let in or refused.
    Unasked,
    Place(Admitted),
    /// There is none: the caller is to wait.
    Full,
}

/// The door of one listener on one thread.
#[derive(Clone)]
pub(crate) struct Door {
    host: Rc<Host>,
    listener: Arc<Listener>,
    admission: Arc<Admission>,
}

impl Door {
    pub(crate) fn new(host: &Rc<Host>, listener: &Arc<Listener>, admission: &Arc<Admission>) -> Self {
        Self { host: Rc::clone(host), listener: Arc::clone(listener), admission: Arc::clone(admission) }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.listener.bound.socket
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// Takes a place for the next caller before it is accepted, if that is how callers are let in.
    pub(crate) fn reserve(&self) -> Reserved {
        match self.listener.policy.excess {
            Excess::Wait => self.admission.reserve().map_or(Reserved::Full, Reserved::Place),
            _ => Reserved::Unasked,
        }
    }

    /// Completes when there may be a place. Cancel-safe.
    pub(crate) fn room(&self) -> impl Future<Output = ()> {
        self.admission.room()
    }

    pub(super) fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Takes a caller from the listener.
    pub(crate) fn arrive(&self, caller: Caller, reserved: Option<Admitted>) {
        if self.host.local().probes.is_one(caller.peer) {
            return;
        }
        if !self.listener.has_handshakes() {
            return self.decide(caller, reserved, None);
        }
        match self.admission.begin_handshake() {
            Some(handshake) if self.listener.has_proxies() => self.ask_for_whom(caller, reserved, handshake),
            Some(handshake) => self.decide(caller, reserved, Some(handshake)),
            None => self.refuse(caller, Refusal::TooManyHandshakes),
        }
    }

    /// Lets a caller in, or refuses it, now that it is known who it is.
    pub(super) fn decide(&self, caller: Caller, reserved: Option<Admitted>, handshake: Option<Handshake>) {
        match self.admission.admit(&self.attempt(&caller), &self.listener.access, reserved) {
            Verdict::Admit(pass) => self.let_in(caller, Pass { handshake, ..pass }),
            Verdict::Refuse(Refusal::Busy) if self.host.make_room() => {
                self.let_in_after_another(caller, handshake);
            }
            Verdict::Refuse(refusal) => self.refuse(caller, refusal),
        }
    }

    fn attempt(&self, caller: &Caller) -> Attempt {
        let is_proxy_itself = caller.by_proxy.as_ref().is_some_and(|by| by.via.named == Named::Proxy);
        let peer = match caller.peer {
            // It only looks whether somebody is here.
            _ if is_proxy_itself => None,
            PeerAddr::Ip(address) => Some(address.ip()),
            PeerAddr::Local { .. } | PeerAddr::Unnamed => None,
        };
        Attempt { descriptor: descriptor(&caller.socket), peer, now: self.host.local().clock.now() }
    }

    fn let_in(&self, caller: Caller, pass: Pass) {
        self.host.send_on(caller, pass, Arc::clone(&self.listener));
    }

    /// Somebody idle was told to make room; that takes a moment.
    fn let_in_after_another(&self, caller: Caller, handshake: Option<Handshake>) {
        let door = self.clone();
        tokio::task::spawn_local(async move {
            let room = tokio::time::timeout(RECLAIM_TIME, async {
                loop {
                    let room = door.room();
                    match door.admission.admit(&door.attempt(&caller), &door.listener.access, None) {
                        Verdict::Refuse(Refusal::Busy) => room.await,
                        verdict => return verdict,
                    }
                }
            });
            match room.await.unwrap_or(Verdict::Refuse(Refusal::Busy)) {
                Verdict::Admit(pass) => door.let_in(caller, Pass { handshake, ..pass }),
                Verdict::Refuse(refusal) => door.refuse(caller, refusal),
            }
        });
    }

    pub(super) fn refuse(&self, caller: Caller, refusal: Refusal) {
        self.host.refuse(caller, refusal, self.listener.excess());
    }
}
