//! What a gigabyte through `landline call` costs as a pipe, in CPU time and in time, next to ncat and socat.
//!
//! Up, this process feeds a pipe and its own server counts what arrives; down, its server sends and it counts
//! what comes out of the pipe. So what the kernel counts of ended processes is that of the client alone. A byte
//! too few or too many fails the run.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use super::duel::{Contest, Side};
use super::figures::median;
use super::proc::cpu_of_ended;
use super::program::built;
use super::report::Report;
use crate::Outcome;
use crate::packages::{Need, provide};

const NEEDS: &[Need] = &[
    Need { program: "ncat", package: "ncat", reason: "a client to compare with" },
    Need { program: "socat", package: "socat", reason: "another one" },
];
const LEN: u64 = 1 << 30;
const CHUNK: usize = 256 * 1024;
/// Rounds of A B B A and A: 6 pairs.
const ROUNDS: usize = 3;
const BOUND: f64 = 1.0;

#[derive(Debug, Clone, Copy)]
enum Way {
    Up,
    Down,
}

pub(super) fn run(report: &mut Report) -> Outcome {
    provide(NEEDS)?;
    report.tell(format!("{} MiB a run, from a pipe to a socket and from a socket to a pipe", LEN >> 20));
    for (way, named) in [(Way::Up, "up"), (Way::Down, "down")] {
        for rival in ["ncat", "socat"] {
            let (mut cpu, mut wall) = (Contest::default(), Contest::default());
            for _ in 0..ROUNDS {
                let mut times = Vec::new();
                cpu.round(|side| {
                    let client = if matches!(side, Side::A) { rival } else { "landline" };
                    let (cost, time) = pass(way, client)?;
                    times.push(time);
                    Ok(cost)
                })?;
                let mut times = times.into_iter();
                wall.round(|_| times.next().ok_or_else(|| "a run without its time".to_owned()))?;
            }
            for (contest, what) in [(&cpu, "CPU time"), (&wall, "time")] {
                report.tell(format!("{named}, {what}:"));
                contest.tell(report, [rival, "landline"], "ms");
                let what = format!("{named}, {what}: landline to {rival}, median");
                report.at_most(&what, median(&contest.ratios), BOUND, "");
            }
        }
    }
    Ok(())
}

/// Milliseconds of CPU time and of time that passed, for one run.
fn pass(way: Way, client: &str) -> Outcome<(f64, f64)> {
    let failed = |error: io::Error| format!("{client}: {error}");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let (before, begun) = (cpu_of_ended()?, Instant::now());
    let (moved, mut child) = match way {
        Way::Up => up(&listener, command(client, port)),
        Way::Down => down(&listener, command(client, port)),
    }
    .map_err(failed)?;
    let status = child.wait().map_err(failed)?;
    let (time, cpu) = (begun.elapsed().as_secs_f64() * 1e3, (cpu_of_ended()? - before) / 1e6);
    if moved == LEN && status.success() {
        Ok((cpu, time))
    } else {
        Err(format!("{client} passed {moved} of {LEN} bytes and ended with {status}"))
    }
}

fn command(client: &str, port: u16) -> Command {
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(if client == "landline" { built(client) } else { client.into() });
    match client {
        "landline" => command.args(["call", &address]),
        "ncat" => command.args(["127.0.0.1", &port.to_string()]),
        // By itself it waits for half a second after the end of stdin, and no longer.
        _ => command.args(["-t", "60", "-", &format!("TCP:{address}")]),
    };
    command
}

fn up(listener: &TcpListener, mut command: Command) -> io::Result<(u64, Child)> {
    let (reader, writer): (PipeReader, PipeWriter) = io::pipe()?;
    let child = command.stdin(reader).stdout(Stdio::null()).spawn()?;
    // The end of a pipe that the command keeps would keep it open.
    drop(command);
    let feeder = thread::spawn(move || say(writer));
    let (stream, _) = listener.accept()?;
    let heard = hear(stream)?;
    feeder.join().map_err(|_| io::Error::other("the feeder failed"))??;
    Ok((heard, child))
}

fn down(listener: &TcpListener, mut command: Command) -> io::Result<(u64, Child)> {
    let (reader, writer) = io::pipe()?;
    let child = command.stdin(Stdio::null()).stdout(writer).spawn()?;
    drop(command);
    let (stream, _): (TcpStream, _) = listener.accept()?;
    let talker = thread::spawn(move || say(stream));
    let heard = hear(reader)?;
    talker.join().map_err(|_| io::Error::other("the talker failed"))??;
    Ok((heard, child))
}

fn say(mut to: impl Write) -> io::Result<()> {
    let chunk = vec![b'x'; CHUNK];
    for _ in 0..LEN / CHUNK as u64 {
        to.write_all(&chunk)?;
    }
    Ok(())
}

fn hear(mut from: impl Read) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut heard = 0;
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(heard),
            count => heard += count as u64,
        }
    }
}
