//! Somebody who is told what happens.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Event, SocketStep};

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

/// Somebody who wants to know what happens.
///
/// It is called on the thread on which it happened, within the accept loop among others: it must not wait for
/// anything.
pub trait Subscriber: Send + Sync + 'static {
    /// Something happened.
    fn event(&self, event: &Event);

    /// Whether [`message`](Self::message) is to be called. Asked once, when the server starts.
    fn wants_messages(&self) -> bool {
        false
    }

    /// A message came in or a reply goes out, framing not included. These are the peer's bytes:
    /// [`escape`](super::escape) them.
    fn message(&self, id: u64, direction: Direction, bytes: &[u8]) {
        let _ = (id, direction, bytes);
    }

    /// Whether [`answered`](Self::answered) is to be called. Asked once, when the server starts.
    fn wants_answer_times(&self) -> bool {
        false
    }

    /// So long it took a service to answer one message, from when it was all there to when its answer was
    /// complete. Only one of every 256 messages of a thread is timed, beginning with its first.
    fn answered(&self, took: Duration) {
        let _ = took;
    }

    /// Whether [`step`](Self::step) is to be called. Asked once, when the server starts.
    fn wants_steps(&self) -> bool {
        false
    }

    /// Something happened to a socket. Each costs a system call more, to ask the kernel what it knows.
    fn step(&self, step: &SocketStep) {
        let _ = step;
    }
}

/// Does nothing with any event.
impl Subscriber for () {
    fn event(&self, _: &Event) {}
}

impl<S: Subscriber + ?Sized> Subscriber for std::sync::Arc<S> {
    fn event(&self, event: &Event) {
        (**self).event(event);
    }

    fn wants_messages(&self) -> bool {
        (**self).wants_messages()
    }

    fn message(&self, id: u64, direction: Direction, bytes: &[u8]) {
        (**self).message(id, direction, bytes);
    }

    fn wants_answer_times(&self) -> bool {
        (**self).wants_answer_times()
    }

    fn answered(&self, took: Duration) {
        (**self).answered(took);
    }

    fn wants_steps(&self) -> bool {
        (**self).wants_steps()
    }

    fn step(&self, step: &SocketStep) {
        (**self).step(step);
    }
}

/// Tells both, the first one first.
impl<A: Subscriber, B: Subscriber> Subscriber for (A, B) {
    fn event(&self, event: &Event) {
        self.0.event(event);
        self.1.event(event);
    }

    fn wants_messages(&self) -> bool {
        self.0.wants_messages() || self.1.wants_messages()
    }

    fn message(&self, id: u64, direction: Direction, bytes: &[u8]) {
        if self.0.wants_messages() {
            self.0.message(id, direction, bytes);
        }
        if self.1.wants_messages() {
            self.1.message(id, direction, bytes);
        }
    }

    fn wants_answer_times(&self) -> bool {
        self.0.wants_answer_times() || self.1.wants_answer_times()
    }

    fn answered(&self, took: Duration) {
        if self.0.wants_answer_times() {
            self.0.answered(took);
        }
        if self.1.wants_answer_times() {
            self.1.answered(took);
        }
    }

    fn wants_steps(&self) -> bool {
        self.0.wants_steps() || self.1.wants_steps()
    }

    fn step(&self, step: &SocketStep) {
        if self.0.wants_steps() {
            self.0.step(step);
        }
        if self.1.wants_steps() {
            self.1.step(step);
        }
    }
}

/// Keeps every event, for tests.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<Event>>);

impl Recorder {
    /// What happened so far.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Subscriber for Recorder {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::StepKind;

    /// Keeps how many messages it was shown, and how many times it was told.
    struct Listener(bool, Mutex<usize>);

    impl Subscriber for Listener {
        fn event(&self, _: &Event) {}

        fn wants_messages(&self) -> bool {
            self.0
        }

        fn message(&self, _: u64, _: Direction, _: &[u8]) {
            *self.1.lock().unwrap() += 1;
        }

        fn wants_answer_times(&self) -> bool {
            self.0
        }

        fn answered(&self, _: Duration) {
            *self.1.lock().unwrap() += 10;
        }

        fn wants_steps(&self) -> bool {
            self.0
        }

        fn step(&self, _: &SocketStep) {
            *self.1.lock().unwrap() += 100;
        }
    }

    #[test]
    fn of_two_subscribers_both_see_events_and_only_whoever_wants_them_all_else() {
        let recorders = (Recorder::default(), Recorder::default());
        recorders.event(&Event::BacklogLowered { asked: 2, allowed: 1 });
        assert_eq!((recorders.0.events().len(), recorders.1.events().len()), (1, 1));
        assert!(!recorders.wants_messages() && !recorders.wants_answer_times() && !recorders.wants_steps());
        let listeners = (Listener(false, Mutex::default()), Listener(true, Mutex::default()));
        assert!(listeners.wants_messages() && listeners.wants_answer_times() && listeners.wants_steps());
        listeners.message(1, Direction::In, b"hello");
        listeners.answered(Duration::ZERO);
        listeners.step(&SocketStep { id: Some(1), kind: StepKind::Accepted, way: None });
        assert_eq!((*listeners.0.1.lock().unwrap(), *listeners.1.1.lock().unwrap()), (0, 111));
    }
}
