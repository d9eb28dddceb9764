//! What a worker that died has left is put into a table by hand, and another worker starts from it.

use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, LocalOptions};

use super::*;
use crate::event::{PeerAddr, Recorder};
use crate::frame::Framing;
use crate::server::config::{Config, Policy};
use crate::server::crew::Crew;
use crate::server::listen;
use crate::server::listener::Serve;
use crate::server::local::Local;
use crate::server::table::{Entry, Head, Seat, Table};
use crate::service::{Upper, framed};
use crate::sys::region::Region;

/// A worker that has accepted a caller and died: its memory, its descriptors and the caller are still there.
struct Dead {
    head: &'static [Head],
    slots: &'static [Slot],
    listening: Arc<listen::Bound>,
    accepted: ManuallyDrop<TcpStream>,
    seat: ManuallyDrop<Seat>,
    caller: TcpStream,
}

impl Dead {
    fn with_a_caller() -> Self {
        let head = Box::leak(Box::new(Region::new(1).unwrap()));
        let slots = Box::leak(Box::new(Region::new(4096).unwrap()));
        let listening = listen::listen(&"127.0.0.1:0".parse().unwrap(), 16).unwrap().remove(0);
        let caller = TcpStream::connect(listening.address.ip().unwrap()).unwrap();
        let listener: TcpListener = listening.socket.try_clone().unwrap().into();
        listener.set_nonblocking(false).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        let number = usize::try_from(accepted.as_raw_fd()).unwrap();
        let admitted = Table::within(head, slots).admit(1).unwrap();
        let seat = admitted.seat(number, PeerAddr::Ip(peer), Entry::default());
        let (accepted, seat) = (ManuallyDrop::new(accepted), ManuallyDrop::new(seat));
        Self { head, slots, listening, accepted, seat, caller }
    }

    fn slot(&self) -> &Slot {
        self.seat.slot()
    }

    /// Reads what the caller says, and tells the slot.
    fn read(&mut self, text: &str) {
        self.slot().set_framing(1 + Framing::Line as u8);
        self.caller.write_all(text.as_bytes()).unwrap();
        self.accepted.read_exact(&mut vec![0; text.len()]).unwrap();
        self.slot().received(text.len());
    }

    /// Answers, and tells the slot.
    fn answer(&mut self, read: usize, text: &str) {
        self.slot().consumed(read);
        self.write(text);
        self.slot().sent(text.len());
    }

    fn write(&mut self, text: &str) {
        self.accepted.write_all(text.as_bytes()).unwrap();
        self.caller.read_exact(&mut vec![0; text.len()]).unwrap();
    }

    /// Another worker takes the place of this one; what the caller hears when it says `again`, and what
    /// happened.
    fn succeeded(self) -> (String, Vec<Event>) {
        self.accepted.set_nonblocking(true).unwrap();
        self.caller.set_nonblocking(true).unwrap();
        let events = Arc::new(Recorder::default());
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let heard = runtime.unwrap().block_on(async {
            let table = Table::within(self.head, self.slots);
            let share = Share::new(1, Arc::clone(&table), events.clone());
            let server: Arc<dyn Serve> = Arc::new(framed(Framing::Line, Upper));
            let listener = Listener::new(self.listening, &Arc::new(Policy::default()), &server);
            let config = Config { threads: 1, ..Config::default() };
            let plan = Plan::new(&table, config, vec![Arc::new(listener)], 10, None).unwrap();
            recover(&Host::new(Local::new(0, share.clone()), Crew::new(1).0), &plan);
            tell(&share);
            let mut caller = tokio::net::TcpStream::from_std(self.caller).unwrap();
            let mut heard = vec![0; 6];
            // A caller that was lost may hear so only when it reads.
            let _ = caller.write_all(b"again\n").await;
            let count = caller.read_exact(&mut heard).await.unwrap_or(0);
            String::from_utf8(heard[..count].to_vec()).unwrap()
        });
        (heard, events.events())
    }
}

/// What is told of a connection that could not go on.
fn is_told_as_lost(events: &[Event]) -> bool {
    matches!(
        events,
        [
            Event::Closed { id: 1, reason: CloseReason::WorkerDied, .. },
            Event::Resumed { resumed: 0, lost: 1 }
        ]
    )
}

#[test]
fn a_connection_at_rest_goes_on_under_its_number() {
    let mut dead = Dead::with_a_caller();
    dead.read("hello\n");
    dead.answer(6, "HELLO\n");
    let (heard, events) = dead.succeeded();
    assert_eq!(heard, "AGAIN\n");
    assert_eq!(events[0], Event::Resumed { resumed: 1, lost: 0 });
    assert!(!events.iter().any(|event| matches!(event, Event::Connected { .. })), "{events:?}");
}

#[test]
fn a_connection_whose_reply_was_sent_goes_on_though_nobody_said_that_it_was() {
    let mut dead = Dead::with_a_caller();
    dead.read("hello\n");
    dead.slot().set_unsent(6);
    dead.slot().consumed(6);
    dead.slot().set_phase(Phase::Answering, 0);
    dead.write("HELLO\n");
    let (heard, events) = dead.succeeded();
    assert_eq!((heard.as_str(), &events[0]), ("AGAIN\n", &Event::Resumed { resumed: 1, lost: 0 }));
}

#[test]
fn a_caller_whom_nobody_had_begun_to_serve_is_served() {
    let (heard, events) = Dead::with_a_caller().succeeded();
    assert_eq!((heard.as_str(), &events[0]), ("AGAIN\n", &Event::Resumed { resumed: 1, lost: 0 }));
}

#[test]
fn what_was_read_and_not_answered_is_never_passed_over_in_silence() {
    let mut dead = Dead::with_a_caller();
    dead.read("hello\n");
    let (heard, events) = dead.succeeded();
    assert_eq!(heard, "");
    assert!(is_told_as_lost(&events), "{events:?}");
}

#[test]
fn a_slot_that_says_less_than_the_kernel_is_believed_in_nothing() {
    // Read, and killed before it said so.
    let mut dead = Dead::with_a_caller();
    dead.slot().set_framing(1 + Framing::Line as u8);
    dead.caller.write_all(b"hello\n").unwrap();
    dead.accepted.read_exact(&mut [0; 6]).unwrap();
    assert!(is_told_as_lost(&dead.succeeded().1));
    // Sent in part, and killed before it said so.
    let mut dead = Dead::with_a_caller();
    dead.read("hello\n");
    dead.slot().set_unsent(6);
    dead.slot().consumed(6);
    dead.write("HEL");
    assert!(is_told_as_lost(&dead.succeeded().1));
    // Said to be answered, and killed before a byte of it was sent.
    let mut dead = Dead::with_a_caller();
    dead.read("hello\n");
    dead.slot().set_unsent(6);
    dead.slot().consumed(6);
    dead.slot().set_phase(Phase::Answering, 0);
    assert!(is_told_as_lost(&dead.succeeded().1));
}

#[test]
fn a_descriptor_that_stands_for_another_socket_is_left_alone() {
    let (mut dead, other) = (Dead::with_a_caller(), Dead::with_a_caller());
    // By the time that somebody looks, its number is that of another connection.
    let mut place = ManuallyDrop::new(std::os::fd::OwnedFd::from(dead.accepted.try_clone().unwrap()));
    let number = usize::try_from(place.as_raw_fd()).unwrap();
    let admitted = Table::within(dead.head, dead.slots).admit(1).unwrap();
    dead.slot().clear();
    dead.seat = ManuallyDrop::new(admitted.seat(number, PeerAddr::Unnamed, Entry::default()));
    rustix::io::dup2(&*other.accepted, &mut place).unwrap();
    // Nobody will answer.
    dead.caller.shutdown(std::net::Shutdown::Both).unwrap();
    let events = dead.succeeded().1;
    assert!(
        matches!(events[..], [Event::Closed { .. }, Event::Resumed { resumed: 0, lost: 1 }]),
        "{events:?}"
    );
    assert!(place.try_clone().is_ok(), "it is still open");
}
