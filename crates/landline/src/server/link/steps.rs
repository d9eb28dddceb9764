//! What happens to a connection's socket, for those who want to know each step.

use super::Link;
use crate::close::CloseReason;
use crate::event::{Ends, SocketStep, StepKind};

impl Link {
    /// Says what has happened, if somebody wants to know.
    #[inline]
    pub(crate) fn tell(&self, kind: impl FnOnce() -> StepKind) {
        if self.local.shows_steps {
            self.tell_step(kind());
        }
    }

    #[cold]
    fn tell_step(&self, kind: StepKind) {
        let way = self.stream.as_socket().and_then(|socket| crate::client::way(&socket));
        self.local.events.step(&SocketStep { id: Some(self.slot().id()), kind, way });
    }

    /// The peer has ended its side. The end of the input can be read several times.
    pub(super) fn ended_by_peer(&self) {
        let ends = self.ends.get();
        if self.ends.replace(ends.with_peers()) != self.ends.get() {
            self.tell(|| StepKind::PeerEnded);
        }
    }

    /// Our side has ended.
    pub(super) fn ended(&self) {
        let ends = self.ends.get();
        if self.ends.replace(ends.with_ours()) != self.ends.get() {
            self.tell(|| StepKind::Ended);
        }
    }

    /// The connection was lost. Several calls may find that out.
    pub(super) fn lost(&self, reason: CloseReason) {
        if self.ends.replace(Ends::Lost) != Ends::Lost {
            self.tell(|| StepKind::Lost { reason });
        }
    }

    /// The socket is about to be closed, unless another process has it.
    pub(super) fn closing(&self) {
        let is_open = |ends| matches!(ends, Ends::Neither | Ends::PeerOnly | Ends::OursOnly);
        self.tell_unless_handed_on(|| match self.ends.get() {
            // The kernel does not close in order what has unread bytes.
            ends if is_open(ends) && self.has_unread() => StepKind::Closing { ends: Ends::Reset },
            ends => StepKind::Closing { ends },
        });
    }

    fn tell_unless_handed_on(&self, kind: impl FnOnce() -> StepKind) {
        if !self.is_handed_on() {
            self.tell(kind);
        }
    }
}
