//! As a pipe: stdin to the server, the server to stdout, byte for byte, with nothing added or held back.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender};

use super::crlf::Crlf;
use super::stdio::{self, CHUNK_SIZE, Input};
use crate::args::CallArgs;
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

/// Passes bytes both ways until the server has closed.
///
/// At the end of stdin the server gets a FIN and what it still says is printed. When the server closes first,
/// what stdin has already given is sent, then it is over, even if stdin stays open.
pub(super) async fn run(args: &CallArgs) -> Result<(), Failure> {
    let (reader, writer) = super::connect(args).await?.into_split();
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
    // Every byte that came is printed before anything is said about how it ended.
    let printed = stdout.join().unwrap_or_else(|_| Err(io::Error::other("the printing thread failed")));
    if let Err(error) = &printed {
        return Failure::of_stdout(error);
    }
    let lost = |cause: &str| Err(super::lost(&args.address, cause));
    match ended {
        Err(StdoutGone) | Ok((Sent::All, Ok(()))) => Ok(()),
        Ok((_, Err(reset))) => lost(&landline::error::describe(&reset)),
        Ok((Sent::Refused(cause), Ok(()))) if cause.kind() == io::ErrorKind::BrokenPipe => {
            lost("the server closed before it took everything")
        }
        Ok((Sent::Refused(cause), Ok(()))) => lost(&landline::error::describe(&cause)),
        Ok((Sent::NoInput(cause), Ok(()))) => {
            let cause = landline::error::describe(&cause);
            Err(Failure::new(Exit::Other, format!("cannot read standard input: {cause}")))
        }
    }
}

/// Sends what stdin gives, then a FIN.
async fn upload(
    mut input: Receiver<Input>,
    mut writer: OwnedWriteHalf,
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
                None => writer.write_all(&chunk).await,
                Some(crlf) => writer.write_all(&crlf.convert(&chunk)).await,
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

/// Prints what the server says until it closes; the inner error is how else it ended.
async fn download(mut reader: OwnedReadHalf, output: Sender<Vec<u8>>) -> Result<io::Result<()>, StdoutGone> {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_SIZE);
        match reader.read_buf(&mut chunk).await {
            Ok(0) => return Ok(Ok(())),
            Ok(_) => output.send(chunk).await.map_err(|_| StdoutGone)?,
            Err(error) => return Ok(Err(error)),
        }
    }
}
