//! What the kernel tells about another process.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use rustix::process::Pid;

use super::figures::float;
use crate::Outcome;

/// The memory that is really there, in bytes.
pub(crate) fn resident(pid: Pid) -> Outcome<u64> {
    let text = read(&directory(pid).join("smaps_rollup"))?;
    rss(&text).ok_or_else(|| "smaps_rollup says no Rss".to_owned())
}

fn rss(smaps: &str) -> Option<u64> {
    sum(smaps, "Rss:")
}

/// One of the sums, in bytes.
fn sum(smaps: &str, name: &str) -> Option<u64> {
    let line = smaps.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// The memory that is really there, in bytes; of what it shares with other processes, its part.
pub(crate) fn proportional(pid: Pid) -> Outcome<u64> {
    let text = read(&directory(pid).join("smaps_rollup"))?;
    sum(&text, "Pss:").ok_or_else(|| "smaps_rollup says no Pss".to_owned())
}

/// The memory of the nameless files that it has open, in bytes, whether or not a process has it in use.
pub(crate) fn nameless_files(pid: Pid) -> Outcome<u64> {
    let is_nameless = |entry: &PathBuf| {
        fs::read_link(entry).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:"))
    };
    let files = entries(&directory(pid).join("fd"))?.into_iter().filter(is_nameless);
    // stat(2) counts blocks of 512 bytes, whatever the size of a page.
    Ok(files.filter_map(|file| fs::metadata(file).ok()).map(|file| file.blocks() * 512).sum())
}

/// The CPU time of all its threads, in nanoseconds. Threads that have ended are not in it.
pub(crate) fn cpu(pid: Pid) -> Outcome<f64> {
    let mut sum = 0;
    for thread in entries(&directory(pid).join("task"))? {
        let text = read(&thread.join("schedstat"))?;
        let first = text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok());
        sum += first.ok_or("schedstat says nothing")?;
    }
    Ok(float(sum))
}

/// The CPU time of a process and of those that it has started, in nanoseconds.
pub(crate) fn cpu_with_children(pid: Pid) -> Outcome<f64> {
    let theirs: Outcome<Vec<f64>> = children(pid).into_iter().map(cpu).collect();
    Ok(cpu(pid)? + theirs?.iter().sum::<f64>())
}

/// The processes that a process has started; none if it is gone.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let threads = entries(&directory(pid).join("task")).unwrap_or_default();
    let children = threads.iter().filter_map(|thread| read(&thread.join("children")).ok());
    let numbers = children.flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    numbers.filter_map(|number| Pid::from_raw(number.parse().ok()?)).collect()
}

/// How many threads a process has; none if it is gone.
pub(crate) fn threads(pid: Pid) -> usize {
    entries(&directory(pid).join("task")).map_or(0, |threads| threads.len())
}

/// The CPU time of all processes that this one has started and that have ended, in nanoseconds.
pub(crate) fn cpu_of_ended() -> Outcome<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN);
    let usage = usage.map_err(|error| format!("cannot see what processes took: {error}"))?;
    let micros = |time: TimeVal| time.num_microseconds();
    let sum = micros(usage.user_time()) + micros(usage.system_time());
    Ok(float(sum.cast_unsigned()) * 1e3)
}

/// The share of one core that a process took while `elapsed` passed, from its CPU time before and after.
pub(crate) fn share(before: f64, after: f64, elapsed: Duration) -> f64 {
    (after - before) / 1e9 / elapsed.as_secs_f64()
}

/// How many descriptors it has open.
pub(crate) fn descriptors(pid: Pid) -> Outcome<usize> {
    Ok(entries(&directory(pid).join("fd"))?.len())
}

/// For each epoll of a process that watches established connections: how many.
///
/// tokio holds a second descriptor of the same epoll, so what watches the same descriptors counts once.
pub(crate) fn watched_connections(pid: Pid) -> Outcome<Vec<usize>> {
    let table = read(&directory(pid).join("net/tcp"))?;
    let connections = established(&table);
    let mut epolls = BTreeSet::new();
    for entry in entries(&directory(pid).join("fd"))? {
        if fs::read_link(&entry).is_ok_and(|target| target == Path::new("anon_inode:[eventpoll]")) {
            let info = directory(pid).join("fdinfo").join(entry.file_name().unwrap_or_default());
            epolls.insert(watched(&read(&info)?));
        }
    }
    let is_connection = |descriptor: &u32| {
        let target = fs::read_link(directory(pid).join("fd").join(descriptor.to_string()));
        target.is_ok_and(|target| connections.contains(&*target.to_string_lossy()))
    };
    let counts = epolls.iter().map(|watched| watched.iter().filter(|one| is_connection(one)).count());
    Ok(counts.filter(|count| *count > 0).collect())
}

/// The descriptors that an epoll watches, from its fdinfo.
fn watched(fdinfo: &str) -> BTreeSet<u32> {
    let rows = fdinfo.lines().filter_map(|line| line.strip_prefix("tfd:"));
    rows.filter_map(|row| row.split_whitespace().next()?.parse().ok()).collect()
}

/// The established connections in a table of the kernel's, as links of descriptors name them.
fn established(table: &str) -> BTreeSet<String> {
    const ESTABLISHED: &str = "01";
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
    rows.filter(|row| row.get(3) == Some(&ESTABLISHED))
        .filter_map(|row| Some(format!("socket:[{}]", row.get(9)?)))
        .collect()
}

fn directory(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn entries(path: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

#[test]
fn the_resident_memory_is_read_from_what_the_kernel_prints() {
    let text = "55d0-7ffd ---p 0 00:00 0 [rollup]\nRss:                2048 kB\nPss:  1 kB\n";
    assert_eq!(rss(text), Some(2 << 20));
    assert_eq!(sum(text, "Pss:"), Some(1 << 10));
    assert_eq!(rss("nothing of the kind"), None);
}

#[test]
fn an_epoll_s_descriptors_are_read_from_what_the_kernel_prints() {
    let text =
        "pos:\t0\nflags:\t02\ntfd:       12 events: 8000201d data: 7f\ntfd:        5 events: 19 data: 5\n";
    assert_eq!(watched(text), BTreeSet::from([5, 12]));
}

#[test]
fn only_established_connections_count() {
    let table = "  sl  local_address rem_address   st\n\
        0: 0100007F:1F91 00000000:0000 0A 0:0 00:0 0     0        0 4711 1\n\
        1: 0100007F:1F91 0100007F:C350 01 0:0 00:0 0     0        0 4712 1\n";
    assert_eq!(established(table), BTreeSet::from(["socket:[4712]".to_owned()]));
}
