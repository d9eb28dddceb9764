//! What is told of sockets, step by step, to those who ask for it.

use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use landline::event::{Ends, SocketStep, StepKind};
use landline::{Connection, Event, Framing, Running, Server, Subscriber, Upper, framed};

use crate::support::{Caller, PATIENCE};

/// Passes on what is told; `wants`: whether that is anything.
struct Steps {
    wants: bool,
    told: SyncSender<Told>,
}

#[derive(Debug)]
enum Told {
    Step(SocketStep),
    Event(Event),
}

impl Subscriber for Steps {
    fn event(&self, event: &Event) {
        self.told.try_send(Told::Event(event.clone())).unwrap();
    }

    fn wants_steps(&self) -> bool {
        self.wants
    }

    fn step(&self, step: &SocketStep) {
        assert!(self.wants, "nobody asked: {step}");
        self.told.try_send(Told::Step(step.clone())).unwrap();
    }
}

fn serve(wants: bool, handler: impl landline::Handler) -> (Running, Receiver<Told>) {
    let (told, heard) = sync_channel(1000);
    let server = Server::bind("127.0.0.1:0").unwrap().events(Steps { wants, told });
    (server.serve(handler).start().unwrap(), heard)
}

/// The steps up to the next event of this name.
fn until(name: &str, heard: &Receiver<Told>) -> Vec<StepKind> {
    let mut steps = Vec::new();
    loop {
        match heard.recv_timeout(PATIENCE).expect("the event comes") {
            Told::Event(event) if event.name() == name => return steps,
            Told::Event(_) => {}
            Told::Step(step) => steps.push(step.kind),
        }
    }
}

fn cut(server: Running) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _ = runtime.block_on(server.cut());
}

#[test]
fn each_step_of_a_connection_is_told_between_its_two_events_with_sums() {
    let (server, heard) = serve(true, framed(Framing::Line, Upper));
    let address = landline::ListenAddr::Ip(server.local_addr());
    let listening = until("started", &heard);
    let made = [StepKind::Socket { address: address.clone() }, StepKind::Bound { address }];
    assert_eq!(listening[..2], made);
    assert!(matches!(listening[2..], [StepKind::Listening { backlog: 1.. }]), "{listening:?}");

    let mut caller = Caller::connect(server.local_addr());
    for (said, heard) in [("one\n", "ONE\n"), ("three\n", "THREE\n")] {
        caller.say(said);
        caller.hear(heard);
    }
    drop(caller);
    assert!(until("connected", &heard).is_empty());
    assert_eq!(
        until("closed", &heard),
        [
            StepKind::Accepted,
            StepKind::Received { bytes: 4, total: 4 },
            StepKind::Sent { bytes: 4, total: 4 },
            StepKind::Received { bytes: 6, total: 10 },
            StepKind::Sent { bytes: 6, total: 10 },
            StepKind::PeerEnded,
            StepKind::Closing { ends: Ends::PeerOnly },
        ]
    );
    cut(server);
}

#[test]
fn what_closes_with_something_unread_is_said_to_reset_and_does() {
    let (server, heard) = serve(true, async |_: Connection| std::future::pending().await);
    let mut caller = Caller::connect(server.local_addr());
    caller.say("nobody reads this");
    until("connected", &heard);
    cut(server);
    assert_eq!(until("closed", &heard), [StepKind::Accepted, StepKind::Closing { ends: Ends::Reset }]);
    assert_eq!(caller.hear_out().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn nobody_is_told_steps_who_did_not_ask() {
    let (server, heard) = serve(false, framed(Framing::Raw, Upper));
    let mut caller = Caller::connect(server.local_addr());
    caller.say("hello");
    caller.hear("HELLO");
    drop(caller);
    assert!(until("closed", &heard).is_empty());
    cut(server);
}
