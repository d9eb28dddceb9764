//! `serve --config`: what a file says is done, and what is wrong with it is said in one line.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::serving::Serving;
use crate::support::*;

/// The smallest file that serves, on a free port.
const SMALLEST: &str = "[[listener]]\naddress = 0\n";

/// A file, in a folder of its own so that it has the name that people give it.
pub(crate) struct Config(pub(crate) PathBuf);

impl Config {
    pub(crate) fn new(text: impl AsRef<[u8]>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("landline-config-{}-{count}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("landline.toml"), text).unwrap();
        Self(folder)
    }

    /// Writes other things into it.
    pub(crate) fn now_says(&self, text: impl AsRef<[u8]>) {
        fs::write(self.0.join("landline.toml"), text).unwrap();
    }

    /// Runs `serve --config landline.toml` to its end.
    fn run(&self, flags: &[&str]) -> Output {
        let mut command = landline(["serve", "--config", "landline.toml"]);
        command.args(flags).current_dir(&self.0);
        run(command, Stdio::null())
    }

    /// Serves as it says.
    pub(crate) fn serve(&self, flags: &[&str]) -> Serving {
        let mut command = landline(["serve", "--config", "landline.toml", "--print-port"]);
        command.args(flags).current_dir(&self.0).stderr(Stdio::piped());
        Serving::start(command)
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Checks that a file is refused with one line that has these words, and perhaps a hint.
fn refused(output: &Output, words: &str) {
    let said = text(&output.stderr);
    assert_eq!((code(output), &*text(&output.stdout)), (2, ""), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("landline: error: ") && lines[0].contains(words), "{words}: {said}");
    assert!(lines.len() == 1 || lines.len() == 2 && lines[1].starts_with("  hint: "), "{said}");
}

#[test]
fn a_file_with_one_listener_is_served() {
    let config =
        Config::new("service = 'echo'\nlog_format = 'json'\n[[listener]]\naddress = 0\nframing = 'line'\n");
    let mut server = config.serve(&[]);
    server.says("\"event\":\"started\"");
    let mut caller = server.call();
    caller.says("hel");
    caller.says("lo\n");
    caller.hears("hello\n");
    drop(caller);
    server.stop().in_order();
}

#[test]
fn a_flag_goes_before_the_top_of_the_file_and_a_listener_before_a_flag() {
    let top = Config::new(format!("service = 'echo'\n{SMALLEST}"));
    let server = top.serve(&["--service", "upper"]);
    server.call().asks("hello");
    server.stop().in_order();

    let own = Config::new(format!("{SMALLEST}service = 'upper'\n"));
    let server = own.serve(&["--service", "echo"]);
    server.call().asks("hello");
    server.stop().in_order();
}

#[test]
fn a_rule_of_the_file_and_one_of_the_command_line_both_hold() {
    let config = Config::new(format!("deny = '127.0.0.1'\n{SMALLEST}"));
    let server = config.serve(&["--allow", "127.0.0.0/8"]);
    server.call().hears_out("denied\n");
    server.stop().in_order();
}

#[test]
fn settings_of_the_whole_server_are_heeded() {
    let config = Config::new(format!("max_connections = 1\n{SMALLEST}"));
    let server = config.serve(&[]);
    let mut inside = server.call();
    inside.asks("hello");
    server.call().hears_out("busy\n");
    drop(inside);
    server.stop().in_order();
}

#[test]
fn a_file_in_order_is_said_to_be_and_not_served() {
    let one = Config::new(SMALLEST).run(&["--check-config"]);
    assert_eq!(
        (code(&one), &*text(&one.stdout), &*text(&one.stderr)),
        (0, "landline.toml: in order, 1 listener\n", "")
    );
    let two = Config::new(SMALLEST.repeat(2)).run(&["--check-config", "--threads", "1"]);
    assert_eq!((code(&two), &*text(&two.stdout)), (0, "landline.toml: in order, 2 listeners\n"));
}

#[test]
fn every_fault_of_a_file_is_one_line_whether_it_is_checked_or_served() {
    let below = |text: &str| format!("{SMALLEST}{text}").into_bytes();
    let above = |text: &str| format!("{text}\n{SMALLEST}").into_bytes();
    for (content, words) in [
        (Vec::new(), "landline.toml: the file is empty"),
        (b"# later\n".to_vec(), "landline.toml: there is no listener"),
        (b"\xff\n".to_vec(), "landline.toml: line 1: there are bytes that are not UTF-8"),
        (vec![b'#'; (1 << 20) + 1], "landline.toml: the file has more than 1 MiB"),
        (above("idle_timeout = 5m"), "landline.toml: line 1: this is not TOML: "),
        (above("idle_timeot = '5m'"), "landline.toml: line 1: no setting is called 'idle_timeot'"),
        (above("idle-timeout = '5m'"), "landline.toml: line 1: no setting is called 'idle-timeout'"),
        (above("idle_timeout = 5"), "landline.toml: line 1: idle_timeout can't be 5: a duration is"),
        (above("threads = [1]"), "landline.toml: line 1: threads can't be [1]: a list won't do: a count is"),
        (above("threads = 1\nthreads = 1"), "landline.toml: line 2: 'threads' is there already"),
        (above("service = \"\\n\\u001b[2J\""), "line 1: service can't be \"\\n\\u001b[2J\": it is one of"),
        (above("\"\\n\\u001b[2J\" = 1"), "line 1: no setting is called '\\n\\u{1b}[2J'"),
        (below("threads = 1"), "landline.toml: line 3: 'threads' is for the whole server"),
        (below("[[listener]]"), "landline.toml: line 3: this listener has no address"),
        (b"[listener]\naddress = 0".to_vec(), "line 1: a listener is told in [[listener]]"),
        (
            b"[[listener]]\naddress = 'x'".to_vec(),
            "line 2: address: cannot read the address 'x': it has no port",
        ),
        (
            b"[[listener]]\naddress = 8081\n[[listener]]\naddress = '127.0.0.1:8081'".to_vec(),
            "line 3: 127.0.0.1:8081 is the address of the listener in line 1 already",
        ),
        (
            below("excess = 'wait'\ndeny = '::1'"),
            "line 1: this listener can't have excess = \"wait\" together",
        ),
    ] {
        let config = Config::new(content);
        refused(&config.run(&[]), words);
        refused(&config.run(&["--check-config"]), words);
    }
}

#[test]
fn flags_and_a_file_that_do_not_go_together_are_refused() {
    let config = Config::new(SMALLEST);
    refused(&config.run(&["--excess", "wait", "--max-accept-rate", "5"]), "together with max_accept_rate");
    for flags in [&["8081"][..], &["--check-config", ":8081"]] {
        let output = config.run(flags);
        assert_eq!(code(&output), 2);
        assert!(text(&output.stderr).contains("cannot be used with"), "{output:?}");
    }
    assert_eq!(code(&run(landline(["serve", "--check-config"]), Stdio::null())), 2);
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let folder = Config::new(SMALLEST);
    let pipe = folder.0.join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for (path, words) in [
        (pipe.to_str().unwrap(), "a pipe can't be a configuration"),
        ("/dev/zero", "/dev/zero: a device can't be a configuration"),
        ("/dev/null/landline.toml", "cannot read the configuration: not a directory"),
        ("/proc/self/mem", "/proc/self/mem: cannot read the configuration: input/output error"),
        ("/", "/: a directory can't be a configuration"),
        ("/nonexistent/a\nb.toml", "/nonexistent/a\\nb.toml: cannot read the configuration: no such file"),
    ] {
        refused(&run(landline(["serve", "--config", path]), Stdio::null()), words);
    }
}
