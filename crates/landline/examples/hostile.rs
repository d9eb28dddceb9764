//! A server whose services do their worst, for the tests: Linux only. It is no example of anything, but of
//! how a server goes on none the less. At the first address a line says what is done; whoever calls at the
//! second is greeted by an end of the process.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it says what happens, for the tests")]

use std::process::{ExitCode, abort};
use std::time::Duration;

use landline::takeover::Keeping;
use landline::{Event, Framing, Outcome, Reply, Server, Subscriber, framed, service, session};
use rustix::process::{Signal, getpid, kill_process};

fn main() -> Result<ExitCode, landline::Error> {
    let ended = Keeping::new().watchdog_timeout(Duration::from_secs(1)).keep(|| match serve() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    })?;
    Ok(ExitCode::from(ended.code()))
}

fn serve() -> Outcome {
    let worst = service(async |line: &[u8], reply: &mut Reply| {
        match line {
            b"abort" => abort(),
            // The first one is Rust's, who looks whether it was the end of the stack.
            b"segfault" => loop {
                kill_process(getpid(), Signal::SEGV)?;
            },
            b"spin" => (0..u128::MAX).for_each(|number| {
                std::hint::black_box(number);
            }),
            _ => reply.send(line),
        }
        Ok(())
    });
    let greeting = session(|_, _| -> Outcome { abort() }, async |(), _, _| Ok(()));
    let worst = Server::bind("127.0.0.1:0")?.threads(2).events(News).serve(framed(Framing::Line, worst));
    let greeting = Server::bind("127.0.0.1:0")?.serve(framed(Framing::Line, greeting));
    let _ = worst.and(greeting).run()?;
    Ok(())
}

struct News;

impl Subscriber for News {
    fn event(&self, event: &Event) {
        if !matches!(event, Event::Started { .. }) {
            println!("{event}");
        }
    }
}
