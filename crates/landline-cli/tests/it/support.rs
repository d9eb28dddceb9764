//! Naive servers, and the program as a child process. Every wait has a guard, so that a test fails instead of
//! hanging.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

/// Far longer than anything here takes, even on a busy machine.
pub(crate) const GUARD: Duration = Duration::from_secs(30);

/// The program with `args`, in an environment that does not depend on who runs the tests.
pub(crate) fn landline<const N: usize>(args: [&str; N]) -> Command {
    static PROGRAMS: AtomicUsize = AtomicUsize::new(0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_landline"));
    for name in ["CARGO", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "LC_CTYPE", "LANG"] {
        command.env_remove(name);
    }
    // Servers of these tests are found by these tests only.
    command.env("XDG_RUNTIME_DIR", runtime_folder());
    // So is what was typed in them, each for itself.
    let state = format!("state-{}", PROGRAMS.fetch_add(1, Relaxed));
    command.env("XDG_STATE_HOME", runtime_folder().join(state));
    command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm").args(args);
    command
}

/// A folder for the control sockets of this test run; its path is short, because a socket's has to be. Those
/// of runs that are over are taken away.
fn runtime_folder() -> &'static std::path::Path {
    const PREFIX: &str = "landline-run-";
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
            let name = entry.file_name();
            let run = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if run.is_some_and(|run| !std::path::Path::new("/proc").join(run).exists()) {
                // Another run may be faster.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let folder = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    })
}

/// Runs the program to its end with `stdin` and returns what it printed.
pub(crate) fn run(mut command: Command, stdin: impl Into<Stdio>) -> Output {
    wait(command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Waits for the end of the program and returns what it printed.
pub(crate) fn wait(child: Child) -> Output {
    let id = child.id();
    in_time(move || child.wait_with_output().unwrap()).unwrap_or_else(|| {
        kill(id);
        panic!("the program did not end")
    })
}

/// A stdin that gives `bytes` and then ends.
pub(crate) fn given(bytes: impl Into<Vec<u8>>) -> Stdio {
    let bytes = bytes.into();
    let (reader, mut writer) = std::io::pipe().unwrap();
    thread::spawn(move || {
        // Whether the program takes all of it is for the test to say.
        let _ = writer.write_all(&bytes);
    });
    reader.into()
}

/// The exit code, which has to be there.
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A program that runs, with its stdin open.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    stdout: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let mut out = child.stdout.take().unwrap();
        let (sender, stdout) = sync_channel(64);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, stdout, seen: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Waits until the program has printed exactly `bytes` since the start.
    pub(crate) fn expect(&mut self, bytes: &[u8]) {
        while self.seen.len() < bytes.len() {
            self.seen.extend(self.stdout.recv_timeout(GUARD).expect("more output"));
        }
        assert_eq!(self.seen, bytes);
    }

    /// Waits for the end: the exit code and what was said on stderr.
    pub(crate) fn end(mut self) -> (i32, String) {
        // The end of stdout is the end of the program, as far as it can be waited for with a limit.
        while let Ok(more) = self.stdout.recv_timeout(GUARD) {
            self.seen.extend(more);
        }
        let output = wait(self.child);
        (code(&output), text(&output.stderr))
    }
}

/// A server of its own thread, for one test.
pub(crate) struct Server<T> {
    pub(crate) address: SocketAddr,
    done: Receiver<T>,
}

impl<T> Server<T> {
    /// The address as it is typed.
    pub(crate) fn typed(&self) -> String {
        self.address.to_string()
    }

    /// What `serve` returned.
    pub(crate) fn end(self) -> T {
        self.done.recv_timeout(GUARD).expect("the server ends without a panic")
    }
}

/// Does `serve` with the first caller.
pub(crate) fn server<T: Send + 'static>(serve: impl FnOnce(TcpStream) -> T + Send + 'static) -> Server<T> {
    listener(move |listener| serve(accept(&listener)))
}

/// Does `serve` with a listener.
pub(crate) fn listener<T: Send + 'static>(
    serve: impl FnOnce(TcpListener) -> T + Send + 'static,
) -> Server<T> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, done) = sync_channel(1);
    thread::spawn(move || {
        // A test that does not ask for the result has gone.
        let _ = sender.send(serve(listener));
    });
    Server { address, done }
}

pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream.set_write_timeout(Some(GUARD)).unwrap();
    stream
}

/// The server of every socket tutorial: whatever one read of 1024 bytes brings goes back in upper case.
pub(crate) fn upper(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        buffer.make_ascii_uppercase();
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

pub(crate) fn read_line(stream: &mut impl Read) -> Vec<u8> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    line
}

/// Closes with an RST.
pub(crate) fn reset(stream: TcpStream) {
    socket2::Socket::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// An address that refuses, and that nobody else can be given while the socket lives.
pub(crate) fn refusing() -> (socket2::Socket, String) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap().to_string();
    (socket, address)
}

/// Whether a test can have what it needs. If not, it says by name that it is skipped, or fails where none may
/// be.
pub(crate) fn has(need: &str, is_there: bool) -> bool {
    if is_there {
        return true;
    }
    let test = thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var_os("LANDLINE_TESTS").is_none_or(|tests| tests != "all"), "{test} needs {need}");
    // Not with `eprintln!`: the test runner would keep it to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: it needs {need}");
    false
}

pub(crate) fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, done) = sync_channel(1);
    thread::spawn(move || sender.send(work()));
    done.recv_timeout(GUARD).ok()
}

/// Writes a program of its own.
pub(crate) fn write_program(path: &str, script: &str) {
    std::fs::write(path, script).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn kill(id: u32) {
    let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
}
