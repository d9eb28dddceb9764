//! A server that goes on when its process is killed, and so do its connections, each of which counts its
//! messages: Linux only. Try `kill -9` on the child process between two lines, or within one.
//!
//! With a second address, code that owns whole connections echoes there what is said. No other process can go
//! on with those: upon `kill -USR2` another program takes over, and the one before it keeps them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it says where it listens, or why not")]

use std::io::Write;
use std::process::ExitCode;

use landline::{Connection, Event, Framing, Outcome, Server, Service, Subscriber, framed, takeover};

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
    let mut addresses = std::env::args().skip(1);
    let address = addresses.next().unwrap_or("127.0.0.1:8081".to_owned());
    let mut serving = Server::bind(address)?.events(News).serve(framed(Framing::Line, counter()));
    if let Some(address) = addresses.next() {
        serving = serving.and(Server::bind(address)?.serve(async |conn: Connection| {
            let (mut from, mut to) = tokio::io::split(conn);
            Ok(tokio::io::copy(&mut from, &mut to).await.map(drop)?)
        }));
    }
    Ok(serving.run().map(drop)?)
}

/// Answers each line with its number on this connection.
fn counter() -> impl Service {
    landline::lasting_session(
        |_, _| Ok(0_u64),
        async |count, line, reply| {
            *count += 1;
            Ok(write!(reply, "{count} {}", line.escape_ascii())?)
        },
    )
}

struct News;

impl Subscriber for News {
    fn event(&self, event: &Event) {
        if ["listening", "worker_restarted", "upgraded", "parted"].contains(&event.name()) {
            println!("{event}");
        }
    }
}
