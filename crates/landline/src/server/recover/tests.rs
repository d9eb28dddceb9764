//! Workers that die at a certain point, and the next one that starts from what they have left. A worker here
//! is a thread's runtime with everything in it; it dies by being forgotten.

use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use tokio::runtime::{Builder, LocalOptions};

use super::*;
use crate::error::Outcome;
use crate::event::{PeerAddr, Recorder};
use crate::frame::Framing;
use crate::server::checkpoint::Checkpoints;
use crate::server::config::{Config, Policy};
use crate::server::crew::Crew;
use crate::server::listen;
use crate::server::listener::Serve;
use crate::server::local::Local;
use crate::server::table::{Entry, Head, Lasting, Seat, Table};
use crate::server::{Connection, Handler};
use crate::service::{Reply, Upper, framed, service};
use crate::sys::arena::Arena;
use crate::sys::region::Region;
use crate::takeover::memory::Memory;

/// What outlives a worker.
struct Remains {
    head: &'static [Head],
    slots: &'static [Slot],
    checkpoints: &'static [Checkpoints],
    memory: &'static Memory,
    listening: Arc<listen::Bound>,
    seat: ManuallyDrop<Seat>,
    number: usize,
    caller: TcpStream,
}

const SLOTS: usize = 4096;

impl Remains {
    /// Those of a worker that has accepted a caller, and no more.
    fn of_one_who_accepted() -> Self {
        let listening = listen::listen(&"127.0.0.1:0".parse().unwrap(), 16).unwrap().remove(0);
        let caller = TcpStream::connect(listening.address.ip().unwrap()).unwrap();
        let listener: TcpListener = listening.socket.try_clone().unwrap().into();
        listener.set_nonblocking(false).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let accepted = ManuallyDrop::new(accepted);
        let number = usize::try_from(accepted.as_raw_fd()).unwrap();
        let memory: &Memory = Box::leak(Box::new(Memory::new().unwrap()));
        let ((head, slots), checkpoints) = (memory.table(SLOTS), memory.checkpoints(SLOTS));
        let arena = Arena::over(memory.arena(), std::iter::empty());
        let first = Table::within(head, slots, Lasting { checkpoints: Region::shared(checkpoints), arena });
        let seat = first.admit(1).unwrap().seat(number, PeerAddr::Ip(peer).into(), Entry::default());
        let seat = ManuallyDrop::new(seat);
        Self { head, slots, checkpoints, memory, listening, seat, number, caller }
    }

    fn slot(&self) -> &Slot {
        self.seat.slot()
    }

    /// A worker starts from this, serves while the caller talks, and dies. What happened until then.
    fn worker(
        &mut self,
        handler: impl Handler,
        talk: impl FnOnce(&mut TcpStream) + Send,
        until: impl Fn(&Self) -> bool,
    ) -> Vec<Event> {
        let events = Arc::new(Recorder::default());
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = ManuallyDrop::new(runtime.unwrap());
        let arena = Arena::over(self.memory.arena(), self.memory.blocks_in_use());
        let lasting = Lasting { checkpoints: Region::shared(self.checkpoints), arena };
        let mut caller = self.caller.try_clone().unwrap();
        std::thread::scope(|scope| {
            let talking = scope.spawn(move || talk(&mut caller));
            runtime.block_on(async {
                let table = Table::within(self.head, self.slots, lasting);
                let share = Share::new(1, Arc::clone(&table), events.clone());
                let server: Arc<dyn Serve> = Arc::new(handler);
                let listener = Listener::new(self.listening.clone(), &Arc::new(Policy::default()), &server);
                let config = Config { threads: 1, ..Config::default() };
                let plan = Plan::new(&table, config, vec![Arc::new(listener)], 10, None).unwrap();
                let host = Host::new(Local::new(0, share.clone()), Crew::new(1).0);
                recover(&host, &plan);
                arena.free_left();
                tell(&share);
                while !(talking.is_finished() && until(self)) {
                    tokio::task::yield_now().await;
                }
            });
        });
        events.events()
    }
}

fn upper(remains: &mut Remains, talk: impl FnOnce(&mut TcpStream) + Send) -> Vec<Event> {
    remains.worker(framed(Framing::Line, Upper), talk, |_| true)
}

fn hears(caller: &mut TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    caller.read_exact(&mut heard).unwrap();
    assert_eq!(String::from_utf8(heard).unwrap(), text);
}

fn says(caller: &mut TcpStream, text: &str) {
    caller.write_all(text.as_bytes()).unwrap();
}

/// Lines, each answered by this.
fn lines(answer: impl AsyncFn(&[u8], &mut Reply) -> Outcome + Send + Sync + 'static) -> impl Handler {
    framed(Framing::Line, service(answer))
}

/// Who says so much that nobody takes it at once.
fn talkative() -> Vec<u8> {
    (0..8 << 20).map(|count: u32| b'a' + u8::try_from(count % 23).unwrap()).collect()
}

/// A worker dies while it sends a long answer to `hello`; `more` is done after it.
fn in_the_middle_of_a_long_answer(more: fn(&mut Reply)) -> Remains {
    let mut remains = Remains::of_one_who_accepted();
    let service = lines(async move |_: &[u8], reply: &mut Reply| {
        reply.send(&talkative());
        more(reply);
        Ok(())
    });
    let is_sending = |remains: &Remains| remains.slot().phase() == Phase::Sending;
    remains.worker(service, |caller| says(caller, "hello\n"), is_sending);
    assert!(remains.slot().bytes_out() > 0 && remains.slot().unsent() > 0);
    remains
}

fn hears_the_long_answer(caller: &mut TcpStream) {
    let mut heard = vec![0; talkative().len() + 1];
    caller.read_exact(&mut heard).unwrap();
    assert!(heard.strip_suffix(b"\n") == Some(&talkative()), "not a byte is missing or there twice");
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

const RESUMED: Event = Event::Resumed { resumed: 1, lost: 0 };

#[test]
fn a_caller_whom_nobody_had_begun_to_serve_is_served() {
    let mut remains = Remains::of_one_who_accepted();
    let events = upper(&mut remains, |caller| {
        says(caller, "hello\n");
        hears(caller, "HELLO\n");
    });
    assert_eq!(events[0], RESUMED);
    assert!(!events.iter().any(|event| matches!(event, Event::Connected { .. })), "{events:?}");
}

#[test]
fn a_connection_at_rest_goes_on_under_its_number_again_and_again() {
    let mut remains = Remains::of_one_who_accepted();
    for _ in 0..3 {
        let events = upper(&mut remains, |caller| {
            says(caller, "hello\n");
            hears(caller, "HELLO\n");
        });
        assert_eq!((&events[0], remains.slot().id()), (&RESUMED, 1));
        assert!(!events.iter().any(|event| matches!(event, Event::Connected { .. })), "{events:?}");
    }
    assert_eq!((remains.slot().messages(), remains.slot().bytes_out()), (3, 18));
}

#[test]
fn the_rest_of_a_message_may_come_to_another_worker_and_another() {
    let mut remains = Remains::of_one_who_accepted();
    let lines = || framed(Framing::Line, Upper);
    remains.worker(lines(), |caller| says(caller, "one\nhel"), |remains| remains.slot().bytes_in() == 7);
    remains.worker(lines(), |caller| says(caller, "lo"), |remains| remains.slot().bytes_in() == 9);
    let events = upper(&mut remains, |caller| {
        says(caller, "\nagain\n");
        hears(caller, "ONE\nHELLO\nAGAIN\n");
    });
    assert_eq!(events[0], RESUMED);
}

#[test]
fn a_message_that_was_being_answered_is_asked_again_of_the_next_worker() {
    let mut remains = Remains::of_one_who_accepted();
    let never = lines(async |message: &[u8], reply: &mut Reply| {
        // This much of the batch is never sent, and said again by somebody else.
        reply.send(message);
        if message == b"two" { std::future::pending().await } else { Ok(()) }
    });
    let is_asked = |remains: &Remains| remains.slot().messages() == 1;
    remains.worker(never, |caller| says(caller, "one\ntwo\nthree\n"), is_asked);
    assert_eq!(upper(&mut remains, |caller| hears(caller, "ONE\nTWO\nTHREE\n"))[0], RESUMED);
}

#[test]
fn what_is_left_of_an_answer_is_sent_by_another_worker_and_nobody_is_asked_again() {
    let mut remains = in_the_middle_of_a_long_answer(|_| {});
    let events = upper(&mut remains, |caller| {
        says(caller, "again\n");
        hears_the_long_answer(caller);
        hears(caller, "AGAIN\n");
    });
    assert_eq!((&events[0], remains.slot().messages()), (&RESUMED, 2));
}

#[test]
fn a_connection_that_was_to_end_after_its_answer_does() {
    let mut remains = in_the_middle_of_a_long_answer(Reply::close);
    let events = remains.worker(
        framed(Framing::Line, Upper),
        |caller| {
            hears_the_long_answer(caller);
            assert_eq!(caller.read(&mut [0]).unwrap(), 0);
            caller.shutdown(std::net::Shutdown::Both).unwrap();
        },
        |remains| remains.slot().phase() == Phase::Free,
    );
    assert!(matches!(events[1], Event::Closed { reason: CloseReason::ServerClosed, .. }), "{events:?}");
}

#[test]
fn an_answer_that_was_sent_is_not_sent_again_though_nobody_said_that_it_was() {
    let mut remains = Remains::of_one_who_accepted();
    upper(&mut remains, |caller| {
        says(caller, "hello\n");
        hears(caller, "HELLO\n");
    });
    // As it was before the last of what the worker did.
    let output = Arena::over(remains.memory.arena(), std::iter::empty()).take(1).unwrap().handle();
    remains.checkpoints[remains.number].update(|at| (at.sent, at.output, at.output_len) = (0, output, 6));
    let events = upper(&mut remains, |caller| {
        says(caller, "again\n");
        hears(caller, "AGAIN\n");
    });
    assert_eq!(events[0], RESUMED);
}

#[test]
fn an_answer_of_which_a_part_was_flushed_is_lost_with_its_connection() {
    let mut remains = Remains::of_one_who_accepted();
    let piecemeal = lines(async |_: &[u8], reply: &mut Reply| {
        reply.send(b"a part");
        reply.flush().await?;
        std::future::pending().await
    });
    remains.worker(
        piecemeal,
        |caller| {
            says(caller, "hello\n");
            hears(caller, "a part\n");
        },
        |_| true,
    );
    assert!(is_told_as_lost(&upper(&mut remains, |_| {})));
}

#[test]
fn a_checkpoint_that_contradicts_the_kernel_is_believed_in_nothing() {
    let wrong: [fn(&mut Checkpoint); 6] = [
        |at| at.answered += 4,
        |at| at.consumed = 1,
        |at| at.sent = 1,
        |at| at.input = Handle::PRIVATE,
        |at| at.output = at.input,
        |at| at.input = Handle::NONE,
    ];
    for (number, wrong) in wrong.into_iter().enumerate() {
        let mut remains = Remains::of_one_who_accepted();
        let is_there = |remains: &Remains| remains.slot().bytes_in() == 3;
        remains.worker(framed(Framing::Line, Upper), |caller| says(caller, "hel"), is_there);
        remains.checkpoints[remains.number].update(wrong);
        if number == 5 {
            // It is at rest, says this one, and only the kernel knows better.
            remains.checkpoints[remains.number]
                .update(|at| (at.output, at.output_len) = (Handle::PRIVATE, 0));
        }
        assert!(is_told_as_lost(&upper(&mut remains, |_| {})), "{number}");
    }
}

/// Counts the lines of a connection, in a session that outlives the process.
fn counter() -> impl Handler {
    let count = async |count: &mut u64, _: &[u8], reply: &mut Reply| {
        *count += 1;
        write!(reply, "{count}")?;
        Ok(())
    };
    framed(Framing::Line, crate::lasting_session(|_, _| Ok(0_u64), count))
}

#[test]
fn a_session_of_plain_data_goes_on_and_counts_no_message_twice() {
    let mut remains = Remains::of_one_who_accepted();
    for counts in ["1\n2\n", "3\n4\n", "5\n6\n"] {
        let talk = |caller: &mut TcpStream| {
            says(caller, "a\nb\n");
            hears(caller, counts);
        };
        assert_eq!(remains.worker(counter(), talk, |_| true)[0], RESUMED);
    }
}

#[test]
fn a_session_that_nobody_put_down_ends_with_its_process() {
    let mut remains = Remains::of_one_who_accepted();
    let forgetful = || {
        let count = async |count: &mut u64, _: &[u8], reply: &mut Reply| {
            *count += 1;
            write!(reply, "{count}")?;
            Ok(())
        };
        framed(Framing::Line, crate::session(|_, _| Ok(0_u64), count))
    };
    let talk = |caller: &mut TcpStream| {
        says(caller, "a\n");
        hears(caller, "1\n");
    };
    remains.worker(forgetful(), talk, |_| true);
    let ends = |caller: &mut TcpStream| assert_eq!(caller.read(&mut [0]).unwrap(), 0);
    let events = remains.worker(forgetful(), ends, |_| true);
    assert!(matches!(events[1], Event::Closed { reason: CloseReason::WorkerDied, .. }), "{events:?}");
}

#[test]
fn a_handler_that_talks_by_itself_can_begin_anew_but_not_go_on() {
    let mut remains = Remains::of_one_who_accepted();
    let echo = || {
        async |mut conn: Connection| -> Outcome {
            let (mut reading, mut writing) = tokio::io::split(&mut conn);
            tokio::io::copy(&mut reading, &mut writing).await?;
            Ok(())
        }
    };
    let events = remains.worker(
        echo(),
        |caller| {
            says(caller, "hello\n");
            hears(caller, "hello\n");
        },
        |_| true,
    );
    assert_eq!(events[0], RESUMED);
    assert!(is_told_as_lost(&remains.worker(echo(), |_| {}, |_| true)));
}

#[test]
fn a_descriptor_that_stands_for_another_socket_is_left_alone() {
    let (mut remains, other) = (Remains::of_one_who_accepted(), Remains::of_one_who_accepted());
    // By the time that somebody looks, the number is that of another connection.
    let [here, there] = [&remains, &other].map(|remains| remains.number);
    let (here, there) = [here, there].map(|number| i32::try_from(number).unwrap()).into();
    let mut place = ManuallyDrop::new(
        crate::sys::descriptors::adopt_socket(here, crate::sys::descriptors::cookie(here).unwrap()).unwrap(),
    );
    let socket =
        crate::sys::descriptors::adopt_socket(there, crate::sys::descriptors::cookie(there).unwrap());
    let socket = ManuallyDrop::new(socket.unwrap());
    rustix::io::dup2(&*socket, &mut place).unwrap();
    assert!(is_told_as_lost(&upper(&mut remains, |_| {})));
    assert!(place.try_clone().is_ok(), "it is still open");
}

mod untrusted;
