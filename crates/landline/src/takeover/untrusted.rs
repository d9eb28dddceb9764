//! Whatever lies in the memory of a program before, whoever reads it ends, and without a panic.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;

use super::memory::Memory;
use super::{blame, draining, listeners};
use crate::sys::arena::Arena;

/// Writes what a fuzzer has come up with into memory, and reads it.
pub(crate) fn try_out(bytes: &[u8]) {
    static MEMORY: OnceLock<Memory> = OnceLock::new();
    let Some((used, words)) = bytes.split_first_chunk() else { return };
    let (words, _) = words.as_chunks();
    let words: Vec<u32> = words.iter().copied().map(u32::from_le_bytes).collect();
    if !words.is_empty() {
        let memory = MEMORY.get_or_init(|| Memory::new().expect("there is memory"));
        fill(memory, &words, u16::from_le_bytes(*used));
        read_all(memory);
    }
}

/// How many connections are written over.
const CONNECTIONS: usize = 64;

/// Writes these words, over and over, in the place of all but the buffers and most of the connections. How
/// many slots were ever used is said apart: all that there could be take a while to look at.
fn fill(memory: &Memory, words: &[u32], used: u16) {
    let [slots, checkpoints] = Memory::places(0);
    let len = CONNECTIONS * 128;
    let places = [0..slots + len, checkpoints..checkpoints + len];
    for bytes in places.into_iter().map(|place| &memory.bytes()[place]) {
        for (place, word) in bytes.chunks_exact(4).zip(words.iter().cycle()) {
            place.iter().zip(word.to_le_bytes()).for_each(|(there, byte)| there.store(byte, Relaxed));
        }
    }
    let highest = &memory.bytes()[Memory::HIGHEST..][..8];
    highest.iter().zip(u64::from(used).to_le_bytes()).for_each(|(there, byte)| there.store(byte, Relaxed));
}

/// Looks at all of it, as a keeper and its workers do.
fn read_all(memory: &'static Memory) {
    let _ = (memory.header().check(), memory.header().bell(), memory.recall());
    let decision = memory.decision();
    let _ = (decision.keeper(), decision.is_asked(), decision.cause());
    for number in [0, 1, u32::MAX] {
        let _ = (decision.state(number), decision.is_done(number), decision.abort(number, ""));
    }
    let _ = (decision.begin(true), decision.commit(1));
    decision.succeed();
    for record in memory.listeners() {
        let _ = (record.words(), record.address(), listeners::number_of(record));
    }
    listeners::clear_half_written(memory);
    blame::blame(memory, memory.control().begin_worker(), 0..memory.threads().len());
    let _ = blame::ids(memory, |_| true);
    let _ = (memory.claims().count(), draining::all(memory), draining::is_one(memory, 2));
    let _ = Arena::over(memory.arena(), memory.blocks_in_use()).take(1);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whatever_lies_in_the_memory_whoever_reads_it_ends_without_a_panic() {
        let memory: &Memory = Box::leak(Box::new(Memory::new().unwrap()));
        let likely = prop::sample::select(vec![0, 1, 2, 3, 4, 5, 0x7fff_ffff, 0x8000_0000, u32::MAX]);
        let words = prop::collection::vec(prop_oneof![3 => likely, 1 => any::<u32>()], 1..200);
        proptest!(ProptestConfig::with_cases(8), |(words in words, used: u16)| {
            fill(memory, &words, used);
            read_all(memory);
        });
    }

    #[test]
    fn a_table_that_says_it_was_used_up_is_no_longer_than_there_is_room() {
        let memory: &Memory = Box::leak(Box::new(Memory::new().unwrap()));
        memory.bytes()[Memory::HIGHEST..][..8].iter().for_each(|byte| byte.store(u8::MAX, Relaxed));
        assert_eq!((memory.claims().count(), memory.blocks_in_use().count()), (0, 0));
    }
}
