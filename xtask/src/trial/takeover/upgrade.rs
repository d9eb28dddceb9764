//! Another program that takes over, and what is killed meanwhile.

use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

use super::dice::Dice;
use crate::Outcome;
use crate::trial::proc::{children, threads};
use crate::trial::program::{Served, built, pause};

/// In which time of an upgrade something is killed, in milliseconds: it takes about as long.
const MOMENTS: [u64; 2] = [0, 25];
/// How long a server has until one program serves again.
const REST_WITHIN: Duration = Duration::from_secs(5);
/// How often somebody looks whether it has come to rest, and how often that has to be so in turn.
const LOOK_EVERY: Duration = Duration::from_millis(4);
const LOOKS: usize = 5;
/// The first program, the keeper and the worker: so it is after an upgrade.
const AT_REST: usize = 3;
/// It is a message in every framing: a length in four bytes, and a line of that length.
const QUESTION: &str = "\0\0\0\u{6}still\n";
const ANSWER: &str = "\0\0\0\u{6}STILL\n";

/// Processes whose parents have ended come to this one, for as long as there is such a value. Whatever is
/// left then is killed.
#[derive(Debug)]
pub(super) struct Orphanage;

impl Orphanage {
    pub(super) fn open() -> Outcome<Self> {
        set_child_subreaper(Some(getpid())).map_err(|error| format!("cannot adopt processes: {error}"))?;
        Ok(Self)
    }
}

impl Drop for Orphanage {
    fn drop(&mut self) {
        // What a process has started comes here with its end.
        loop {
            let left = children(getpid());
            if left.is_empty() {
                break;
            }
            for child in left {
                let _ = kill_process(child, Signal::KILL);
                let _ = waitpid(Some(child), WaitOptions::empty());
            }
        }
        let _ = set_child_subreaper(None);
        let _ = fs::remove_file(control());
    }
}

/// Where servers that are upgraded are asked for it; there is one at a time.
pub(super) fn control() -> PathBuf {
    env::temp_dir().join(format!("landline-trial-{}.sock", process::id()))
}

/// Has the same program take over, and insists on it.
pub(super) fn succeeds(served: &Served) -> Outcome<&'static str> {
    let first = served.program.pid();
    let before = descendants(first);
    let asked = hear(ask(&["upgrade"])?)?;
    if !asked.status.success() {
        return Err(format!("an upgrade fails: {}", words(&asked.stderr)));
    }
    let after = at_rest(first)?;
    if before.last() == after.last() {
        return Err("an upgrade was said to be done, and the same processes serve on".to_owned());
    }
    Ok("upgrade done")
}

/// Has it take over, and kills one of those that have a part in it, at some moment; again, should it be done by
/// then. It says who was killed and what became of the upgrade.
pub(super) fn is_killed(served: &Served) -> Outcome<&'static str> {
    loop {
        if let Some(words) = is_killed_in_time(served)? {
            return Ok(words);
        }
    }
}

fn is_killed_in_time(served: &Served) -> Outcome<Option<&'static str>> {
    let first = served.program.pid();
    let before = at_rest(first)?;
    let mut dice = Dice::new();
    let asking = ask(&["upgrade"])?;
    pause(dice.time(MOMENTS));
    let victim = kill_one(&before, &mut dice);
    let asked = hear(asking)?;
    let Some(victim) = victim else { return at_rest(first).map(|_| None) };
    at_rest(first).map_err(|error| format!("{} was killed, and {error}", victim.name()))?;
    serves(served).map_err(|error| format!("{} was killed, and then {error}", victim.name()))?;
    Ok(Some(victim.words(asked.status.success())))
}

/// Whoever is killed during an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Keeper,
    Worker,
    /// A process of the other program: the one that is asked whether it can take over, the one that is to, or
    /// its worker.
    Other,
}

impl Victim {
    fn name(self) -> &'static str {
        match self {
            Self::Keeper => "the keeper before",
            Self::Worker => "the worker before",
            Self::Other => "a process of the other program",
        }
    }

    fn words(self, is_done: bool) -> &'static str {
        match (self, is_done) {
            (Self::Keeper, true) => "the keeper before was killed, the upgrade done",
            (Self::Keeper, false) => "the keeper before was killed, the upgrade failed",
            (Self::Worker, true) => "the worker before was killed, the upgrade done",
            (Self::Worker, false) => "the worker before was killed, the upgrade failed",
            (Self::Other, true) => "a process of the other program was killed, the upgrade done",
            (Self::Other, false) => "a process of the other program was killed, the upgrade failed",
        }
    }
}

/// Kills one of those that are there, but never the first program; nobody once both processes before have ended.
fn kill_one(before: &[Pid], dice: &mut Dice) -> Option<Victim> {
    let [first, keeper, worker] = before else { return None };
    if !lives(*keeper) {
        return None;
    }
    let mut others = descendants(*first);
    others.retain(|process| !before.contains(process));
    let mut all = vec![(Victim::Keeper, *keeper), (Victim::Worker, *worker)];
    if !others.is_empty() {
        all.push((Victim::Other, others[dice.within(0, others.len())]));
    }
    while !all.is_empty() {
        let (victim, process) = all.swap_remove(dice.within(0, all.len()));
        if lives(process) && kill_process(process, Signal::KILL).is_ok() {
            return Some(victim);
        }
    }
    None
}

/// Sees to it that whoever calls is answered, and whoever asks about the server.
pub(super) fn serves(served: &Served) -> Outcome {
    served.call()?.ask(QUESTION, ANSWER)?;
    let status = hear(ask(&["status"])?)?;
    if status.status.success() {
        Ok(())
    } else {
        Err(format!("there is no status: {}", words(&status.stderr)))
    }
}

fn ask(arguments: &[&str]) -> Outcome<Child> {
    let mut command = Command::new(built("landline"));
    command.arg("ctl").arg("--control").arg(control()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| format!("cannot ask the server: {error}"))
}

/// What is said to whoever asks, who has limits of its own.
fn hear(asking: Child) -> Outcome<Output> {
    asking.wait_with_output().map_err(|error| format!("cannot hear what the server says: {error}"))
}

fn words(said: &[u8]) -> String {
    String::from_utf8_lossy(said).lines().collect::<Vec<_>>().join("; ")
}

/// The processes of a server, once they have been the same for a while and the last of them serves.
fn at_rest(first: Pid) -> Outcome<Vec<Pid>> {
    let begun = Instant::now();
    let (mut last, mut same) = (Vec::new(), 0);
    while begun.elapsed() < REST_WITHIN {
        let now = descendants(first);
        // A keeper has one thread, and a worker has more.
        let is_whole = now.len() == AT_REST && is_line(&now) && threads(now[AT_REST - 1]) > 1;
        let is_whole = is_whole && now.iter().copied().all(lives);
        same = if is_whole && now == last { same + 1 } else { 0 };
        if same == LOOKS {
            return Ok(now);
        }
        last = now;
        pause(LOOK_EVERY);
    }
    Err(format!("the server does not come to rest: its processes are {last:?}"))
}

/// Whether each of them was started by the one before.
fn is_line(processes: &[Pid]) -> bool {
    processes.windows(2).all(|pair| children(pair[0]) == pair[1..])
}

/// A process and all below it; who has ended meanwhile has nobody.
fn descendants(first: Pid) -> Vec<Pid> {
    let mut all = vec![first];
    let mut seen = 0;
    while let Some(process) = all.get(seen) {
        all.extend(children(*process));
        seen += 1;
    }
    all
}

/// Whether a process is there and neither has ended nor is about to: one that was killed has a while to live.
fn lives(process: Pid) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"));
    status.is_ok_and(|status| is_well(&status))
}

fn is_well(status: &str) -> bool {
    const KILLED: u64 = 1 << 8;
    let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let is_there = value("State:").is_some_and(|state| !state.starts_with(['Z', 'X']));
    let pending =
        ["SigPnd:", "ShdPnd:"].map(|name| value(name).and_then(|set| u64::from_str_radix(set, 16).ok()));
    // One that is ending has no memory any more.
    let has_memory = value("VmSize:").is_some();
    is_there && has_memory && pending.iter().flatten().all(|set| set & KILLED == 0)
}

#[test]
fn a_process_that_was_killed_is_not_well() {
    let well =
        "State:\tS (sleeping)\nVmSize:\t  1 kB\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000010000\n";
    assert!(is_well(well));
    for (from, to) in
        [("S (", "Z ("), ("VmSize:", "None:"), ("SigPnd:\t00000000000000", "SigPnd:\t00000000000001")]
    {
        assert!(!is_well(&well.replace(from, to)), "{to}");
    }
}
