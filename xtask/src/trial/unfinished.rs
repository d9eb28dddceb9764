//! Callers by the thousand who never finish their second line: a byte now and a byte then, until they are
//! closed.
//!
//! They are a process of their own, so that whoever is measured beside them has a thread to itself. It says
//! `ready` when everybody has sent a first byte, and when everybody has been closed, `closed`, how many saw
//! the end of the stream, and after how many milliseconds from the first byte: the least and the most.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::process::setpriority_process;

use super::program::{PATIENCE, Program, part, timespec};
use super::raise_open_files;
use crate::Outcome;

/// Its word on the command line.
pub(super) const PART: &str = "unfinished";

/// How often each of them sends a byte.
pub(super) const BYTE_EVERY: Duration = Duration::from_secs(10);
const EVENTS: usize = 1024;
/// The nice value of a process that runs when nobody else wants to.
const LEAST_URGENT: i32 = 19;

/// The process, as a trial sees it.
#[derive(Debug)]
pub(super) struct Unfinished(Program);

/// What became of all of them.
#[derive(Debug)]
pub(super) struct Closed {
    /// How many saw the end of the stream, and nothing before it.
    pub(super) in_order: u64,
    /// How long after its first byte the first and the last of them was closed.
    pub(super) least: Duration,
    pub(super) most: Duration,
}

impl Unfinished {
    /// Connects so many; each has sent a byte when this returns.
    pub(super) fn start(port: u16, callers: usize) -> Outcome<Self> {
        let program = Program::start(&mut part(&[PART, &port.to_string(), &callers.to_string()]))?;
        program.line()?;
        Ok(Self(program))
    }

    /// What became of them, once everybody has been closed.
    pub(super) fn closed(&self) -> Outcome<Option<Closed>> {
        let Some(line) = self.0.heard()? else { return Ok(None) };
        let mut numbers = line.split(' ').skip(1).map_while(|word| word.parse().ok());
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(in_order), Some(least), Some(most)) => Ok(Some(Closed {
                in_order,
                least: Duration::from_millis(least),
                most: Duration::from_millis(most),
            })),
            _ => Err(line),
        }
    }
}

/// The process itself.
pub(super) fn run(port: u16, callers: usize) -> Outcome {
    raise_open_files()?;
    // They would be on other machines: what they do with being closed is not to hold up anybody here.
    setpriority_process(None, LEAST_URGENT).map_err(|error| format!("cannot be less urgent: {error}"))?;
    talk(port, callers).map_err(|error| format!("the callers failed: {error}"))
}

fn talk(port: u16, count: usize) -> io::Result<()> {
    let mut crowd = Crowd::connect(port, count)?;
    println!("ready");
    while crowd.open > 0 {
        crowd.say()?;
        crowd.hear()?;
    }
    let ends = || crowd.ends.iter().map(Duration::as_millis);
    let (least, most) = (ends().min().unwrap_or(0), ends().max().unwrap_or(0));
    println!("closed {} {least} {most}", crowd.ends.len());
    Ok(())
}

struct Crowd {
    epoll: OwnedFd,
    /// Those that are open, in the order in which they began.
    callers: Vec<Option<Caller>>,
    open: usize,
    /// Who sends the next byte.
    next: usize,
    /// How long those lasted that were closed in order.
    ends: Vec<Duration>,
}

struct Caller {
    stream: TcpStream,
    begun: Instant,
    /// When its next byte is due.
    due: Instant,
}

impl Crowd {
    fn connect(port: u16, count: usize) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut callers = Vec::with_capacity(count);
        for number in 0..count as u64 {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            // Whoever has been answered has been let in: its byte does not wait in the kernel for that.
            stream.write_all(b"hello\n")?;
            stream.read_exact(&mut [0; b"HELLO\n".len()])?;
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, EventData::new_u64(number), EventFlags::IN)?;
            stream.write_all(b"x")?;
            let begun = Instant::now();
            callers.push(Some(Caller { stream, begun, due: begun + BYTE_EVERY }));
        }
        Ok(Self { epoll, callers, open: count, next: 0, ends: Vec::new() })
    }

    /// Sends the bytes that are due. All wait equally long, so they are due in turn.
    fn say(&mut self) -> io::Result<()> {
        for _ in 0..self.callers.len() {
            if let Some(caller) = &mut self.callers[self.next] {
                if caller.due > Instant::now() {
                    break;
                }
                // Somebody who is being closed just now may send in vain.
                match caller.stream.write(b"x") {
                    Err(error) if !is_end(&error) => return Err(error),
                    _ => caller.due += BYTE_EVERY,
                }
            }
            self.next = (self.next + 1) % self.callers.len();
        }
        Ok(())
    }

    /// Waits for ends until the next byte is due.
    fn hear(&mut self) -> io::Result<()> {
        let next = self.callers[self.next].as_ref();
        let wait = next.map_or(PATIENCE, |caller| caller.due.saturating_duration_since(Instant::now()));
        let mut events = Vec::with_capacity(EVENTS);
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timespec(wait)))?;
        for event in events {
            let number = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
            let Some(mut caller) = self.callers[number].take() else { continue };
            self.open -= 1;
            match caller.stream.read(&mut [0]) {
                Ok(0) => self.ends.push(caller.begun.elapsed()),
                Ok(_) => return Err(io::Error::other("an answer to what was not finished")),
                Err(error) if is_end(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether a connection was reset, which is an end too, but not the one that is promised.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
