//! Two servers on tokio: one as good as it gets without anything around it, and one as a tutorial has it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use crate::Outcome;
use crate::trial::raise_open_files;
use crate::trial::upper::{Cut, READ, Upper, output};

/// Their words on the command line.
pub(crate) const BARE: &str = "reference-tokio";
pub(super) const ALONE: &str = "reference-tokio-alone";
pub(crate) const NAIVE: &str = "naive-tokio";
pub(crate) const NAIVE_IN_TURN: &str = "naive-tokio-in-turn";

/// How much the naive one reads at once, in bytes.
const NAIVE_BUFFER: usize = 64 << 10;

thread_local! {
    /// One pair of buffers for all connections: none of them keeps anything there while it waits.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = RefCell::new((vec![0; READ], output()));
}

/// Serves on a free port, which it prints, until it is killed: one thread, one read, one write.
pub(super) fn bare(cut: Cut) -> Outcome {
    serve(&mut Builder::new_current_thread(), |stream| async move {
        let (mut stream, mut upper) = (stream, Upper::new(cut));
        while let Ok(true) = poll_fn(|cx| poll_answer(&mut stream, &mut upper, cx)).await {}
    })
}

/// Reads once and writes once; false at the end.
fn poll_answer(stream: &mut TcpStream, upper: &mut Upper, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
    BUFFERS.with_borrow_mut(|(input, output)| {
        let mut room = ReadBuf::new(input);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut room))?;
        let said = match upper.answer(room.filled(), output) {
            _ if room.filled().is_empty() => return Poll::Ready(Ok(false)),
            None => return Poll::Ready(Ok(false)),
            Some(0) => return Poll::Ready(Ok(true)),
            Some(said) => said,
        };
        // A peer that does not take it all is none that this server is for.
        Poll::Ready(Ok(stream.try_write(&output[..said])? == said))
    })
}

/// The same with a task, a buffer and a loop for each connection, on the runtime that most programs have; it
/// gets one worker, beside the thread that accepts.
pub(super) fn naive(cut: Cut) -> Outcome {
    talk_naively(Builder::new_multi_thread().worker_threads(1), cut)
}

/// The same on the runtime with one thread and one queue, which serves everybody in turn.
pub(super) fn naive_in_turn(cut: Cut) -> Outcome {
    talk_naively(&mut Builder::new_current_thread(), cut)
}

fn talk_naively(runtime: &mut Builder, cut: Cut) -> Outcome {
    serve(runtime, move |stream| async move {
        let _ = match cut {
            Cut::Raw => say_in_capitals(stream).await,
            Cut::Line => say_lines_in_capitals(stream).await,
        };
    })
}

async fn say_in_capitals(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; NAIVE_BUFFER];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        buffer[..count].make_ascii_uppercase();
        stream.write_all(&buffer[..count]).await?;
    }
}

async fn say_lines_in_capitals(mut stream: TcpStream) -> io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut reading = BufReader::new(reading);
    let mut line = Vec::new();
    while reading.read_until(b'\n', &mut line).await? > 0 {
        line.make_ascii_uppercase();
        writing.write_all(&line).await?;
        line.clear();
    }
    Ok(())
}

fn serve<F>(runtime: &mut Builder, talk: impl Fn(TcpStream) -> F) -> Outcome
where
    F: Future<Output = ()> + Send + 'static,
{
    raise_open_files()?;
    let accept = async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(talk(stream));
        }
    };
    let served: io::Result<()> = runtime.enable_io().build().and_then(|runtime| runtime.block_on(accept));
    served.map_err(|error| format!("the server on tokio failed: {error}"))
}
