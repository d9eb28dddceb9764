//! The buffers that bytes pass through, and the pool they come from.
//!
//! An idle connection holds none: one is taken when there is something to read or to say, and goes back when
//! that is done. Only an unfinished message or an unsent reply stays with its connection.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::ops::Deref;
use std::rc::Rc;

use crate::sys::arena::{Arena, Block, Handle};

/// The smallest buffer there is, in bytes: what an unfinished line of a slow peer costs.
const SMALLEST: usize = 512;
/// The largest buffer that is kept for the next use, in bytes.
const LARGEST_KEPT: usize = 1 << 20;
/// The sizes that are kept: each power of two from the smallest to the largest.
const SIZES: usize = (LARGEST_KEPT / SMALLEST).ilog2() as usize + 1;
/// How much unused memory one pool keeps, in bytes; what comes back beyond it is freed.
const KEPT_MAX: usize = 1 << 20;

/// Where one thread's buffers come from. This is the one place that decides what memory they lie in.
#[derive(Default)]
pub(crate) struct Pool {
    unused: [RefCell<Vec<Block>>; SIZES],
    kept: Cell<usize>,
    /// Memory that outlives the process, if there is any.
    arena: Option<&'static Arena>,
}

impl Pool {
    pub(crate) fn new(arena: Option<&'static Arena>) -> Rc<Self> {
        Rc::new(Self { arena, ..Self::default() })
    }

    /// What a process before this one left in this block, which had `len` bytes in it.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn adopt(self: &Rc<Self>, handle: Handle, len: usize) -> Option<Buffer> {
        let bytes = self.arena?.adopt(handle)?;
        (len <= bytes.len()).then(|| Buffer { bytes, len, pool: Rc::clone(self) })
    }

    /// An empty buffer for at least `capacity` bytes.
    #[inline]
    pub(crate) fn take(self: &Rc<Self>, capacity: usize) -> Buffer {
        Buffer { bytes: self.memory(capacity), len: 0, pool: Rc::clone(self) }
    }

    #[inline]
    fn memory(&self, capacity: usize) -> Block {
        let size = size_class(capacity);
        let unused = size.and_then(|size| self.unused[size].borrow_mut().pop());
        if let Some(bytes) = unused {
            self.kept.set(self.kept.get() - bytes.len());
            return bytes;
        }
        let lasting = self.arena.and_then(|arena| arena.take(capacity));
        // What is not kept has no size class to fit, and doubling would be felt.
        lasting.unwrap_or_else(|| Block::private(size.map_or(capacity, |size| SMALLEST << size)))
    }

    #[inline]
    fn give_back(&self, bytes: Block) {
        let kept = self.kept.get() + bytes.len();
        if kept <= KEPT_MAX
            && let Some(size) = size_class(bytes.len())
        {
            self.kept.set(kept);
            self.unused[size].borrow_mut().push(bytes);
        }
    }
}

/// Which of the sizes that are kept is the smallest that holds so many bytes; none if all are too small.
fn size_class(bytes: usize) -> Option<usize> {
    (bytes <= LARGEST_KEPT).then(|| ((bytes.max(SMALLEST) - 1) / (SMALLEST / 2)).ilog2() as usize)
}

/// Bytes that are filled from the front. Its memory goes back to the pool when it is dropped.
pub(crate) struct Buffer {
    bytes: Block,
    len: usize,
    pool: Rc<Pool>,
}

impl Buffer {
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// By which another process can find its memory.
    #[inline]
    pub(crate) fn handle(&self) -> Handle {
        self.bytes.handle()
    }

    /// The unfilled rest. What it holds is whatever its last user left there.
    #[inline]
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.len..]
    }

    /// Counts the first `count` bytes of the room as filled.
    #[inline]
    pub(crate) fn extend_filled(&mut self, count: usize) {
        assert!(count <= self.bytes.len() - self.len, "more bytes were filled than there was room for");
        self.len += count;
    }

    /// Makes room for at least `count` more bytes, by moving to larger memory if it must.
    #[inline]
    pub(crate) fn reserve(&mut self, count: usize) {
        let needed = self.len.checked_add(count).expect("a reply is smaller than the address space");
        if needed > self.bytes.len() {
            self.move_to(needed);
        }
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.room()[..bytes.len()].copy_from_slice(bytes);
        self.extend_filled(bytes.len());
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Changes bytes that are filled already.
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// The same bytes in smaller memory, if little of this is used: so that waiting costs little.
    pub(crate) fn smaller(&self) -> Option<Buffer> {
        (self.len <= self.bytes.len() / 4 && self.bytes.len() > SMALLEST).then(|| self.copy(self.len))
    }

    /// The same bytes in memory with room for `count` more, if there is less.
    #[inline]
    pub(crate) fn larger(&self, count: usize) -> Option<Buffer> {
        (self.bytes.len() - self.len < count).then(|| self.copy(self.len.saturating_add(count)))
    }

    fn copy(&self, capacity: usize) -> Buffer {
        let mut copy = self.pool.take(capacity);
        copy.append(self);
        copy
    }

    /// What is filled from `start` on, in a buffer of its own: this one is left as it was.
    pub(crate) fn tail(&self, start: usize) -> Buffer {
        let rest = &self[start..];
        let mut tail = self.pool.take(rest.len());
        tail.append(rest);
        tail
    }

    fn move_to(&mut self, capacity: usize) {
        let mut memory = self.pool.memory(capacity);
        memory[..self.len].copy_from_slice(&self.bytes[..self.len]);
        let old = std::mem::replace(&mut self.bytes, memory);
        self.pool.give_back(old);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::replace(&mut self.bytes, Block::none()));
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {} bytes)", self.len, self.capacity())
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} bytes unused)", self.kept.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_class_is_the_smallest_that_holds_what_is_asked_for() {
        for (bytes, holds) in
            [(0, 512), (512, 512), (513, 1024), (1024, 1024), (1025, 2048), (1 << 20, 1 << 20)]
        {
            assert_eq!(size_class(bytes).map(|size| SMALLEST << size), Some(holds), "{bytes}");
        }
        assert_eq!(size_class(LARGEST_KEPT + 1), None);
    }

    #[test]
    fn memory_goes_back_to_the_pool_and_is_used_again() {
        let pool = Pool::new(None);
        let first = pool.take(1000);
        let address = first.as_ptr();
        assert_eq!(first.capacity(), 1024);
        drop(first);
        assert_eq!(pool.kept.get(), 1024);
        assert_eq!(pool.take(600).as_ptr(), address);
    }

    #[test]
    fn a_pool_keeps_no_more_than_its_bound() {
        let pool = Pool::new(None);
        let held: Vec<_> = (0..100).map(|_| pool.take(1 << 16)).collect();
        drop(held);
        assert!(pool.kept.get() <= KEPT_MAX);
        drop((pool.take(LARGEST_KEPT), pool.take(LARGEST_KEPT + 1)));
        assert!(pool.kept.get() <= KEPT_MAX);
        assert_eq!(pool.take(LARGEST_KEPT + 1).capacity(), LARGEST_KEPT + 1);
    }

    #[test]
    fn a_buffer_grows_and_shrinks_with_its_contents_kept() {
        let pool = Pool::new(None);
        let mut buffer = pool.take(1);
        let text: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        for piece in text.chunks(777) {
            buffer.append(piece);
        }
        assert_eq!(&buffer[..], text);
        assert!(buffer.larger(1).is_none() && buffer.smaller().is_none());
        buffer.truncate(600);
        let smaller = buffer.smaller().unwrap();
        assert_eq!((smaller.capacity(), &smaller[..]), (1024, &text[..600]));
        let larger = smaller.larger(425).unwrap();
        assert_eq!((larger.capacity(), &larger[..]), (2048, &text[..600]));
        assert_eq!(&buffer.tail(500)[..], &text[500..600]);
    }
}
