//! Callers by the hundred: one message in flight on each connection, and every reply verified byte for byte.
//!
//! It is a process of its own, in the release build and on one thread, so that it neither shares the server's
//! core nor holds it up. It says `ready` when every connection has exchanged one message; then, for each
//! number on its stdin, it exchanges about as many messages and says `done` and how many it were.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;

use super::program::{PATIENCE, Program, part, timespec};
use super::raise_open_files;
use crate::Outcome;

/// Its word on the command line.
pub(super) const PART: &str = "load";

/// How long a message is, in bytes.
pub(super) const MESSAGE: usize = 64;
const EVENTS: usize = 1024;

/// The process, as a trial sees it.
#[derive(Debug)]
pub(super) struct Load(Program);

impl Load {
    /// Connects; each connection has exchanged one message when this returns.
    pub(super) fn start(port: u16, connections: usize) -> Outcome<Self> {
        Self::ready(Program::start(&mut command(port, connections))?)
    }

    /// As `start`, on a core of its own.
    pub(super) fn start_on(core: usize, port: u16, connections: usize) -> Outcome<Self> {
        Self::ready(Program::start_on(core, &mut command(port, connections))?)
    }

    fn ready(program: Program) -> Outcome<Self> {
        program.line()?;
        Ok(Self(program))
    }

    /// Exchanges about so many messages, the same number on each connection, and returns how many it were.
    pub(super) fn exchange(&mut self, messages: u64) -> Outcome<u64> {
        self.0.say(&messages.to_string())?;
        let (_, done) = self.0.line()?;
        done.strip_prefix("done ").and_then(|count| count.parse().ok()).ok_or(done)
    }
}

fn command(port: u16, connections: usize) -> std::process::Command {
    part(&[PART, &port.to_string(), &connections.to_string()])
}

/// The process itself.
pub(super) fn run(port: u16, connections: usize) -> Outcome {
    raise_open_files()?;
    talk(port, connections).map_err(|error| format!("the load failed: {error}"))
}

fn talk(port: u16, connections: usize) -> io::Result<()> {
    let mut callers = Callers::connect(port, connections)?;
    callers.exchange(1)?;
    println!("ready");
    for line in io::stdin().lines() {
        let messages: usize = line?.parse().map_err(io::Error::other)?;
        let each = messages / connections;
        callers.exchange(each)?;
        println!("done {}", each * connections);
    }
    Ok(())
}

struct Callers {
    epoll: OwnedFd,
    callers: Vec<Caller>,
}

impl Callers {
    fn connect(port: u16, count: usize) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut callers = Vec::with_capacity(count);
        for number in 0..count as u64 {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            epoll::add(&epoll, &stream, EventData::new_u64(number), EventFlags::IN)?;
            callers.push(Caller { stream, number, said: 0, left: 0, heard: [0; MESSAGE], length: 0 });
        }
        Ok(Self { epoll, callers })
    }

    /// Exchanges as many messages on each connection.
    fn exchange(&mut self, each: usize) -> io::Result<()> {
        if each == 0 {
            return Ok(());
        }
        for caller in &mut self.callers {
            caller.left = each;
            caller.say()?;
        }
        let mut talking = self.callers.len();
        let mut events = Vec::with_capacity(EVENTS);
        while talking > 0 {
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timespec(PATIENCE)))?;
            if events.is_empty() {
                return Err(io::Error::other(format!("{talking} callers get no reply")));
            }
            for event in events.drain(..) {
                let number = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
                if self.callers[number].hear()? {
                    talking -= 1;
                }
            }
        }
        Ok(())
    }
}

struct Caller {
    stream: TcpStream,
    number: u64,
    /// How many messages went out.
    said: u64,
    /// How many replies have still to come.
    left: usize,
    heard: [u8; MESSAGE],
    length: usize,
}

impl Caller {
    fn say(&mut self) -> io::Result<()> {
        self.said += 1;
        // With one message in flight there is always room for it.
        self.stream.write_all(&message(self.number, self.said))
    }

    /// Reads what has come, and goes on when it is the whole reply; true when the last one has come.
    fn hear(&mut self) -> io::Result<bool> {
        match self.stream.read(&mut self.heard[self.length..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.length += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if self.length < MESSAGE {
            return Ok(false);
        }
        if self.heard != message(self.number, self.said).map(|byte| byte.to_ascii_uppercase()) {
            return Err(io::Error::other(format!("connection {} got a wrong reply", self.number)));
        }
        self.length = 0;
        self.left -= 1;
        if self.left > 0 {
            self.say()?;
        }
        Ok(self.left == 0)
    }
}

/// A message that no other connection sends, and this one only once.
fn message(connection: u64, sequence: u64) -> [u8; MESSAGE] {
    const HALF: usize = 16;
    let mut message = [b'x'; MESSAGE];
    let letter = |number: u64, place: usize| b'a' + u8::try_from(number >> (4 * place) & 15).unwrap_or(0);
    for place in 0..HALF {
        message[place] = letter(connection, place);
        message[HALF + place] = letter(sequence, place);
    }
    message
}

#[test]
fn no_two_messages_are_the_same_and_all_are_changed_by_upper_case() {
    let messages = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 16), (u64::MAX, 1)].map(|(c, s)| message(c, s));
    for (place, message) in messages.iter().enumerate() {
        assert!(message.iter().all(u8::is_ascii_lowercase));
        assert!(messages[..place].iter().all(|other| other != message));
    }
}
