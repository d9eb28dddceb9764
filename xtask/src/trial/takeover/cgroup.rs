//! A control group with a limit on memory, for one server.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use crate::Outcome;

/// Where a system has its groups; the files of a group are called something else in each kind.
const KINDS: [Kind; 3] = [
    Kind::second("/sys/fs/cgroup"),
    Kind::second("/sys/fs/cgroup/unified"),
    Kind {
        root: "/sys/fs/cgroup/memory",
        limit: "memory.limit_in_bytes",
        held: "memory.usage_in_bytes",
        events: "memory.oom_control",
        unlimited: "-1",
    },
];

#[derive(Debug)]
struct Kind {
    root: &'static str,
    limit: &'static str,
    held: &'static str,
    events: &'static str,
    unlimited: &'static str,
}

impl Kind {
    const fn second(root: &'static str) -> Self {
        Self { root, limit: "memory.max", held: "memory.current", events: "memory.events", unlimited: "max" }
    }
}

/// A group; it is gone when this is dropped and the server has ended.
#[derive(Debug)]
pub(super) struct Cgroup {
    directory: PathBuf,
    kind: &'static Kind,
}

impl Cgroup {
    /// Makes one, where this machine lets us.
    pub(super) fn new() -> Option<Self> {
        KINDS.iter().find_map(|kind| {
            let directory = Path::new(kind.root).join(format!("landline-trial-{}", process::id()));
            fs::create_dir(&directory).ok()?;
            let group = Self { directory, kind };
            // Elsewhere it is a directory like any other, or one without a say in memory.
            (group.file(kind.limit).exists() && group.limit(None).is_ok()).then_some(group)
        })
    }

    /// Starts a program in it, as one starts it elsewhere.
    pub(super) fn starting(&self, command: &Command) -> Command {
        let mut by_shell = Command::new("sh");
        by_shell.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(self.file("cgroup.procs"));
        by_shell.arg(command.get_program()).args(command.get_args());
        by_shell
    }

    /// How much memory its processes hold, in bytes.
    pub(super) fn held(&self) -> Outcome<u64> {
        let text = self.read(self.kind.held)?;
        text.trim().parse().map_err(|_| format!("{} says {text}", self.kind.held))
    }

    /// Lets them hold no more than this, in bytes. A kernel may refuse a limit below what is held.
    pub(super) fn limit(&self, bytes: Option<u64>) -> io::Result<()> {
        let words = bytes.map_or_else(|| self.kind.unlimited.to_owned(), |bytes| bytes.to_string());
        fs::write(self.file(self.kind.limit), words)
    }

    /// How many of its processes were killed for it.
    pub(super) fn kills(&self) -> Outcome<u64> {
        let text = self.read(self.kind.events)?;
        kills(&text).ok_or_else(|| format!("{} says nothing of kills", self.kind.events))
    }

    fn read(&self, name: &str) -> Outcome<String> {
        fs::read_to_string(self.file(name)).map_err(|error| format!("cannot read {name}: {error}"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It fails while there is a process in it, which then is told by the one who fails to stop it.
        let _ = fs::remove_dir(&self.directory);
    }
}

fn kills(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[test]
fn kills_are_read_from_what_either_kernel_prints() {
    assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
    assert_eq!(kills("low 0\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n"), Some(2));
    assert_eq!(kills("low 0\n"), None);
}
