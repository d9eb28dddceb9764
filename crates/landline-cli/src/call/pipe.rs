//! As a pipe: stdin to the server, the server to stdout, byte for byte, with nothing added or held back.

use std::io;

use landline::client::{self, TLS_ALERTS_LEN_MAX};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender};

use super::crlf::Crlf;
use super::stdio::{self, CHUNK_SIZE, Input};
use super::{Call, CallArgs, tls};
use crate::exit::{Exit, Failure};

/// How the sending side ended.
enum Sent {
    /// All that stdin gave is out.
    All,
    /// The server takes no more.
    Refused(io::Error),
    /// Stdin itself failed.
    NoInput(io::Error),
}

/// The reader of stdout has gone, or stdout failed; the thread that writes it knows which.
struct StdoutGone;

/// How the receiving side ended.
struct Received {
    ended: io::Result<()>,
    /// The first bytes that came, as many as it takes to know that they are from a server that speaks TLS.
    first: Vec<u8>,
}

/// Passes bytes both ways until the server has closed.
///
/// At the end of stdin the server gets a FIN, after the end of TLS where that is spoken, and what it still
/// says is printed. When the server closes first, what stdin has already given is sent, then it is over, even
/// if stdin stays open.
pub(super) async fn run(call: &Call<'_>) -> Result<(), Failure> {
    let args = call.args;
    let (reader, writer) = call.connect().await?.stream.into_split();
    let (sent, received) = pass(args, reader, writer).await?;
    match client::speaks_tls(&args.address, &received.first) {
        Some(error) if !args.tls.tls => Err(tls::failed(error)),
        _ => judge(args, sent, received.ended),
    }
}

/// Returns once every byte that came is printed: only then anything is said about how it ended.
async fn pass<R, W>(args: &CallArgs, reader: R, writer: W) -> Result<(Sent, Received), Failure>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (output, stdout) = stdio::write_stdout();
    let closed = Notify::new();
    let crlf = args.crlf.then(Crlf::default);
    let upload = async { Ok::<_, StdoutGone>(upload(stdio::read_stdin(), writer, crlf, &closed).await) };
    let download = async {
        let ended = download(reader, output).await?;
        closed.notify_one();
        Ok(ended)
    };
    let ended = tokio::try_join!(upload, download);
    let printed = stdout.join().unwrap_or_else(|_| Err(io::Error::other("the printing thread failed")));
    if let Err(error) = &printed {
        Failure::of_stdout(error)?;
    }
    // Whoever read stdout has gone, and that is in order.
    Ok(ended.unwrap_or((Sent::All, Received { ended: Ok(()), first: Vec::new() })))
}

/// What its two sides say of the whole.
fn judge(args: &CallArgs, sent: Sent, received: io::Result<()>) -> Result<(), Failure> {
    match (sent, received) {
        (Sent::All, Ok(())) => Ok(()),
        (Sent::Refused(cause), Ok(())) if cause.kind() == io::ErrorKind::BrokenPipe => {
            Err(super::lost(&args.address, "the server closed before it took everything"))
        }
        (_, Err(cause)) | (Sent::Refused(cause), Ok(())) => {
            Err(tls::failed(client::lost(&args.address, cause)))
        }
        (Sent::NoInput(cause), Ok(())) => {
            let cause = landline::error::describe(&cause);
            Err(Failure::new(Exit::Other, format!("cannot read standard input: {cause}")))
        }
    }
}

/// Sends what stdin gives, then a FIN.
async fn upload<W: AsyncWrite + Unpin>(
    mut input: Receiver<Input>,
    mut writer: W,
    mut crlf: Option<Crlf>,
    closed: &Notify,
) -> Sent {
    let mut dry = false;
    loop {
        let item = tokio::select! {
            biased;
            item = input.recv() => item,
            () = closed.notified(), if dry => return Sent::All,
        };
        dry = matches!(item, Some(Input::Dry));
        let written = match item {
            None => return writer.shutdown().await.map_or_else(Sent::Refused, |()| Sent::All),
            Some(Input::Dry) => Ok(()),
            Some(Input::Chunk(chunk)) => match &mut crlf {
                None => write(&mut writer, &chunk).await,
                Some(crlf) => write(&mut writer, &crlf.convert(&chunk)).await,
            },
            Some(Input::Failed(error)) => {
                // The server may still have something to say to what it got.
                let _ = writer.shutdown().await;
                return Sent::NoInput(error);
            }
        };
        if let Err(error) = written {
            return Sent::Refused(error);
        }
    }
}

/// Writes all of it, and leaves nothing with TLS.
async fn write<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

/// Prints what the server says until it closes.
async fn download<R: AsyncRead + Unpin>(
    mut reader: R,
    output: Sender<Vec<u8>>,
) -> Result<Received, StdoutGone> {
    let mut first = Vec::new();
    let ended = loop {
        let mut chunk = Vec::with_capacity(CHUNK_SIZE);
        match reader.read_buf(&mut chunk).await {
            Ok(0) => break Ok(()),
            Ok(count) => {
                // One more tells that there is more.
                let missing = (TLS_ALERTS_LEN_MAX + 1).saturating_sub(first.len());
                first.extend_from_slice(&chunk[..missing.min(count)]);
                output.send(chunk).await.map_err(|_| StdoutGone)?;
            }
            Err(error) => break Err(error),
        }
    };
    Ok(Received { ended, first })
}
