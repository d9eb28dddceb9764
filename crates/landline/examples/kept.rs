//! A server that goes on when its process is killed, and so do its connections, each of which counts its
//! messages: Linux only. Try `kill -9` on the child process between two lines, or within one.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it says where it listens, or why not")]

use std::io::Write;
use std::process::ExitCode;

use landline::{Event, Framing, Outcome, Server, Service, Subscriber, framed, lasting_session, takeover};

fn main() -> Result<ExitCode, landline::Error> {
    // In each child process, with a copy of what this one has up to here.
    let ended = takeover::keep(|| match serve() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    })?;
    Ok(ExitCode::from(ended.code()))
}

fn serve() -> Outcome {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8081".to_owned());
    let _ = Server::bind(address)?.events(News).serve(framed(Framing::Line, counter())).run()?;
    Ok(())
}

/// Answers each line with its number on this connection.
fn counter() -> impl Service {
    lasting_session(
        |_, _| Ok(0_u64),
        async |count, line, reply| {
            *count += 1;
            write!(reply, "{count} {}", line.escape_ascii())?;
            Ok(())
        },
    )
}

struct News;

impl Subscriber for News {
    fn event(&self, event: &Event) {
        if matches!(event, Event::Listening { .. } | Event::WorkerRestarted { .. }) {
            println!("{event}");
        }
    }
}
