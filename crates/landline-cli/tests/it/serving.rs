//! `landline serve` as a child process, and the callers that the tests play: with blocking calls, as in the
//! tutorials.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{GUARD, in_time, landline};

/// Names the server in the environment of all its processes: whichever of them is killed, the others go on, and
/// whose children they are by then says nothing.
const MARK: &str = "SERVING";

/// More lines than any test makes the program write.
const LINES_MAX: usize = 100_000;

/// `landline serve` with `flags`, on a free port that it prints.
pub(crate) fn command(flags: &[&str]) -> Command {
    let mut command = landline(["serve", "0", "--print-port"]);
    command.args(flags).stderr(Stdio::piped());
    command
}

/// Starts `landline serve` with `flags`.
pub(crate) fn serve(flags: &[&str]) -> Serving {
    Serving::start(command(flags))
}

/// `landline serve`, started by a shell that runs `script`, in which `"$@"` is the program and its arguments.
pub(crate) fn by_shell(script: &str, flags: &[&str]) -> Command {
    let server = command(flags);
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(server.get_program()).args(server.get_args());
    shell.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.stderr(Stdio::piped());
    shell
}

/// A server that runs; it is killed when a test fails before its end.
pub(crate) struct Serving {
    child: Option<Child>,
    mark: String,
    pub(crate) address: SocketAddr,
    printed: Receiver<String>,
    log: Receiver<String>,
    said: Vec<String>,
}

/// How a server ended, and all it had said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    /// On stdout, after the port.
    pub(crate) printed: Vec<String>,
    /// On stderr.
    pub(crate) said: Vec<String>,
}

impl Serving {
    /// Starts a command that prints its port, and waits until it has.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::start_with_its_stdin(command)
    }

    /// The same, with whatever the command has for its stdin.
    pub(crate) fn start_with_its_stdin(command: Command) -> Self {
        Self::attempt(command).unwrap_or_else(|ended| panic!("it printed no port: {ended:?}"))
    }

    /// The same; a server that prints no port is how it ended.
    pub(crate) fn attempt(mut command: Command) -> Result<Self, Ended> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", process::id(), STARTED.fetch_add(1, Relaxed));
        let mut child = command.env(MARK, &mark).stdout(Stdio::piped()).spawn().unwrap();
        // Whoever holds the other end of a pipe that was put there by the test would hide its end.
        drop(command);
        let printed = lines(child.stdout.take());
        let log = lines(child.stderr.take());
        let address = ([127, 0, 0, 1], 0).into();
        let mut serving = Self { child: Some(child), mark, address, printed, log, said: Vec::new() };
        let Ok(port) = serving.printed.recv_timeout(GUARD) else { return Err(serving.ended()) };
        serving.address.set_port(port.parse().unwrap());
        Ok(serving)
    }

    pub(crate) fn call(&self) -> Caller {
        Caller::connect(self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Waits for a line of the log with `text` in it, and returns it.
    pub(crate) fn says(&mut self, text: &str) -> String {
        loop {
            let line = self.log.recv_timeout(GUARD);
            let line = line.unwrap_or_else(|_| panic!("no line has {text:?}: {:#?}", self.said));
            self.said.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    /// The process that serves: what was started keeps it, unless it was told to serve itself.
    pub(crate) fn serving_id(&self) -> u32 {
        let started = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.id())).unwrap();
        // One that has ended may still be on the list, and it is the older.
        started.split_whitespace().last().map_or(self.id(), |child| child.parse().unwrap())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Stops it, and waits for its end.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.end()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        self.ended()
    }

    fn ended(&mut self) -> Ended {
        let mut child = self.child.take().unwrap();
        let id = child.id();
        let status = in_time(move || child.wait().unwrap()).unwrap_or_else(|| {
            crate::support::kill(id);
            panic!("the server did not end: {:#?}", self.said)
        });
        let said = std::mem::take(&mut self.said).into_iter().chain(rest(&self.log)).collect();
        let ended = Ended { code: status.code().unwrap_or(-1), printed: rest(&self.printed), said };
        assert_ne!(ended.code, -1, "ended by a signal: {ended:?}");
        ended
    }

    /// How much memory of its own, and that it shares with its keeper, it has in use, in KiB: program text,
    /// which comes in as it is used, does not count.
    pub(crate) fn memory(&self) -> usize {
        let sums = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.serving_id())).unwrap();
        let of = |kind: &str| -> usize {
            let line = sums.lines().find_map(|line| line.strip_prefix(kind)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        of("Anonymous:") + of("Pss_Shmem:")
    }

    /// How much processor time it has used.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.serving_id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // utime and stime: fields 14 and 15, of which two stand before the closing parenthesis.
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            stop_all(&self.mark);
            // Before it is waited for: whoever traces it stands still, too.
            end_all(&self.mark);
            // It may have ended by itself, which is as good.
            let _ = child.kill();
            let _ = child.wait();
        } else if thread::panicking() {
            end_all(&self.mark);
        }
    }
}

/// Has all processes of a server stand still, so that none takes the place of one that is killed.
fn stop_all(mark: &str) {
    // One that was just being started is there the second time.
    for _ in 0..2 {
        for id in marked(mark) {
            let _ = kill_process(id, Signal::STOP);
        }
    }
}

/// Kills all processes of a server. Some of them start others when one is killed, and one that just becomes another
/// program has no environment for a moment; so none are left only when twice none was found.
fn end_all(mark: &str) {
    let (mut rounds_without, mut rounds) = (0, 0);
    while rounds_without < 2 && rounds < 1000 {
        let found = marked(mark);
        rounds_without = if found.is_empty() { rounds_without + 1 } else { 0 };
        rounds += 1;
        for id in found {
            let _ = kill_process(id, Signal::KILL);
        }
    }
}

fn marked(mark: &str) -> Vec<Pid> {
    let variable = format!("{MARK}={mark}");
    let has_it = |id: &i32| {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes())
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    ids.filter(has_it).filter_map(Pid::from_raw).collect()
}

impl Ended {
    /// How many lines of the log have `text` in them.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.said.iter().filter(|line| line.contains(text)).count()
    }

    /// Checks that it stopped in order, with nobody cut.
    pub(crate) fn in_order(self) {
        assert_eq!(self.code, 0, "{self:#?}");
        assert!(self.printed.is_empty(), "{self:#?}");
    }
}

/// The lines of a pipe, as they come; bytes that are no UTF-8 would be a fault.
pub(crate) fn lines(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, lines) = sync_channel(LINES_MAX);
    let Some(pipe) = pipe else { return lines };
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            if sender.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    lines
}

/// What a pipe still holds, up to its end.
fn rest(lines: &Receiver<String>) -> Vec<String> {
    let mut rest = Vec::new();
    loop {
        match lines.recv_timeout(GUARD) {
            Ok(line) => rest.push(line),
            Err(RecvTimeoutError::Disconnected) => return rest,
            Err(RecvTimeoutError::Timeout) => panic!("the pipe did not end: {rest:#?}"),
        }
    }
}

/// A caller with blocking calls.
pub(crate) struct Caller(pub(crate) TcpStream);

impl Caller {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(GUARD)).unwrap();
        stream.set_write_timeout(Some(GUARD)).unwrap();
        Self(stream)
    }

    /// As the server's log names it.
    pub(crate) fn name(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    pub(crate) fn says(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads as many bytes as are expected, and compares.
    pub(crate) fn hears(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut heard = vec![0; expected.len()];
        self.0.read_exact(&mut heard).unwrap();
        assert_eq!(heard.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    pub(crate) fn asks(&mut self, message: &str) {
        self.says(message);
        self.hears(message.to_ascii_uppercase());
    }

    /// Whether it is let in and gets an answer. Whoever comes a moment too early is told `busy`, and may see
    /// a reset for having spoken.
    pub(crate) fn gets_an_answer(mut self) -> bool {
        self.is_answered()
    }

    /// Whether it gets an answer, or else was closed or reset.
    pub(crate) fn is_answered(&mut self) -> bool {
        let mut heard = [0; 5];
        let spoken = self.0.write_all(b"hello");
        spoken.and_then(|()| self.0.read_exact(&mut heard)).is_ok() && heard == *b"HELLO"
    }

    pub(crate) fn hears_nothing_for(&mut self, time: Duration) {
        self.0.set_read_timeout(Some(time)).unwrap();
        let outcome = self.0.read(&mut [0]);
        assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
        self.0.set_read_timeout(Some(GUARD)).unwrap();
    }

    pub(crate) fn half_closes(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads exactly `expected` and then the end; a reset fails.
    pub(crate) fn hears_out(&mut self, expected: impl AsRef<[u8]>) {
        let mut heard = Vec::new();
        self.0.read_to_end(&mut heard).unwrap();
        assert_eq!(heard.escape_ascii().to_string(), expected.as_ref().escape_ascii().to_string());
    }

    /// Closes with an RST.
    pub(crate) fn resets(self) {
        crate::support::reset(self.0);
    }
}
