//! What a connection's task is told from outside: it is looked at before each poll of the handler.

use std::task::Context;

use super::Link;
use crate::close::CloseReason;

/// What a connection's task is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// It has to end.
    End(CloseReason),
    /// Another process goes on with it: nothing may happen to it here any more.
    HandOn,
}

impl Link {
    /// Says from outside that it has to end, and why.
    pub(crate) fn order(&self, reason: CloseReason) {
        if !self.is_handed_on() {
            self.order.set(Some(Order::End(reason)));
            self.wake();
        }
    }

    /// Whether another process can go on with it, from what is kept for others.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn can_be_handed_on(&self) -> bool {
        let (Some(server), Some(socket)) = (&self.server, self.stream.as_socket()) else { return false };
        let saved = self.saved.take();
        let bytes = saved.as_deref().map_or(&[][..], |bytes| bytes);
        let can_resume = || server.can_resume(&self.peer, bytes);
        let can = crate::server::recover::can_go_on(
            self.slot(),
            self.checkpoints(),
            &socket,
            server.resumes(),
            can_resume,
        );
        self.saved.set(saved);
        can
    }

    /// Says that another process goes on with it.
    pub(crate) fn hand_on(&self) {
        self.order.set(Some(Order::HandOn));
    }

    /// Says that no other process goes on with it, if one was to.
    pub(crate) fn take_back(&self) {
        if self.is_handed_on() {
            self.order.set(None);
            self.wake();
        }
    }

    pub(super) fn is_handed_on(&self) -> bool {
        self.order.get() == Some(Order::HandOn)
    }

    /// Remembers the task to wake, and returns what it has been ordered meanwhile.
    pub(crate) fn orders(&self, cx: &Context<'_>) -> Option<Order> {
        let task = self.task.take().filter(|task| task.will_wake(cx.waker()));
        self.task.set(Some(task.unwrap_or_else(|| cx.waker().clone())));
        self.order.take()
    }
}
