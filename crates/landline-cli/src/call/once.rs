//! One shot: send a message, print its reply, leave.

use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use landline::client::{self, Conversation};
use landline::frame::{Ending, Framing};

use super::crlf::Crlf;
use super::show::Escaper;
use super::{Call, CallArgs, REPLY_MAX, stdio, tls};
use crate::exit::{Exit, Failure};
use crate::terminal;

/// Sends each MESSAGE and prints the reply to it before the next one goes out: a server that takes whatever
/// one read brings for a message gets them one by one.
pub(super) async fn run(call: &Call<'_>) -> Result<(), Failure> {
    let args = call.args;
    let options = client::Options::new()
        .framing(call.framing)
        .ending(if args.crlf { Ending::CrLf } else { Ending::Lf })
        .max_message(REPLY_MAX);
    let mut client = options.converse_over(call.connect().await?.stream, args.address.clone());
    for (asked, message) in args.messages.iter().enumerate() {
        let message = message.as_bytes();
        let message = if args.crlf { Crlf::default().convert(message) } else { message.to_vec() };
        match ask(&mut client, &message, args.timeout).await {
            Ok(reply) => match print(&reply) {
                Ok(()) => {}
                Err(error) => return Failure::of_stdout(&error),
            },
            Err(unanswered) => {
                print(client.unfinished()).or_else(|error| Failure::of_stdout(&error))?;
                return Err(unanswered.explain(args, call.framing, asked, client.unfinished()));
            }
        }
    }
    Ok(())
}

/// Why there is no reply.
enum Unanswered {
    Timeout(Duration),
    Error(landline::error::Error),
}

/// The reply with its ending.
async fn ask(
    client: &mut Conversation,
    message: &[u8],
    timeout: Option<Duration>,
) -> Result<Vec<u8>, Unanswered> {
    let answer = client.ask(message);
    let answer = match timeout {
        None => answer.await,
        Some(limit) => tokio::time::timeout(limit, answer).await.map_err(|_| Unanswered::Timeout(limit))?,
    };
    let mut reply = Vec::from(answer.map_err(Unanswered::Error)?);
    reply.extend_from_slice(client.answer_ending());
    Ok(reply)
}

impl Unanswered {
    fn explain(self, args: &CallArgs, framing: Framing, asked: usize, unfinished: &[u8]) -> Failure {
        let limit = match self {
            // Many servers that speak TLS have no word for those who don't.
            Unanswered::Error(error)
                if error.is_lost() && !args.tls.tls && asked == 0 && unfinished.is_empty() =>
            {
                return Failure::from(error).hint("if it speaks TLS, add --tls");
            }
            Unanswered::Error(error) => return tls::failed(error),
            Unanswered::Timeout(limit) => limit,
        };
        let text = format!("no reply from {} within {limit:?}", args.address);
        let failure = Failure::new(Exit::Timeout, text);
        match framing {
            Framing::Line if !unfinished.is_empty() => {
                failure.hint("what came has no line ending; for a server that sends none, use --framing raw")
            }
            _ => failure.hint("--timeout sets how long to wait"),
        }
    }
}

/// Byte for byte; on a terminal, control bytes are escaped and the last line is ended.
fn print(bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() || !io::stdout().is_terminal() {
        return stdio::print(bytes);
    }
    let mut escaper = Escaper::new(terminal::charset());
    let mut text = String::new();
    escaper.push(bytes, &mut text);
    escaper.finish(&mut text);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    stdio::print(text.as_bytes())
}
