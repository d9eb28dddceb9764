//! `BufMut` for pooled buffers, so that any encoder can write a reply in place.

#![allow(unsafe_code, reason = "`BufMut` is an unsafe trait")]

use bytes::BufMut;
use bytes::buf::UninitSlice;

use crate::buffer::Buffer;

/// How much room an encoder is offered at least when a buffer is full, in bytes.
const ROOM: usize = 64;

// SAFETY: `chunk_mut` is exactly the room behind the filled part, and `advance_mut` moves the end of the
// filled part within it; `extend_filled` panics rather than pass the capacity.
unsafe impl BufMut for Buffer {
    fn remaining_mut(&self) -> usize {
        usize::MAX - self.len()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        self.extend_filled(count);
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        if self.room().is_empty() {
            self.reserve(ROOM);
        }
        UninitSlice::new(self.room())
    }

    fn put_slice(&mut self, bytes: &[u8]) {
        self.append(bytes);
    }
}
