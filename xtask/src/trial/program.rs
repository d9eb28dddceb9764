//! A program under trial: started, heard, stopped. It never outlives its trial.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::proc::children;
use crate::Outcome;

/// Far longer than anything here takes: what has not come by then will not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How many lines of a program wait for being heard before it has to wait for that.
const LINES_MAX: usize = 10_000;

/// What a program says, line by line, each with the time at which it came.
pub(crate) type Lines = Receiver<(Instant, String)>;

/// A process; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    child: Child,
    lines: Lines,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().display().to_string();
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
        let stdout = child.stdout.take().ok_or("a stdout that is no pipe")?;
        Ok(Self { name, child, lines: listen(stdout) })
    }

    /// Starts it on one core, where its threads then stay.
    pub(crate) fn start_on(core: usize, command: &mut Command) -> Outcome<Self> {
        let cannot_pin = |error| format!("cannot pin a process to core {core}: {error}");
        let ours = sched_getaffinity(None).map_err(cannot_pin)?;
        let mut its = CpuSet::new();
        its.set(core);
        // A process starts on the cores of whoever starts it.
        sched_setaffinity(None, &its).map_err(cannot_pin)?;
        let started = Self::start(command);
        sched_setaffinity(None, &ours).map_err(cannot_pin)?;
        started
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The next line that it prints, and when that came.
    pub(crate) fn line(&self) -> Outcome<(Instant, String)> {
        self.lines.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("{} says nothing", self.name),
            RecvTimeoutError::Disconnected => format!("{} has ended", self.name),
        })
    }

    /// A line that it has printed and nobody has heard yet, if there is one.
    pub(crate) fn heard(&self) -> Outcome<Option<String>> {
        match self.lines.try_recv() {
            Ok((_, line)) => Ok(Some(line)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(format!("{} has ended", self.name)),
        }
    }

    /// Says something to a program that was started with a pipe for its stdin.
    pub(crate) fn say(&mut self, line: &str) -> Outcome {
        let stdin = self.child.stdin.as_mut().ok_or("a stdin that is no pipe")?;
        writeln!(stdin, "{line}").map_err(|error| format!("{} does not listen: {error}", self.name))
    }

    /// What it says on stderr, if that is a pipe.
    pub(crate) fn errors(&mut self) -> Outcome<Lines> {
        Ok(listen(self.child.stderr.take().ok_or("a stderr that is no pipe")?))
    }

    /// Waits for its end, and fails unless that is in order.
    pub(crate) fn end(mut self) -> Outcome {
        // The end of what it prints is its end, as far as that can be waited for with a limit.
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Err(format!("{} does not end", self.name)),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.bury()
    }

    fn bury(&mut self) -> Outcome {
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{} ended with {status}", self.name)),
            Err(error) => Err(format!("{} cannot be waited for: {error}", self.name)),
        }
    }

    /// Asks it to stop, and sees to it that it does.
    pub(crate) fn stop(mut self) -> Outcome {
        let cannot_stop = |error| format!("cannot stop the program: {error}");
        let end = pidfd_open(self.pid(), PidfdFlags::empty()).map_err(cannot_stop)?;
        kill_process(self.pid(), Signal::TERM).map_err(cannot_stop)?;
        let ended = poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&timespec(PATIENCE)));
        if ended.map_err(cannot_stop)? == 0 {
            return Err(format!("{} does not stop", self.name));
        }
        // It has ended; under strace, a moment may pass until it is ours to bury.
        self.bury()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What it keeps would serve on without it. All fail for one that has ended, which is as good.
        let kept = children(self.pid());
        let _ = self.child.kill();
        let _ = self.child.wait();
        for child in kept {
            let _ = kill_process(child, Signal::KILL);
        }
    }
}

/// A running server, and its port.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) program: Program,
    pub(crate) port: u16,
    /// When it said its port.
    pub(crate) ready: Instant,
}

impl Served {
    /// Starts `landline serve` on a free port.
    pub(crate) fn start(arguments: &[&str]) -> Outcome<Self> {
        Self::hear(Program::start(&mut serve(arguments))?)
    }

    /// Waits for a server that has been started to say its port.
    pub(crate) fn hear(program: Program) -> Outcome<Self> {
        let (ready, line) = program.line()?;
        let port = line.parse().map_err(|_| format!("no port: {line}"))?;
        Ok(Self { program, port, ready })
    }

    /// The process that serves: that which was started, or the one that it keeps.
    pub(crate) fn pid(&self) -> Pid {
        children(self.program.pid()).first().copied().unwrap_or(self.program.pid())
    }

    pub(crate) fn call(&self) -> Outcome<Caller> {
        Caller::connect(self.port)
    }

    pub(crate) fn stop(self) -> Outcome {
        self.program.stop()
    }
}

/// A caller with blocking calls.
#[derive(Debug)]
pub(crate) struct Caller(TcpStream);

impl Caller {
    pub(crate) fn connect(port: u16) -> Outcome<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let connected = TcpStream::connect_timeout(&address, PATIENCE).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(Self(stream))
        });
        connected.map_err(|error| format!("cannot connect: {error}"))
    }

    pub(crate) fn say(&mut self, text: &str) -> Outcome {
        self.0.write_all(text.as_bytes()).map_err(|error| format!("cannot send: {error}"))
    }

    /// What the server says to the end of the stream, or as much of it as `expected` is long.
    pub(crate) fn hear(&mut self, expected: &str) -> Outcome<String> {
        let mut heard = String::new();
        let mut stream = (&self.0).take(expected.len() as u64);
        stream.read_to_string(&mut heard).map_err(|error| format!("no reply: {error}"))?;
        Ok(heard)
    }

    /// What the server says to the end of the stream.
    pub(crate) fn hear_out(&mut self) -> Outcome<String> {
        let mut heard = String::new();
        self.0.read_to_string(&mut heard).map_err(|error| format!("no reply: {error}"))?;
        Ok(heard)
    }

    /// Asks, and insists on the right answer.
    pub(crate) fn ask(&mut self, question: &str, answer: &str) -> Outcome {
        self.say(question)?;
        let heard = self.hear(answer)?;
        if heard == answer { Ok(()) } else { Err(format!("{question:?} was answered with {heard:?}")) }
    }
}

/// A port that nobody listens on, for servers that can't say which one they were given.
pub(crate) fn free_port() -> Outcome<u16> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    free.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

/// The command line of a server on a free port.
pub(crate) fn serve(arguments: &[&str]) -> Command {
    serve_with(built("landline"), arguments)
}

/// As `serve`, by any build of the program.
pub(crate) fn serve_with(program: PathBuf, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["serve", "0", "--print-port"]).args(arguments).stdin(Stdio::null());
    command
}

/// A part of this program, in its release build: one that is slow itself measures itself.
pub(crate) fn part(words: &[&str]) -> Command {
    let mut command = Command::new(built("xtask"));
    command.arg("part").args(words).stdin(Stdio::piped());
    command
}

/// A program of the release build, wherever this build's directory is.
pub(crate) fn built(name: &str) -> PathBuf {
    let ours = env::current_exe().unwrap_or_default();
    let target = ours.ancestors().nth(2).unwrap_or(Path::new("target"));
    target.join("release").join(name)
}

/// Lets time pass.
pub(crate) fn pause(time: Duration) {
    // Nothing can happen to no descriptors but the end of the time, or a signal, which ends this program.
    let _ = poll(&mut [], Some(&timespec(time)));
}

pub(crate) fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() }
}

/// Waits for events; a signal, as when a process is stopped and goes on, brings none.
pub(crate) fn wait_for_events(
    epoll: impl AsFd,
    events: &mut Vec<epoll::Event>,
    time: Option<Duration>,
) -> io::Result<()> {
    let time = time.map(timespec);
    loop {
        match epoll::wait(&epoll, spare_capacity(events), time.as_ref()) {
            Err(Errno::INTR) => {}
            waited => return Ok(waited.map(drop)?),
        }
    }
}

/// Hears lines on a thread of their own, until they end or nobody wants them any more.
fn listen(stream: impl Read + Send + 'static) -> Lines {
    let (sender, lines) = sync_channel(LINES_MAX);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    lines
}
