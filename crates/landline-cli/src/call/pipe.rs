//! As a pipe: stdin to the server, the server to stdout, byte for byte, with nothing added or held back.

use std::io;
use std::pin::pin;
use std::time::Duration;

use landline::client::{self, TLS_ALERTS_LEN_MAX};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender};

use super::crlf::Crlf;
use super::printer::Printer;
use super::silence::Silence;
use super::stdio::{self, CHUNK_SIZE, Input};
use super::{Call, CallArgs, Mode, tls};
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

/// What each side has to know of the other.
struct Ends {
    /// The server has closed.
    closed: Notify,
    /// All that stdin gave is out.
    sent: Notify,
    silence: Silence,
}

/// Refuses what has no meaning where it was said.
pub(super) fn check(mode: Mode, args: &CallArgs) -> Result<(), Failure> {
    let pipe = &args.pipe;
    let flags = [
        ("--eof-wait", pipe.eof_wait.is_some()),
        ("--no-shutdown", pipe.no_shutdown),
        ("--send-only", pipe.send_only),
        ("--recv-only", pipe.recv_only),
    ];
    let given = flags.iter().find(|(_, is_given)| *is_given).map(|(flag, _)| *flag);
    let (text, hint) = match (mode, given) {
        (Mode::Pipe, _) if pipe.recv_only && (pipe.no_shutdown || args.crlf) => {
            let flag = if args.crlf { "--crlf" } else { "--no-shutdown" };
            let text = format!("{flag} has no meaning with --recv-only: nothing is sent");
            (text, format!("leave {flag} out"))
        }
        (Mode::Once, Some(flag)) => {
            let text = format!("{flag} has no meaning with MESSAGEs: they are sent, not what stdin gives");
            (text, format!("leave {flag} out, or give them by stdin: printf 'MESSAGE\\n' | landline call …"))
        }
        (Mode::Prompt, Some(flag)) => {
            let text = format!("{flag} has no meaning at the prompt: it is for a pipe");
            (text, "--timeout sets how long to wait for the server after Ctrl-D".to_owned())
        }
        _ => return Ok(()),
    };
    Err(Failure::new(Exit::Usage, text).hint(hint))
}

/// Passes bytes both ways until the server has closed.
///
/// At the end of stdin the server gets a FIN, and what it still says is printed. Where TLS is spoken, its end
/// goes before the FIN, and waits until the server has fallen silent. When the server closes first, what stdin has already given is sent, then it is over, even
/// if stdin stays open.
///
/// Only its close shows that the server has heard everything: to leave before that may reset the connection,
/// and destroy what it has not read yet. So it is waited for even by whoever only sends; `--eof-wait` says
/// for how long.
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
async fn pass<R, W>(args: &CallArgs, reader: R, mut writer: W) -> Result<(Sent, Received), Failure>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (output, stdout) =
        (!args.pipe.send_only).then(|| stdio::write_stdout(Printer::new(args.raw))).unzip();
    let ends = Ends { closed: Notify::new(), sent: Notify::new(), silence: Silence::new() };
    let upload = async {
        let sent = if args.pipe.recv_only { Sent::All } else { upload(args, &mut writer, &ends).await };
        // Whoever is to send nothing has sent everything.
        ends.sent.notify_one();
        Ok::<_, StdoutGone>(sent)
    };
    let download = async {
        let ended = download(reader, output, args.pipe.eof_wait, &ends).await?;
        ends.closed.notify_one();
        Ok(ended)
    };
    // To drop the writer is to send a FIN, so it lives until the end.
    let ended = tokio::try_join!(upload, download);
    let gone = |_| Err(io::Error::other("the printing thread failed"));
    if let Err(error) = stdout.map_or(Ok(()), |thread| thread.join().unwrap_or_else(gone)) {
        Failure::of_stdout(&error)?;
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

/// Sends what stdin gives, then a FIN unless our side is to stay open.
async fn upload<W: AsyncWrite + Unpin>(args: &CallArgs, writer: &mut W, ends: &Ends) -> Sent {
    let mut input: Receiver<Input> = stdio::read_stdin();
    let mut crlf = args.crlf.then(Crlf::default);
    let mut dry = false;
    let sent = loop {
        let item = tokio::select! {
            biased;
            item = input.recv() => item,
            () = ends.closed.notified(), if dry => return Sent::All,
        };
        dry = matches!(item, Some(Input::Dry));
        let written = match item {
            None => break Sent::All,
            Some(Input::Dry) => Ok(()),
            Some(Input::Chunk(chunk)) => match &mut crlf {
                None => write(writer, &chunk).await,
                Some(crlf) => write(writer, &crlf.convert(&chunk)).await,
            },
            // The server may still have something to say to what it got.
            Some(Input::Failed(error)) => break Sent::NoInput(error),
        };
        if let Err(error) = written {
            return Sent::Refused(error);
        }
        ends.silence.said();
    };
    if args.pipe.no_shutdown {
        return sent;
    }
    if args.tls.tls {
        ends.sent.notify_one();
        tokio::select! {
            biased;
            () = ends.closed.notified() => return sent,
            () = ends.silence.falls() => {}
        }
    }
    match (writer.shutdown().await, sent) {
        (Err(error), Sent::All) => Sent::Refused(error),
        (_, sent) => sent,
    }
}

/// Writes all of it, and leaves nothing with TLS.
async fn write<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

/// When to leave a server that does not close: so long after all is sent. Without a wait, never.
async fn leave(wait: Option<Duration>, sent: &Notify) {
    match wait {
        None => std::future::pending().await,
        Some(wait) => {
            sent.notified().await;
            tokio::time::sleep(wait).await;
        }
    }
}

/// Prints what the server says until it closes, or until it is time to leave. What was received is printed
/// even then.
async fn download<R: AsyncRead + Unpin>(
    mut reader: R,
    output: Option<Sender<Vec<u8>>>,
    wait: Option<Duration>,
    ends: &Ends,
) -> Result<Received, StdoutGone> {
    let mut leave = pin!(leave(wait, &ends.sent));
    let mut first = Vec::new();
    let ended = loop {
        let mut chunk = Vec::with_capacity(CHUNK_SIZE);
        // A server that never stops talking does not keep us.
        let read = tokio::select! {
            biased;
            () = &mut leave => break Ok(()),
            read = reader.read_buf(&mut chunk) => read,
        };
        match read {
            Ok(0) => break Ok(()),
            Ok(count) => {
                ends.silence.heard();
                // One more tells that there is more.
                let missing = (TLS_ALERTS_LEN_MAX + 1).saturating_sub(first.len());
                first.extend_from_slice(&chunk[..missing.min(count)]);
                if let Some(output) = &output {
                    output.send(chunk).await.map_err(|_| StdoutGone)?;
                }
            }
            Err(error) => break Err(error),
        }
    };
    Ok(Received { ended, first })
}
