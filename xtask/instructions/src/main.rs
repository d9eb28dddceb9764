//! Does one thing of the pure core so many times over, for whoever counts its instructions:
//! `instructions CASE ROUNDS`. The cases and their bounds are in `xtask/tests/it/instructions.rs`.

use std::hint::black_box;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use landline::frame::{Cut, Decoder, Ending};
use landline::{Connection, Framing, Handler, Outcome, Upper, framed};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The batch that is cut: so many messages of so many bytes, what delimits them included.
const BATCH: usize = 16;
const MESSAGE: usize = 64;

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [case, rounds] = &words[..] else { return Err("a case and a number of rounds".into()) };
    let rounds = rounds.parse()?;
    match case.split_once(' ') {
        Some(("cut", framing)) => cut(framing.parse()?, rounds),
        Some(("seal", framing)) => seal(framing.parse()?, rounds),
        Some(("answer", size)) => answer(size.parse()?, rounds),
        _ => Err(format!("no case is called {case}").into()),
    }
}

/// Cuts a batch into its messages.
fn cut(framing: Framing, rounds: usize) -> Outcome {
    let body = [b'a'; MESSAGE - size_of::<u32>()];
    let message = match framing {
        // What one read brings is one message, so each comes alone.
        Framing::Raw => vec![b'a'; MESSAGE],
        Framing::Line => [&[b'a'; MESSAGE - 1][..], b"\n"].concat(),
        _ => [&u32::try_from(body.len())?.to_be_bytes()[..], &body].concat(),
    };
    let batch = message.repeat(BATCH);
    let reads: Vec<&[u8]> =
        if framing == Framing::Raw { batch.chunks(MESSAGE).collect() } else { vec![&batch] };
    let mut decoder = Decoder::new(framing, 1 << 20);
    let mut messages = 0;
    for _ in 0..rounds {
        for read in &reads {
            let mut rest = black_box(*read);
            while let Cut::Message { body, end, .. } = decoder.next(rest)? {
                black_box(&rest[body]);
                rest = &rest[end..];
                messages += 1;
            }
        }
    }
    if messages == rounds * BATCH { Ok(()) } else { Err("the batch was cut otherwise".into()) }
}

/// Completes replies, as many as a batch has.
fn seal(framing: Framing, rounds: usize) -> Outcome {
    let mut reply = [b'A'; MESSAGE];
    for _ in 0..rounds * BATCH {
        black_box(black_box(framing).seal(black_box(&mut reply), Ending::Lf)?);
    }
    Ok(())
}

/// Answers a message in upper case, from what was read to what is written: all that a message takes of the
/// library, but for the network. A size is a multiple of [`MESSAGE`].
fn answer(size: usize, rounds: usize) -> Outcome {
    let stream = Stream { size, left: rounds };
    let conversation = framed(Framing::Raw, Upper);
    // A stream that never makes anyone wait needs no runtime.
    let conversation = pin!(conversation.handle(Connection::from_io(stream)?));
    match conversation.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err("nothing is left to wait for".into()),
    }
}

/// A peer who says the same so many times over, and takes whatever is said.
struct Stream {
    size: usize,
    left: usize,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Ok(()));
        }
        self.left -= 1;
        // Piece by piece, and from where the compiler can't see: it would make one large copy of it, and how
        // many instructions the C library takes for that is up to the CPU.
        let piece = black_box([b'a'; MESSAGE]);
        for place in room.initialize_unfilled_to(self.size).as_chunks_mut().0 {
            *place = piece;
        }
        room.advance(self.size);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        assert!(bytes.len() == self.size && bytes.last() == Some(&b'A'));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
