//! `serve --crash-survival on`: callers who are in the middle of something when the process that serves is
//! killed, and who compare every byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crate::serve_survival::{kill_worker, survivor};
use crate::serving::*;
use crate::support::GUARD;

const CALLERS: usize = 50;
const KILLS: usize = 20;
/// How many lines a caller has in flight. Together they fit into what sockets hold: it does not hear while it
/// speaks.
const LINES: usize = 8;
const LONGEST: usize = 32 << 10;

/// Lines that nobody else says, and this caller only once: short ones and long ones. The last has no end yet.
fn lines(caller: usize, round: usize) -> String {
    let line = |number: usize| {
        let mark = format!("caller {caller} round {round} line {number} ");
        let length = (LONGEST >> (2 * ((caller + round + number) % 6))).max(mark.len());
        mark.chars().cycle().take(length).collect::<String>()
    };
    (0..LINES).map(line).collect::<Vec<_>>().join("\n")
}

/// Asks until it is over, always with a line that is not finished, ends its side, and hears the rest.
fn asks_and_compares(caller: usize, address: SocketAddr, is_over: &AtomicBool, news: &SyncSender<()>) {
    let mut stream = Caller::connect(address);
    let (mut round, mut begun) = (0, String::new());
    while !is_over.load(Relaxed) {
        let asked = lines(caller, round);
        let complete = asked.rfind('\n').unwrap() + 1;
        stream.says(&asked);
        begun.push_str(&asked[..complete]);
        stream.hears(begun.to_ascii_uppercase());
        asked[complete..].clone_into(&mut begun);
        round += 1;
        // When there is news already, more of it says nothing.
        let _ = news.try_send(());
    }
    stream.says("\n");
    stream.half_closes();
    stream.hears_out(format!("{begun}\n").to_ascii_uppercase());
}

#[test]
fn fifty_callers_in_the_middle_of_messages_lose_no_byte_in_twenty_kills() {
    let mut server = survivor(&["--threads", "2", "--framing", "line"]);
    let (address, is_over) = (server.address, &AtomicBool::new(false));
    let (news, rounds) = sync_channel(CALLERS);
    thread::scope(|scope| {
        let caller = |number| {
            let news = news.clone();
            scope.spawn(move || asks_and_compares(number, address, is_over, &news))
        };
        let callers: Vec<_> = (0..CALLERS).map(caller).collect();
        drop(news);
        for _ in 0..KILLS {
            // The channel can be full of rounds that were before the last kill: more than those are waited
            // for. It ends with the callers, which is told below.
            (0..2 * CALLERS).map_while(|_| rounds.recv_timeout(GUARD).ok()).for_each(drop);
            kill_worker(&mut server);
        }
        is_over.store(true, Relaxed);
        let failed = callers.into_iter().filter_map(|caller| caller.join().err()).count();
        assert_eq!(failed, 0, "of {CALLERS} callers were cut or heard something wrong");
    });
    let ended = server.stop();
    assert_eq!(ended.count(&format!("restart {KILLS}")), 1, "{ended:#?}");
    ended.in_order();
}
