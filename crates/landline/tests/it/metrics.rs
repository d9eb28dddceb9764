//! Numbers of a running server: of what is going on, not only of what is over.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use landline::event::Metrics;
use landline::{Excess, Framing, Running, Server, Upper, framed};

use crate::support::{Caller, PATIENCE};

/// A server whose numbers are told.
struct Told {
    running: Running,
    metrics: Arc<Metrics>,
}

fn start(settings: impl FnOnce(Server) -> Server) -> Told {
    let server = settings(Server::bind("127.0.0.1:0").unwrap());
    let metrics = Arc::new(Metrics::new().server(server.monitor()));
    let server = server.events(Arc::clone(&metrics)).serve(framed(Framing::Line, Upper));
    Told { running: server.start().unwrap(), metrics }
}

impl Told {
    fn call(&self) -> Caller {
        Caller::connect(self.running.local_addr())
    }

    fn number(&self, name: &str) -> u64 {
        number(&self.metrics.encode_text(), name)
    }

    /// Asks for the numbers until each of these lines is among them.
    #[track_caller]
    fn comes_to_show(&self, lines: &[&str]) {
        let missing = |text: &str| lines.iter().find(|line| !text.lines().any(|found| found == **line));
        let began = Instant::now();
        loop {
            let text = self.metrics.encode_text();
            let Some(missing) = missing(&text) else { return };
            assert!(began.elapsed() < PATIENCE, "no {missing:?} in:\n{text}");
            thread::yield_now();
        }
    }
}

#[track_caller]
fn number(text: &str, name: &str) -> u64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse().unwrap()
}

#[test]
fn open_connections_show_by_what_they_do_and_with_what_they_have_done() {
    let told = start(|server| server.threads(2));
    told.comes_to_show(&["landline_connections{state=\"idle\"} 0", "landline_messages_total 0"]);
    let (mut idle, mut receiving) = (told.call(), told.call());
    idle.say("one\ntwo\n");
    idle.hear("ONE\nTWO\n");
    receiving.say("three\nhal");
    receiving.hear("THREE\n");
    let lines = [
        "landline_connections{state=\"idle\"} 1",
        "landline_connections{state=\"receiving\"} 1",
        "landline_connections{state=\"answering\"} 0",
        "landline_connections{state=\"sending\"} 0",
        "landline_connections{state=\"closing\"} 0",
        "landline_connections_open 2",
        "landline_messages_total 3",
        "landline_received_bytes_total 17",
        "landline_sent_bytes_total 14",
    ];
    told.comes_to_show(&lines);
    receiving.say("f\n");
    receiving.hear("HALF\n");
    drop((idle, receiving));
    told.comes_to_show(&[
        "landline_connections_open 0",
        "landline_connections{state=\"idle\"} 0",
        "landline_messages_total 4",
        "landline_received_bytes_total 19",
        "landline_sent_bytes_total 19",
    ]);
}

#[test]
fn no_counter_goes_down_or_too_far_up_while_connections_come_and_go() {
    const CALLERS: u64 = 300;
    const COUNTERS: [(&str, u64); 3] = [
        ("landline_messages_total", CALLERS),
        ("landline_received_bytes_total", 6 * CALLERS),
        ("landline_sent_bytes_total", 6 * CALLERS),
    ];
    let told = start(|server| server.threads(2));
    thread::scope(|scope| {
        let calling = scope.spawn(|| {
            for _ in 0..CALLERS {
                let mut caller = told.call();
                caller.say("hello\n");
                caller.hear("HELLO\n");
            }
        });
        let mut before = [0; 3];
        while !calling.is_finished() {
            let text = told.metrics.encode();
            let now = COUNTERS.map(|(name, _)| number(&text, name));
            for ((now, before), (name, most)) in now.iter().zip(before).zip(COUNTERS) {
                assert!((before..=most).contains(now), "{name}: {before}, then {now}, {most} at most");
            }
            before = now;
        }
    });
    told.comes_to_show(&["landline_connections_open 0"]);
    assert_eq!(COUNTERS.map(|(name, _)| told.number(name)), COUNTERS.map(|(_, count)| count));
}

#[test]
fn the_first_answer_of_a_thread_is_timed_and_then_one_of_256() {
    let told = start(|server| server.threads(1));
    let mut caller = told.call();
    for timed in 1..=3 {
        caller.say("hello\n");
        caller.hear("HELLO\n");
        assert_eq!(told.number("landline_answer_seconds_count"), timed);
        caller.say("hello\n".repeat(255));
        caller.hear("HELLO\n".repeat(255));
        assert_eq!(told.number("landline_answer_seconds_count"), timed);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn callers_who_wait_to_be_accepted_show_for_each_listener() {
    let told = start(|server| server.max_connections(1).excess(Excess::Wait).backlog(7));
    let mut inside = told.call();
    inside.say("in\n");
    inside.hear("IN\n");
    let waiting = [told.call(), told.call()];
    let listener = format!("{{listener=\"{}\"}}", told.running.local_addr());
    let queue = |count: u32| format!("landline_accept_queue{listener} {count}");
    told.comes_to_show(&[&queue(2), &format!("landline_accept_queue_max{listener} 7")]);
    drop((inside, waiting));
    told.comes_to_show(&[&queue(0)]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_listeners_are_those_of_the_last_reload() {
    let told = start(|server| server);
    let before = told.running.local_addr();
    let anew = Server::bind("127.0.0.1:0").unwrap();
    let after = anew.local_addr();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(told.running.reload(anew.serve(framed(Framing::Line, Upper)))).unwrap();
    let text = told.metrics.encode_text();
    assert!(!text.contains(&before.to_string()), "{text}");
    assert!(text.contains(&format!("landline_accept_queue{{listener=\"{after}\"}} 0\n")), "{text}");
    told.comes_to_show(&["landline_reloads_total{outcome=\"done\"} 1"]);
}

#[test]
fn a_server_and_its_metrics_do_not_keep_each_other() {
    let told = start(|server| server);
    let metrics = Arc::downgrade(&told.metrics);
    drop(told);
    let began = Instant::now();
    // The server's threads end by themselves.
    while metrics.strong_count() > 0 {
        assert!(began.elapsed() < PATIENCE, "the numbers are still there");
        thread::yield_now();
    }
}
