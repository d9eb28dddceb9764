//! Memory for buffers that outlives the process: blocks of fixed sizes, each in one hand at a time.

#![cfg_attr(
    not(all(target_os = "linux", feature = "takeover")),
    allow(dead_code, reason = "where no process takes over, nobody goes on with what was left")
)]
#![allow(unsafe_code, reason = "a block is memory of its own, though it lies among others")]

use std::collections::HashSet;
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU8;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::mm::{Advice, madvise};

/// The smallest block, in bytes; the others are twice as large as the one before.
const SMALLEST: usize = 512;
/// How many sizes there are: the largest block is of 16 MiB.
const SIZES: usize = 16;
/// Of each size there are as many blocks as fit into this many bytes.
const SIZE_LEN: usize = 1 << if usize::BITS < 64 { 23 } else { 32 };
/// How long an arena is, in bytes. Most of it is never touched, and takes up nothing.
pub(crate) const LEN: usize = SIZES * SIZE_LEN;
/// Blocks of this size and above are given back to the system when nobody has them, in bytes.
const RETURNED_MIN: usize = 64 << 10;

/// Which block it is, so that another process can find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Handle(u32);

impl Handle {
    /// No block.
    pub(crate) const NONE: Self = Self(0);
    /// Memory that no other process can find.
    pub(crate) const PRIVATE: Self = Self(u32::MAX);

    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    pub(crate) fn is_some(self) -> bool {
        self != Self::NONE
    }

    fn new(size: usize, index: u32) -> Self {
        Self(u32::try_from(size).unwrap_or(0) << 24 | (index + 1))
    }

    /// Its size and index, if there is such a block: it may have been read from anywhere.
    fn place(self) -> Option<(usize, u32)> {
        let (size, index) = ((self.0 >> 24) as usize, (self.0 & 0x00ff_ffff).checked_sub(1)?);
        (size < SIZES && (index as usize) < SIZE_LEN / (SMALLEST << size)).then_some((size, index))
    }
}

/// Blocks in memory that outlives the process. Who has which is known to this process only: one that takes
/// its place is told which blocks are still in use, and all others are free.
pub(crate) struct Arena {
    memory: &'static [AtomicU8],
    sizes: [Mutex<Size>; SIZES],
    /// Blocks that a process before this one had, and that nobody has asked for yet.
    left: Mutex<HashSet<Handle>>,
}

/// The blocks of one size.
#[derive(Default)]
struct Size {
    free: Vec<u32>,
    /// Free ones between those that a process before this one left. Wherever they lie, there are no more of
    /// these than of those: what is read from memory decides on no amount of work.
    gaps: Vec<Range<u32>>,
    /// No block from this one on was ever handed out.
    next: u32,
}

impl Size {
    fn take_from_gap(&mut self) -> Option<u32> {
        let index = self.gaps.last_mut()?.next();
        self.gaps.pop_if(|gap| gap.start == gap.end);
        index
    }
}

impl Arena {
    /// Hands out blocks of this memory, which is nobody else's, but for those that are `left`. It is there
    /// for as long as the process is.
    pub(crate) fn over(memory: &'static [AtomicU8], left: impl Iterator<Item = Handle>) -> &'static Self {
        assert!(memory.len() >= LEN);
        let left: HashSet<_> = left.filter(|handle| handle.place().is_some()).collect();
        let mut sizes: [Size; SIZES] = Default::default();
        let mut places: Vec<_> = left.iter().filter_map(|handle| handle.place()).collect();
        places.sort_unstable();
        for (number, index) in places {
            let size = &mut sizes[number];
            size.gaps.extend(Some(size.next..index).filter(|gap| !gap.is_empty()));
            size.next = index + 1;
        }
        Box::leak(Box::new(Self { memory, sizes: sizes.map(Mutex::new), left: Mutex::new(left) }))
    }

    /// A block of at least so many bytes; none if that is more than the largest has, or all are taken. What
    /// it holds is whatever its last user left there.
    pub(crate) fn take(&'static self, bytes: usize) -> Option<Block> {
        let number = size_for(bytes)?;
        let mut size = lock(&self.sizes[number]);
        if let Some(index) = size.free.pop().or_else(|| size.take_from_gap()) {
            return Some(self.block(Handle::new(number, index)));
        }
        let unused = Handle::new(number, size.next);
        unused.place()?;
        size.next += 1;
        Some(self.block(unused))
    }

    /// The block that a process before this one had, with what it left there; none if there is no such block,
    /// or somebody has it.
    pub(crate) fn adopt(&'static self, handle: Handle) -> Option<Block> {
        lock(&self.left).remove(&handle).then(|| self.block(handle))
    }

    /// Nobody will ask for more of what a process before this one had.
    pub(crate) fn free_left(&'static self) {
        let left = std::mem::take(&mut *lock(&self.left));
        for handle in left {
            drop(self.block(handle));
        }
    }

    /// Where in its memory the blocks lie that are in somebody's hands.
    pub(crate) fn in_hands(&self) -> Vec<Range<usize>> {
        let in_hands = |(number, size): (usize, &Mutex<Size>)| {
            let (size, len) = (lock(size), SMALLEST << number);
            let free: HashSet<u32> = size.free.iter().copied().collect();
            // Gaps lie in their order, and what is between them was handed out once.
            let starts = std::iter::once(0).chain(size.gaps.iter().map(|gap| gap.end));
            let ends = size.gaps.iter().map(|gap| gap.start).chain(Some(size.next));
            let start = |index: u32| number * SIZE_LEN + index as usize * len;
            let handed_out = starts.zip(ends).flat_map(|(start, end)| start..end);
            let taken = handed_out.filter(|index| !free.contains(index)).map(start);
            taken.map(|start| start..start + len).collect::<Vec<_>>()
        };
        self.sizes.iter().enumerate().flat_map(in_hands).collect()
    }

    /// The block with this handle, which is there and in nobody's hands.
    fn block(&'static self, handle: Handle) -> Block {
        let (size, index) = handle.place().expect("only handles of blocks are handed out");
        let len = SMALLEST << size;
        let bytes = &self.memory[size * SIZE_LEN + index as usize * len..][..len];
        Block { start: NonNull::from(bytes).cast(), len, home: Some((self, handle)) }
    }

    fn put_back(&self, block: &Block, handle: Handle) {
        let Some((size, index)) = handle.place() else { return };
        if block.len >= RETURNED_MIN {
            // SAFETY: nobody has the block, so nobody sees that its bytes become zero. If it can't be
            // done they stay, which does no harm.
            let _ = unsafe { madvise(block.start.as_ptr().cast(), block.len, Advice::LinuxRemove) };
        }
        lock(&self.sizes[size]).free.push(index);
    }
}

/// Memory of its own, private to the process or a block of an arena. It goes back when it is dropped.
pub(crate) struct Block {
    start: NonNull<u8>,
    len: usize,
    home: Option<(&'static Arena, Handle)>,
}

impl Block {
    /// Zeroed memory of this process.
    pub(crate) fn private(len: usize) -> Self {
        let bytes = Box::leak(vec![0_u8; len].into_boxed_slice());
        Self { start: NonNull::from(bytes).cast(), len, home: None }
    }

    /// No memory at all, in the place of what is taken away.
    #[inline]
    pub(crate) fn none() -> Self {
        Self { start: NonNull::dangling(), len: 0, home: None }
    }

    /// By which another process can find it.
    #[inline]
    pub(crate) fn handle(&self) -> Handle {
        self.home.map_or(Handle::PRIVATE, |(_, handle)| handle)
    }
}

impl Deref for Block {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: it is `len` initialized bytes, which live as long as self and are nobody else's: an arena
        // hands out each block once, and the process that had it before is gone.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Block {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and self is borrowed mutably. Arena memory is made of atomics, so it may be
        // changed by way of a shared reference to it.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        match self.home {
            Some((arena, handle)) => arena.put_back(self, handle),
            None if self.len == 0 => {}
            // SAFETY: exactly the boxed slice that `private` leaked.
            None => drop(unsafe {
                Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.len))
            }),
        }
    }
}

/// The smallest size that holds so many bytes; none if all are too small.
fn size_for(bytes: usize) -> Option<usize> {
    let size = ((bytes.max(SMALLEST) - 1) / (SMALLEST / 2)).ilog2() as usize;
    (size < SIZES).then_some(size)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is a single one, so a panic leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handed_out: u32 = self.sizes.iter().map(|size| lock(size).next).sum();
        write!(f, "Arena({handed_out} blocks were used)")
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes, {:?})", self.len, self.handle())
    }
}

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;

    use super::*;
    use crate::sys::region::Region;

    fn memory() -> &'static [AtomicU8] {
        Box::leak(Box::new(Region::new(LEN).unwrap()))
    }

    #[test]
    fn a_block_is_the_smallest_that_holds_what_is_asked_for_and_nobody_elses() {
        let arena = Arena::over(memory(), std::iter::empty());
        let mut blocks: Vec<_> = [0, 512, 513, 1 << 20, 16 << 20].map(|len| arena.take(len).unwrap()).into();
        assert_eq!(
            blocks.iter().map(|block| block.len()).collect::<Vec<_>>(),
            [512, 512, 1024, 1 << 20, 16 << 20]
        );
        for (byte, block) in (1..).zip(&mut blocks) {
            block.fill(byte);
        }
        for (byte, block) in (1..).zip(&blocks) {
            assert!(block.iter().all(|there| *there == byte));
        }
        assert!(arena.take((16 << 20) + 1).is_none());
    }

    #[test]
    fn a_block_that_is_dropped_is_handed_out_again() {
        let arena = Arena::over(memory(), std::iter::empty());
        let handle = arena.take(600).unwrap().handle();
        assert_eq!(arena.take(1000).unwrap().handle(), handle);
    }

    #[test]
    fn what_a_process_before_had_is_found_again_once_and_the_rest_is_free() {
        let memory = memory();
        let before = Arena::over(memory, std::iter::empty());
        // They are never dropped: the process is killed.
        let [_first, mut second, third] = [(); 3].map(|()| ManuallyDrop::new(before.take(1).unwrap()));
        second[..5].copy_from_slice(b"hello");
        let left =
            [second.handle(), third.handle(), Handle::PRIVATE, Handle::NONE, Handle::from_bits(77 << 24)];
        let arena = Arena::over(memory, left.into_iter());
        let adopted = arena.adopt(second.handle()).unwrap();
        assert_eq!(&adopted[..5], b"hello");
        assert!(arena.adopt(second.handle()).is_none() && arena.adopt(Handle::PRIVATE).is_none());
        // The first is free, the second taken, the third left.
        assert_ne!(arena.take(1).unwrap().handle(), adopted.handle());
        let taken: Vec<_> = (0..3).map(|_| arena.take(1).unwrap()).collect();
        assert!(
            taken.iter().all(|block| block.handle() != adopted.handle() && block.handle() != third.handle())
        );
        arena.free_left();
        assert_eq!(arena.take(1).unwrap().handle(), third.handle());
    }

    #[test]
    fn a_block_that_was_left_far_out_costs_nothing_and_those_before_it_are_free() {
        let far = Handle::new(0, (1 << 23) - 1);
        let arena = Arena::over(memory(), [far, Handle::new(0, 1)].into_iter());
        let size = lock(&arena.sizes[0]);
        assert_eq!((size.free.len(), &size.gaps), (0, &vec![0..1, 2..(1 << 23) - 1]));
        drop(size);
        let taken: Vec<_> = (0..3).map(|_| arena.take(1).unwrap().handle()).collect();
        assert!(taken.iter().all(|handle| *handle != far && *handle != Handle::new(0, 1)));
        assert_eq!(arena.adopt(far).unwrap().len(), SMALLEST);
    }

    #[test]
    fn what_is_in_hands_is_what_was_taken_or_left_and_not_given_back() {
        let left = [Handle::new(1, 2), Handle::new(1, 5)];
        let arena = Arena::over(memory(), left.into_iter());
        let [taken, given_back] = [(); 2].map(|()| arena.take(1000).unwrap());
        drop(given_back);
        let small = arena.take(1).unwrap();
        let mut expected: Vec<_> = [small.handle(), taken.handle(), left[0], left[1]]
            .map(|handle| handle.place().unwrap())
            .map(|(size, index)| size * SIZE_LEN + index as usize * (SMALLEST << size))
            .into();
        expected.sort_unstable();
        let starts: Vec<_> = arena.in_hands().iter().map(|range| range.start).collect();
        assert_eq!(starts, expected);
        assert!(arena.in_hands().iter().all(|range| range.len() == 512 || range.len() == 1024));
    }

    #[test]
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    fn a_large_block_takes_up_nothing_once_it_is_dropped() {
        let shared = Box::leak(Box::new(crate::sys::shared::Shared::new(LEN).unwrap()));
        let arena = Arena::over(shared.records(0, LEN), std::iter::empty());
        let mut block = arena.take(RETURNED_MIN).unwrap();
        block.fill(7);
        drop(block);
        assert!(arena.take(RETURNED_MIN).unwrap().iter().all(|byte| *byte == 0));
    }
}
