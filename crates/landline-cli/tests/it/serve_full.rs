//! More callers than there is room for.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::serving::*;
use crate::support::GUARD;

#[test]
fn a_caller_beyond_the_limit_reads_busy_and_the_end_even_if_it_spoke_first() {
    let mut server = serve(&["--max-connections", "2"]);
    let (mut first, mut second) = (server.call(), server.call());
    first.asks("hello");
    second.asks("hello");
    for _ in 0..20 {
        let mut third = server.call();
        third.says("hello, is there room?");
        third.hears_out("busy\n");
    }
    first.asks("still there");
    drop(first);
    server.says("closed by client");
    server.call().asks("now there is");
    drop(second);
    let ended = server.stop();
    assert_eq!((ended.code, ended.count(" refused: busy")), (0, 20), "{ended:#?}");
}

#[test]
fn out_of_descriptors_it_serves_whom_it_has_stays_calm_and_recovers() {
    const LIMIT: u64 = 64;
    const CALLERS: usize = 200;
    let begun = Instant::now();
    let mut server = serve(&["--threads", "2"]);
    let limit = Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) };
    prlimit(Pid::from_raw(server.serving_id().cast_signed()), Resource::Nofile, limit).unwrap();
    let mut callers: Vec<Caller> = (0..CALLERS).map(|_| server.call()).collect();
    server.says("cannot take more callers: too many open files");

    let (spent, since) = (server.cpu(), Instant::now());
    callers[0].hears_nothing_for(Duration::from_secs(1));
    let share = server.cpu().saturating_sub(spent).as_secs_f64() / since.elapsed().as_secs_f64();

    let mut refused = 0;
    for caller in &mut callers {
        refused += usize::from(is_refused(caller));
    }
    assert!(refused > 0);
    for caller in callers.iter_mut().take(30) {
        caller.asks("still there");
    }
    assert!(share < 0.3, "it used {:.0}% of a processor", share * 100.0);

    drop(callers);
    let freed = Instant::now();
    while !server.call().gets_an_answer() {
        assert!(freed.elapsed() < GUARD, "nobody is let in any more");
    }
    println!("{refused} refused, {:.1}% of a processor, room again in {:?}", share * 100.0, freed.elapsed());
    let ended = server.stop();
    assert_eq!(ended.code, 0, "{ended:#?}");
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    let lines = ended.count("cannot take more callers");
    assert!(lines <= seconds + 1, "{lines} lines in {seconds} s");
}

/// Whether a caller has been told to go; others hear nothing, as they have said nothing.
fn is_refused(caller: &mut Caller) -> bool {
    caller.0.set_nonblocking(true).unwrap();
    let mut heard = Vec::new();
    let outcome = caller.0.read_to_end(&mut heard);
    caller.0.set_nonblocking(false).unwrap();
    match outcome {
        Ok(_) => assert_eq!(heard, b"busy\n"),
        Err(error) => assert_eq!((error.kind(), &heard[..]), (ErrorKind::WouldBlock, &b""[..])),
    }
    !heard.is_empty()
}
