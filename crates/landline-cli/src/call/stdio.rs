//! This program's own ends: stdin as a stream of chunks, stdout as it is, without buffers or line logic
//! between.

use std::io;
use std::thread::{self, JoinHandle};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::printer::Printer;

/// How much is moved at a time.
pub(super) const CHUNK_SIZE: usize = 64 * 1024;

/// How many chunks may wait in each direction: enough to keep both sides busy, and the bound of the memory
/// used.
const CHUNKS_WAITING: usize = 4;

/// What stdin gave.
#[derive(Debug)]
pub(super) enum Input {
    Chunk(Vec<u8>),
    /// Everything that stdin holds right now has been given; the next chunk may take for ever.
    Dry,
    Failed(io::Error),
}

/// Reads stdin in a thread of its own. The end of input is the end of the channel.
///
/// Nobody waits for that thread: whoever leaves the program leaves it in its read.
pub(super) fn read_stdin() -> Receiver<Input> {
    let (sender, receiver) = channel(CHUNKS_WAITING);
    thread::spawn(move || {
        loop {
            // A file is always ready, up to its end.
            if !stdin_is_ready() && sender.blocking_send(Input::Dry).is_err() {
                return;
            }
            let mut chunk = Vec::with_capacity(CHUNK_SIZE);
            let item = match rustix::io::read(rustix::stdio::stdin(), spare_capacity(&mut chunk)) {
                Ok(0) => return,
                Ok(_) => Input::Chunk(chunk),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {
                    wait_for(rustix::stdio::stdin(), PollFlags::IN);
                    continue;
                }
                Err(error) => Input::Failed(error.into()),
            };
            let last = matches!(item, Input::Failed(_));
            if sender.blocking_send(item).is_err() || last {
                return;
            }
        }
    });
    receiver
}

/// Writes to stdout in a thread of its own, so that a slow reader of it holds up nothing else. The thread
/// ends with the channel, once everything is written, or at the first error.
pub(super) fn write_stdout(mut printer: Printer) -> (Sender<Vec<u8>>, JoinHandle<io::Result<()>>) {
    let (sender, mut receiver) = channel::<Vec<u8>>(CHUNKS_WAITING);
    let thread = thread::spawn(move || {
        while let Some(chunk) = receiver.blocking_recv() {
            printer.print(&chunk)?;
        }
        printer.finish()
    });
    (sender, thread)
}

/// Writes all of `bytes` to stdout, at once: what came is out before anything else happens.
pub(super) fn print(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            // Whoever shares this stdout with us has made it non-blocking.
            Err(Errno::AGAIN) => wait_for(rustix::stdio::stdout(), PollFlags::OUT),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether stdin has something to say: bytes, its end, or an error.
fn stdin_is_ready() -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let stdin = rustix::stdio::stdin();
    !matches!(poll(&mut [PollFd::from_borrowed_fd(stdin, PollFlags::IN)], Some(&now)), Ok(0))
}

fn wait_for(end: rustix::fd::BorrowedFd<'_>, flags: PollFlags) {
    // An error here will be met again by the read or write that follows.
    let _ = poll(&mut [PollFd::from_borrowed_fd(end, flags)], None);
}
