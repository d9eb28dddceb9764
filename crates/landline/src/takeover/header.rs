//! What another program has to know before it believes anything else in the memory.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{
    AtomicI32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::memory::LAYOUT;

/// "landline", as the first eight bytes.
const MAGIC: u64 = u64::from_le_bytes(*b"landline");
/// Grows when something in the memory gets another meaning and keeps its size.
const VERSION: u64 = 1;

/// Numbers by which one program knows whether it can read what another wrote.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Header {
    magic: AtomicU64,
    version: AtomicU64,
    layout: [AtomicU64; LAYOUT.len()],
    /// The descriptor that is rung when there is an order.
    bell: AtomicI32,
    _unused: AtomicI32,
}

impl Header {
    pub(super) fn write(&self, bell: RawFd) {
        self.version.store(VERSION, Relaxed);
        for (place, (_, value)) in self.layout.iter().zip(LAYOUT) {
            place.store(value as u64, Relaxed);
        }
        self.bell.store(bell, Relaxed);
        self.magic.store(MAGIC, Release);
    }

    /// Whether this program can read what follows.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.magic.load(Acquire) != MAGIC {
            return Err(io::Error::other("nobody has begun it"));
        }
        let numbers = self.layout.iter().map(|number| number.load(Relaxed));
        compare(self.version.load(Relaxed), numbers).map_err(io::Error::other)
    }

    pub(super) fn bell(&self) -> RawFd {
        self.bell.load(Relaxed)
    }
}

/// The layout that this program reads and writes, as words for another one.
pub(super) fn words() -> String {
    let numbers = LAYOUT.map(|(_, value)| value.to_string());
    format!("{VERSION},{}", numbers.join(","))
}

/// Whether this program can read what a program with these [`words`] has written.
pub(super) fn can_read(words: &str) -> Result<(), String> {
    let mut numbers = words.split(',').map(|number| number.parse::<u64>().unwrap_or(0));
    let version = numbers.next().unwrap_or(0);
    compare(version, numbers)
}

fn compare(version: u64, mut layout: impl Iterator<Item = u64>) -> Result<(), String> {
    if version != VERSION {
        return Err(format!("it has version {version}, and this program reads version {VERSION}"));
    }
    for (name, ours) in LAYOUT {
        let theirs = layout.next().unwrap_or(0);
        if theirs != ours as u64 {
            return Err(format!("its {name} has {theirs}, and this program reads {ours}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::*;

    #[test]
    fn what_one_program_has_written_another_reads() {
        let memory = Memory::new().unwrap();
        let header = memory.header();
        assert_eq!(header.check().unwrap_err().to_string(), "nobody has begun it");
        header.write(17);
        header.check().unwrap();
        assert_eq!(header.bell(), 17);
        assert_eq!(can_read(&words()), Ok(()));
    }

    #[test]
    fn another_version_or_size_is_refused_by_name() {
        let memory = Memory::new().unwrap();
        memory.header().write(0);
        memory.header().layout[8].fetch_add(64, Relaxed);
        let cause = memory.header().check().unwrap_err().to_string();
        assert_eq!(cause, "its connection has 192, and this program reads 128");
        let cause = can_read(&words().replacen('1', "2", 1)).unwrap_err();
        assert_eq!(cause, "it has version 2, and this program reads version 1");
        for garbage in ["", "1", "1,2", "a,b,c", "1,,,"] {
            assert!(can_read(garbage).is_err(), "{garbage}");
        }
    }
}
