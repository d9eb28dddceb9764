//! Zeroed memory for plain records, handed out in one piece: private to the process, or a part of memory that
//! outlives it. Nothing that uses it notices which.

#![allow(unsafe_code, reason = "mapping memory, and promising that zeroed records are valid")]

use std::io;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A record that is valid when all its bytes are zero, holds no pointer, and changes only through atomics.
///
/// # Safety
/// Zero bytes must be a valid value, the type must need no drop, and every field must be an atomic.
pub(crate) unsafe trait Plain: Sync {}

// SAFETY: a slot is made of atomic integers only.
unsafe impl Plain for crate::server::table::Slot {}

// SAFETY: as with a slot.
unsafe impl Plain for crate::server::table::Head {}

// SAFETY: as with a slot.
unsafe impl Plain for crate::server::checkpoint::Checkpoints {}

// SAFETY: as with a slot.
#[cfg(feature = "metrics")]
unsafe impl Plain for crate::event::metrics::Counts {}

// SAFETY: an atomic integer, valid whatever its bits.
unsafe impl Plain for std::sync::atomic::AtomicU8 {}

/// Untouched pages count for nothing, not even against what is promised.
#[cfg(target_os = "linux")]
const FLAGS: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);
#[cfg(not(target_os = "linux"))]
const FLAGS: MapFlags = MapFlags::PRIVATE;

/// A fixed number of records in memory of their own. Pages that were never touched take up nothing.
#[derive(Debug)]
pub(crate) struct Region<T: Plain> {
    start: NonNull<T>,
    count: usize,
    /// Whether it is a mapping of its own.
    is_own: bool,
}

// SAFETY: the records are `Sync`, and a region gives out shared references only.
unsafe impl<T: Plain> Send for Region<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for Region<T> {}

impl<T: Plain> Region<T> {
    /// Maps memory for `count` records, at least one.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let count = count.max(1);
        let bytes = count.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, FLAGS)? };
        // A page is aligned for any record, and a mapping without MAP_FIXED is never at address 0.
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, count, is_own: true })
    }

    #[cfg(all(target_os = "linux", feature = "takeover"))]
    /// Records that are there for as long as the process is.
    pub(crate) fn shared(records: &'static [T]) -> Self {
        Self { start: NonNull::from(records).cast(), count: records.len(), is_own: false }
    }
}

impl<T: Plain> Deref for Region<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping holds `count` records that were zero, which is a valid value for each, and
        // whose atomics may hold anything since; it lives as long as self.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl<T: Plain> Drop for Region<T> {
    fn drop(&mut self) {
        if !self.is_own {
            return;
        }
        // SAFETY: exactly what was mapped; no reference outlives self. It can't fail for a mapping that
        // exists.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.count * size_of::<T>()) };
    }
}
