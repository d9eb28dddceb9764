//! Callers by the hundred, who say what a [`Traffic`] says, and verify every reply byte for byte.
//!
//! It is a process of its own, in the release build and on one thread, so that it neither shares the server's
//! core nor holds it up. It says `ready` when every connection has made one exchange; then, for each number
//! on its stdin, it exchanges about as many messages and says `done` and how many it were.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;

use super::program::{PATIENCE, Program, part, wait_for_events};
use super::raise_open_files;
use super::traffic::{Burst, Traffic};
use crate::Outcome;

/// Its word on the command line.
pub(crate) const PART: &str = "load";

const EVENTS: usize = 1024;
/// How much it reads at once, in bytes.
const READ: usize = 256 << 10;

/// The process, as a trial sees it.
#[derive(Debug)]
pub(crate) struct Load(Program);

impl Load {
    /// Connects; each connection has made one exchange when this returns.
    pub(crate) fn start(port: u16, traffic: &Traffic) -> Outcome<Self> {
        Self::ready(Program::start(&mut command(port, traffic))?)
    }

    /// As `start`, on a core of its own.
    pub(crate) fn start_on(core: usize, port: u16, traffic: &Traffic) -> Outcome<Self> {
        Self::ready(Program::start_on(core, &mut command(port, traffic))?)
    }

    fn ready(program: Program) -> Outcome<Self> {
        program.line()?;
        Ok(Self(program))
    }

    /// Exchanges about so many messages, the same number on each connection, and returns how many it were.
    pub(crate) fn exchange(&mut self, messages: u64) -> Outcome<u64> {
        self.0.say(&messages.to_string())?;
        let (_, done) = self.0.line()?;
        done.strip_prefix("done ").and_then(|count| count.parse().ok()).ok_or(done)
    }
}

fn command(port: u16, traffic: &Traffic) -> Command {
    let mut command = part(&[PART, &port.to_string()]);
    command.args(traffic.words());
    command
}

/// The process itself.
pub(crate) fn run(port: u16, traffic: &Traffic) -> Outcome {
    raise_open_files()?;
    talk(port, traffic).map_err(|error| format!("the load failed: {error}"))
}

fn talk(port: u16, traffic: &Traffic) -> io::Result<()> {
    let mut callers = Callers::new(port, traffic)?;
    callers.exchange(1)?;
    println!("ready");
    let at_once = traffic.connections * traffic.depth;
    for line in io::stdin().lines() {
        let messages: usize = line?.parse().map_err(io::Error::other)?;
        let bursts = messages.div_ceil(at_once).max(1);
        callers.exchange(bursts)?;
        println!("done {}", bursts * at_once);
    }
    Ok(())
}

struct Callers {
    common: Common,
    callers: Vec<Caller>,
}

/// What every caller uses.
struct Common {
    port: u16,
    traffic: Traffic,
    epoll: OwnedFd,
    burst: Burst,
    room: Vec<u8>,
}

impl Callers {
    fn new(port: u16, traffic: &Traffic) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let (burst, room) = (Burst::new(traffic), vec![0; READ]);
        let mut common = Common { port, traffic: *traffic, epoll, burst, room };
        let callers = (0..).take(traffic.connections).map(|number| Caller::new(number, &mut common));
        Ok(Self { callers: callers.collect::<io::Result<_>>()?, common })
    }

    /// Makes as many exchanges on behalf of each caller.
    fn exchange(&mut self, bursts: usize) -> io::Result<()> {
        for caller in &mut self.callers {
            caller.left = bursts;
            caller.begin(&mut self.common)?;
        }
        let mut talking = self.callers.len();
        let mut events = Vec::with_capacity(EVENTS);
        while talking > 0 {
            wait_for_events(&self.common.epoll, &mut events, Some(PATIENCE))?;
            if events.is_empty() {
                return Err(io::Error::other(format!("{talking} callers get no reply")));
            }
            for event in events.drain(..) {
                let number = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
                let (caller, flags) = (&mut self.callers[number], event.flags);
                if flags.contains(EventFlags::OUT) {
                    caller.go_on(&mut self.common)?;
                }
                if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR)
                    && caller.hear(&mut self.common)?
                {
                    talking -= 1;
                }
            }
        }
        Ok(())
    }
}

struct Caller {
    number: u32,
    /// None between two connections of a caller who calls anew each time.
    stream: Option<TcpStream>,
    /// How many messages were asked before those in flight.
    before: u64,
    /// How many exchanges have still to be completed.
    left: usize,
    /// How much of the burst went out, and how much came back, in bytes.
    said: usize,
    heard: usize,
    /// Waits for room for the rest of what it says.
    is_stuck: bool,
}

impl Caller {
    fn new(number: u32, common: &mut Common) -> io::Result<Self> {
        let mut caller =
            Self { number, stream: None, before: 0, left: 0, said: 0, heard: 0, is_stuck: false };
        if !common.traffic.churns {
            caller.stream = Some(caller.connect(common)?);
        }
        Ok(caller)
    }

    fn connect(&self, common: &Common) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, common.port))?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        epoll::add(&common.epoll, &stream, self.data(), EventFlags::IN)?;
        Ok(stream)
    }

    fn data(&self) -> EventData {
        EventData::new_u64(self.number.into())
    }

    /// Begins an exchange.
    fn begin(&mut self, common: &mut Common) -> io::Result<()> {
        (self.said, self.heard) = (0, 0);
        if self.stream.is_none() {
            self.stream = Some(self.connect(common)?);
        }
        self.go_on(common)
    }

    /// Says what is still to be said, as far as there is room for it.
    fn go_on(&mut self, common: &mut Common) -> io::Result<()> {
        let data = self.data();
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let asked = common.burst.asked(self.number, self.before);
        match stream.write(&asked[self.said..]) {
            Ok(count) => self.said += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let is_stuck = self.said < asked.len();
        if is_stuck != self.is_stuck {
            self.is_stuck = is_stuck;
            let flags = if is_stuck { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(&common.epoll, stream, data, flags)?;
        }
        Ok(())
    }

    /// Reads what has come, and goes on when it is all; true when the last answer has come.
    fn hear(&mut self, common: &mut Common) -> io::Result<bool> {
        let Some(stream) = &mut self.stream else { return Ok(false) };
        let heard = match stream.read(&mut common.room) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => &common.room[..count],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let expected = common.burst.answered(self.number, self.before);
        if !expected[self.heard..].starts_with(heard) || self.left == 0 {
            return Err(io::Error::other(format!("connection {} got a wrong reply", self.number)));
        }
        self.heard += heard.len();
        if self.heard < expected.len() {
            return Ok(false);
        }
        self.before += common.traffic.depth as u64;
        self.left -= 1;
        if common.traffic.churns {
            self.stream = None;
        }
        if self.left > 0 {
            self.begin(common)?;
        }
        Ok(self.left == 0)
    }
}
