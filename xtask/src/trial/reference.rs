//! The least that a server can do: a bare epoll loop that answers in upper case. What landline costs is told
//! next to it.
//!
//! One thread, level-triggered, one read into one buffer, one write from another. No limits, no time, no
//! order at the end.
//!
//! Another thread sleeps beside it, unless it is to be alone: once threads share the descriptors, the kernel
//! counts who uses one at each system call, and no server for more than one core is without.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;

use super::program::wait_for_events;
use super::raise_open_files;
use super::upper::{Cut, READ, Upper, output};
use crate::Outcome;

/// Its word on the command line.
pub(crate) const PART: &str = "reference-epoll";
/// The same without the thread that sleeps.
pub(crate) const PART_ALONE: &str = "reference-epoll-alone";

/// How many events one wait brings at most; tokio has the same.
const EVENTS: usize = 1024;

/// Serves on a free port, which it prints, until it is killed.
pub(crate) fn run(cut: Cut) -> Outcome {
    raise_open_files()?;
    serve(cut).map_err(|error| format!("the reference server failed: {error}"))
}

/// Starts a thread that sleeps.
pub(crate) fn keep_company() {
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
}

fn serve(cut: Cut) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    watch(&epoll, &listener)?;
    // Indexed by descriptor.
    let mut connections: Vec<Option<(TcpStream, Upper)>> = Vec::new();
    let (mut input, mut output) = (vec![0; READ], output());
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        wait_for_events(&epoll, &mut events, None)?;
        for event in events.drain(..) {
            let place = index(event.data.u64());
            match connections.get_mut(place) {
                Some(Some((connection, upper))) => {
                    if !answer(connection, upper, &mut input, &mut output) {
                        connections[place] = None;
                    }
                }
                _ => accept(&listener, &epoll, cut, &mut connections)?,
            }
        }
    }
}

/// Reads once and writes once; false when the connection is over.
fn answer(connection: &mut TcpStream, upper: &mut Upper, input: &mut [u8], output: &mut [u8]) -> bool {
    let Ok(count @ 1..) = connection.read(input) else {
        return false;
    };
    match upper.answer(&input[..count], output) {
        Some(0) => true,
        // A peer that does not take it all is none that this server is for.
        Some(said) => connection.write(&output[..said]).is_ok_and(|written| written == said),
        None => false,
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &OwnedFd,
    cut: Cut,
    connections: &mut Vec<Option<(TcpStream, Upper)>>,
) -> io::Result<()> {
    loop {
        let connection = match listener.accept() {
            Ok((connection, _)) => connection,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        connection.set_nonblocking(true)?;
        connection.set_nodelay(true)?;
        watch(epoll, &connection)?;
        let place = index(number(&connection));
        if connections.len() <= place {
            connections.resize_with(place + 1, || None);
        }
        connections[place] = Some((connection, Upper::new(cut)));
    }
}

fn watch(epoll: &OwnedFd, socket: &(impl AsRawFd + std::os::fd::AsFd)) -> io::Result<()> {
    Ok(epoll::add(epoll, socket, EventData::new_u64(number(socket)), EventFlags::IN)?)
}

fn number(socket: &impl AsRawFd) -> u64 {
    // A descriptor that is open is no negative number.
    socket.as_raw_fd().try_into().unwrap_or(u64::MAX)
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
