//! Callers who send all they have to say, end their side, hear the rest, and call anew.
//!
//! Messages are as different in length as can be, and each caller draws breath once, mostly within one, so
//! that a server is met in the middle of many. They are a process of their own, which writes what it heard as
//! `landline bench` does. Its longest wait is the longest time for which a caller's bytes went neither way.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use serde_json::json;

use super::dice::Dice;
use super::speech::{Speech, check};
use crate::Outcome;
use crate::trial::program::{part, wait_for_events};
use crate::trial::raise_open_files;

/// Its word on the command line.
pub(crate) const PART: &str = "parting";

const EVENTS: usize = 1024;
const READ: usize = 256 << 10;
/// How often somebody looks whether it is over, and whoever has drawn breath goes on.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What has not come so long after the end of the run will not come.
const TIMEOUT: Duration = Duration::from_secs(5);
const NEEDED: &str = "a port, a number of connections, a framing, a warm-up and a length in milliseconds";

/// The command line for callers who speak in this framing, with a warm-up and a length in milliseconds.
pub(super) fn command(port: u16, connections: &str, framing: &str, times: [&str; 2]) -> Command {
    part(&[PART, &port.to_string(), connections, framing, times[0], times[1]])
}

/// The process itself.
pub(crate) fn run(words: &[&str]) -> Outcome {
    let [port, connections, framing, warm_up, length] = words else { return Err(NEEDED.to_owned()) };
    let millis = |word: &str| word.parse().map(Duration::from_millis);
    let (Ok(port), Ok(connections), Ok(warm_up), Ok(length)) =
        (port.parse(), connections.parse(), millis(warm_up), millis(length))
    else {
        return Err(NEEDED.to_owned());
    };
    raise_open_files()?;
    let from = Instant::now() + warm_up;
    let talked = Common::new(port, *framing == "line", [from, from + length])
        .and_then(|common| talk(common, connections));
    println!("{}", talked.map_err(|error| format!("the callers failed: {error}"))?);
    Ok(())
}

/// What every caller uses.
struct Common {
    port: u16,
    in_lines: bool,
    until: Instant,
    epoll: OwnedFd,
    dice: Dice,
    room: Vec<u8>,
    tally: Tally,
}

/// What was heard after the warm-up.
struct Tally {
    from: Instant,
    replies: u64,
    /// The longest wait that ended in each second.
    longest: Vec<Duration>,
    wrong: BTreeMap<&'static str, u64>,
}

/// Talks until the time is over and everybody has heard out what was said; what was heard, as JSON.
fn talk(mut common: Common, connections: u64) -> io::Result<String> {
    let mut callers: Vec<Caller> = (0..connections).map(Caller::new).collect();
    let mut events = Vec::with_capacity(EVENTS);
    let mut look_at = Instant::now();
    loop {
        let now = Instant::now();
        let is_over = now >= common.until;
        if is_over && callers.iter().all(|caller| caller.stream.is_none()) {
            return Ok(common.tally.json());
        }
        if now >= common.until + TIMEOUT {
            let waiting = callers.iter().filter(|caller| caller.stream.is_some()).count();
            common.tally.add_wrong("reply_timeout", waiting as u64);
            return Ok(common.tally.json());
        }
        if now >= look_at {
            look_at = now + LOOK_EVERY;
            for caller in &mut callers {
                caller.go_on(&mut common);
            }
        }
        // Whoever is refused tries again as often.
        for caller in callers.iter_mut().filter(|caller| caller.stream.is_none() && !is_over) {
            caller.call(&mut common);
        }
        wait_for_events(&common.epoll, &mut events, Some(look_at.saturating_duration_since(now)))?;
        for event in events.drain(..) {
            let place = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
            callers[place].ready(&mut common);
        }
    }
}

impl Common {
    fn new(port: u16, in_lines: bool, [from, until]: [Instant; 2]) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let tally = Tally { from, replies: 0, longest: Vec::new(), wrong: BTreeMap::new() };
        Ok(Self { port, in_lines, until, epoll, dice: Dice::new(), room: vec![0; READ], tally })
    }
}

impl Tally {
    fn counts(&self) -> bool {
        Instant::now() >= self.from
    }

    fn add_wrong(&mut self, kind: &'static str, count: u64) {
        // A fault is one in a warm-up, too.
        *self.wrong.entry(kind).or_default() += count;
    }

    fn waited(&mut self, now: Instant, waited: Duration) {
        let Some(since) = now.checked_duration_since(self.from) else { return };
        let second = usize::try_from(since.as_secs()).unwrap_or(usize::MAX);
        if self.longest.len() <= second {
            self.longest.resize(second + 1, Duration::ZERO);
        }
        self.longest[second] = self.longest[second].max(waited);
    }

    fn json(&self) -> String {
        let micros = |wait: Duration| json!({ "max_us": wait.as_secs_f64() * 1e6 });
        let longest = micros(self.longest.iter().copied().max().unwrap_or_default());
        let seconds: Vec<_> = self.longest.iter().map(|wait| micros(*wait)).collect();
        json!({
            "replies": self.replies,
            "latency_from_send": longest,
            "seconds": seconds,
            "errors": self.wrong,
        })
        .to_string()
    }
}

struct Caller {
    /// By which epoll names it.
    number: u64,
    stream: Option<TcpStream>,
    speech: Speech,
    /// How far it speaks before it draws breath.
    breath: usize,
    said: usize,
    heard: usize,
    /// When bytes last went either way.
    moved: Instant,
}

impl Caller {
    fn new(number: u64) -> Self {
        let speech = Speech::default();
        Self { number, stream: None, speech, breath: 0, said: 0, heard: 0, moved: Instant::now() }
    }

    fn call(&mut self, common: &mut Common) {
        self.moved = Instant::now();
        (self.said, self.heard) = (0, 0);
        self.speech.renew(&mut common.dice, common.in_lines);
        self.breath = common.dice.within(1, self.speech.text.len());
        let data = self.data();
        let called = TcpStream::connect((Ipv4Addr::LOCALHOST, common.port)).and_then(|stream| {
            stream.set_nonblocking(true)?;
            epoll::add(&common.epoll, &stream, data, EventFlags::IN | EventFlags::OUT)?;
            Ok(stream)
        });
        match called {
            Ok(stream) => self.stream = Some(stream),
            Err(_) => common.tally.add_wrong("refused", 1),
        }
    }

    /// Speaks on if it has drawn breath.
    fn go_on(&mut self, common: &mut Common) {
        let Some(stream) = &self.stream else { return };
        let all = self.speech.text.len();
        if self.said == self.breath && self.breath < all {
            self.breath = all;
            self.moved = Instant::now();
            // It fails for no socket that is open.
            let _ = epoll::modify(&common.epoll, stream, self.data(), EventFlags::IN | EventFlags::OUT);
        }
    }

    /// Says and hears as much as it can.
    fn ready(&mut self, common: &mut Common) {
        let Some(mut stream) = self.stream.take() else { return };
        match self.say(&mut stream, common).and_then(|()| self.hear(&mut stream, common)) {
            Ok(true) if common.tally.counts() => common.tally.replies += self.speech.messages,
            Ok(true) => {}
            Ok(false) => self.stream = Some(stream),
            Err(kind) => common.tally.add_wrong(kind, 1),
        }
    }

    /// Says what there is room for, and ends its side behind the last of it.
    fn say(&mut self, stream: &mut TcpStream, common: &mut Common) -> Result<(), &'static str> {
        if self.said == self.breath {
            return Ok(());
        }
        match stream.write(&self.speech.text[self.said..self.breath]) {
            Ok(count) => self.said += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err("reset"),
        }
        self.has_moved(common);
        if self.said == self.breath {
            epoll::modify(&common.epoll, &*stream, self.data(), EventFlags::IN).map_err(|_| "local")?;
        }
        if self.said == self.speech.text.len() {
            stream.shutdown(Shutdown::Write).map_err(|_| "reset")
        } else {
            Ok(())
        }
    }

    /// Hears what has come; true when it is over, and was all right.
    fn hear(&mut self, stream: &mut TcpStream, common: &mut Common) -> Result<bool, &'static str> {
        let count = match stream.read(&mut common.room) {
            Ok(0) if self.heard == self.speech.text.len() => return Ok(true),
            Ok(0) => return Err("closed_early"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(_) => return Err("reset"),
        };
        check(&self.speech.text, self.heard, &common.room[..count])?;
        self.heard += count;
        self.has_moved(common);
        Ok(false)
    }

    fn data(&self) -> EventData {
        EventData::new_u64(self.number)
    }

    fn has_moved(&mut self, common: &mut Common) {
        let now = Instant::now();
        common.tally.waited(now, now - self.moved);
        self.moved = now;
    }
}
