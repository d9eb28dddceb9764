//! The steady path of a message allocates nothing. In a binary of its own, because it counts every allocation
//! of the process.
#![expect(clippy::unwrap_used, reason = "what a test can't go on without has failed it")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use landline::{Event, Framing, Reply, Server, Subscriber, Upper, framed, service};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const CALLERS: usize = 50;

/// Has answers timed.
struct Timing;

impl Subscriber for Timing {
    fn event(&self, _: &Event) {}

    fn wants_answer_times(&self) -> bool {
        true
    }
}

/// One message and its answer on each connection, a few times over. It allocates nothing itself.
fn talk(callers: &mut [TcpStream], rounds: usize, message: &[u8], answer: &[u8], heard: &mut [u8]) {
    for _ in 0..rounds {
        for caller in &mut *callers {
            caller.write_all(message).unwrap();
        }
        for caller in &mut *callers {
            caller.read_exact(heard).unwrap();
            assert!(heard == answer);
        }
    }
}

/// How many blocks the whole process allocates while each caller asks `rounds` times.
fn blocks_for(rounds: usize, handler: impl landline::Handler, message: &[u8], answer: &[u8]) -> u64 {
    let server = Server::bind("127.0.0.1:0").unwrap().threads(2).events(Timing);
    let server = server.serve(handler).start().unwrap();
    let mut callers: Vec<TcpStream> =
        (0..CALLERS).map(|_| TcpStream::connect(server.local_addr()).unwrap()).collect();
    for caller in &callers {
        caller.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    let mut heard = vec![0; answer.len()];
    // The pools and the runtimes' own queues grow to their size.
    talk(&mut callers, 20, message, answer, &mut heard);
    let before = dhat::HeapStats::get().total_blocks;
    talk(&mut callers, rounds, message, answer, &mut heard);
    let blocks = dhat::HeapStats::get().total_blocks - before;
    // The threads must be gone before the next count begins.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert_eq!(runtime.block_on(server.cut()).cut.len(), CALLERS);
    blocks
}

#[test]
fn the_steady_path_of_a_message_allocates_nothing() {
    let _profiler = dhat::Profiler::builder().testing().build();
    assert_eq!(blocks_for(100, framed(Framing::Raw, Upper), &[b'a'; 64], &[b'A'; 64]), 0, "raw");
    assert_eq!(blocks_for(100, framed(Framing::Line, Upper), b"one\ntwo\r\n", b"ONE\nTWO\r\n"), 0, "line");
    let long = [&[0, 0, 0x40, 0][..], &[b'x'; 0x4000]].concat();
    assert_eq!(blocks_for(20, framed(Framing::Length, landline::Echo), &long, &long), 0, "length, 16 KiB");

    // That it can fail: a service that allocates once per message is caught, to the block.
    let wasteful = service(async |message: &[u8], reply: &mut Reply| {
        reply.send(&message.to_ascii_uppercase());
        Ok(())
    });
    let messages = 100 * CALLERS as u64;
    assert_eq!(blocks_for(100, framed(Framing::Line, wasteful), b"hi\n", b"HI\n"), messages);
}
