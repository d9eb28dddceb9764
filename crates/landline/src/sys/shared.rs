//! Memory that processes have in common.

#![allow(unsafe_code, reason = "mapping memory, and promising that zeroed records are valid")]

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::region::Plain;

// SAFETY: made of atomic integers only.
unsafe impl Plain for crate::takeover::memory::Control {}
// SAFETY: made of atomic integers only.
unsafe impl Plain for crate::takeover::memory::Record {}
// SAFETY: made of atomic integers only.
unsafe impl Plain for crate::takeover::memory::Remembered {}
// SAFETY: made of atomic integers only.
unsafe impl Plain for crate::takeover::pulse::Thread {}
// SAFETY: made of atomic integers only.
unsafe impl Plain for crate::takeover::blame::Suspect {}
// SAFETY: made of atomic integers only.
unsafe impl Plain for crate::takeover::header::Header {}
// SAFETY: made of atomic integers only.
unsafe impl Plain for crate::takeover::upgrade::Decision {}

// SAFETY: made of atomic integers only.
unsafe impl Plain for crate::takeover::draining::Draining {}

/// The smallest page there is: in each that is larger there are several of these.
const PAGE: usize = 4096;
/// With these, its size can't change, and no reading of it can fail.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// A mapping that every process started from here on sees, zeroed at first. Pages that were never touched
/// take up nothing.
#[derive(Debug)]
pub(crate) struct Shared {
    start: NonNull<u8>,
    len: usize,
    /// By which a program that this one becomes can find it.
    descriptor: OwnedFd,
}

// SAFETY: it gives out shared references to records that are `Sync`, and nothing else.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Makes `len` bytes of it; its size can't be changed.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let descriptor = memfd_create("landline", flags)?;
        ftruncate(&descriptor, u64::try_from(len).unwrap_or(u64::MAX))?;
        fcntl_add_seals(&descriptor, SEALS)?;
        Self::map(descriptor, len)
    }

    /// Maps what a program before this one has made, if it has this length and can't have another.
    pub(crate) fn take_over(descriptor: OwnedFd, len: usize) -> io::Result<Self> {
        let seals = fcntl_get_seals(&descriptor).unwrap_or(SealFlags::empty());
        if !seals.contains(SEALS) {
            return Err(io::Error::other("it is no memory of a keeper"));
        }
        let its_len = fstat(&descriptor)?.st_size;
        if u64::try_from(its_len).ok() != u64::try_from(len).ok() {
            return Err(io::Error::other(format!("it has {its_len} bytes, and this program's has {len}")));
        }
        Self::map(descriptor, len)
    }

    /// `descriptor` has to be that of a file of this length which is sealed.
    fn map(descriptor: OwnedFd, len: usize) -> io::Result<Self> {
        let (protection, flags) =
            (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::NORESERVE);
        // SAFETY: a new mapping at an address of the kernel's choice aliases nothing, and the file can't
        // become smaller than it.
        let start = unsafe { mmap(ptr::null_mut(), len, protection, flags, &descriptor, 0)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len, descriptor })
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// Another mapping of the same.
    pub(crate) fn mapped_again(&self) -> io::Result<Self> {
        Self::map(self.descriptor.try_clone()?, self.len)
    }

    /// Makes a part of it, from one page to another, this process's own: nobody sees any more what is written
    /// there. What others write is seen until a page was written to, so all that is to stay has to be
    /// [touched](Self::touch) before they do.
    pub(crate) fn make_own(&self, part: Range<usize>) -> io::Result<()> {
        assert!(part.start <= part.end && part.end <= self.len);
        let (protection, flags) =
            (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED);
        let offset = u64::try_from(part.start).map_err(io::Error::other)?;
        // SAFETY: it takes the place of a part of this mapping, and has the same bytes in it, which are
        // atomics, in whatever process. The kernel puts one in the place of the other at once.
        unsafe {
            let start = self.start.as_ptr().add(part.start).cast();
            mmap(start, part.len(), protection, flags, &self.descriptor, offset)?;
        }
        Ok(())
    }

    /// Writes to each page of a part what is there.
    pub(crate) fn touch(&self, part: Range<usize>) {
        let bytes: &[AtomicU8] = self.records(part.start, part.len());
        for byte in bytes.iter().step_by(PAGE).chain(bytes.last()) {
            byte.fetch_or(0, Relaxed);
        }
    }

    /// The `count` records from `offset` on, which has to lie within and be aligned for them.
    pub(crate) fn records<T: Plain>(&self, offset: usize, count: usize) -> &[T] {
        let end = size_of::<T>().checked_mul(count).and_then(|bytes| bytes.checked_add(offset));
        assert!(end.is_some_and(|end| end <= self.len) && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: they lie within the mapping, which is aligned for pages and lives as long as self. `Plain`
        // says that they are valid from the start and change only as atomics do, in whatever process.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset).cast(), count) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped; no reference outlives self. It can't fail for a mapping that is
        // there.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}
