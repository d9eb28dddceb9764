//! At a prompt: a person types lines, and sees what the server says as it comes.

mod editor;
mod link;
mod screen;
mod terminal;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use landline::address::Address;
use tokio::sync::mpsc::Receiver;

use self::link::{End, Link};
use self::screen::Screen;
use self::terminal::TerminalMode;
use super::{Call, Reached, Took, tls};
use crate::exit::Failure;

/// Connects, then goes between the person and the server until the person has finished.
pub(super) async fn run(call: &Call<'_>) -> Result<(), Failure> {
    let screen = Arc::new(Screen::new());
    let watchers_screen = screen.clone();
    call.watch.speak(move |line| watchers_screen.say(line));
    let mut session = Session { call, screen: screen.clone(), link: None, refused: None };
    session.connect(" · ↑ history · /help · Ctrl-D to finish").await?;
    let editor = editor::open(&screen)?;
    let _restored = screen.can_edit().then(TerminalMode::raw);
    let lines = editor::read_lines(editor, screen, call.args.crlf);
    match session.run(lines).await {
        Ok(()) => session.finish().await,
        Err(error) => Failure::of_stdout(&error),
    }
}

struct Session<'a> {
    call: &'a Call<'a>,
    screen: Arc<Screen>,
    link: Option<Link>,
    /// Why the last connection was of no use, if TLS is why.
    refused: Option<Failure>,
}

impl Session<'_> {
    async fn connect(&mut self, more: &str) -> Result<(), Failure> {
        let begun = Instant::now();
        let Reached { stream, peer, spoken } = self.call.connect().await?;
        // Off a terminal there is no banner.
        if io::IsTerminal::is_terminal(&io::stderr()) {
            let address = Named(&self.call.args.address, peer);
            self.screen.say(&format!("connected to {address} in {}{spoken}{more}", Took(begun.elapsed())));
        }
        self.link = Some(Link::new(stream, self.call, self.screen.clone()));
        self.refused = None;
        Ok(())
    }

    /// Until the person has finished. The error is one of stdout.
    async fn run(&mut self, mut lines: Receiver<String>) -> io::Result<()> {
        loop {
            let typed = match &mut self.link {
                None => lines.recv().await,
                Some(link) => tokio::select! {
                    typed = lines.recv(), if link.takes_lines() => typed,
                    end = link.drive() => {
                        if let Some(end) = end? {
                            self.ended(end);
                        }
                        continue;
                    }
                },
            };
            let Some(line) = typed else { return Ok(()) };
            if self.link.is_none()
                && let Err(failure) = self.connect("").await
            {
                self.screen.notice(failure.text());
                self.screen.notice("the line was not sent (↑ brings it back)");
                continue;
            }
            if let Some(link) = &mut self.link
                && let Err(cause) = link.send(&line)
            {
                self.screen.notice(&format!("cannot send that: {cause}"));
            }
        }
    }

    /// Says that the connection is over; the prompt stays.
    fn ended(&mut self, end: End) {
        self.link = None;
        match end {
            End::Tls(error) => {
                let failure = tls::failed(error);
                self.screen.notice(&failure.in_one_line());
                self.refused = Some(failure);
            }
            end => self.screen.notice(&format!("{end}; the next line opens a new one")),
        }
    }

    /// No more lines: tells the server so, and shows what it still says.
    async fn finish(&mut self) -> Result<(), Failure> {
        let Some(link) = &mut self.link else { return self.refused.take().map_or(Ok(()), Err) };
        let ended = match self.call.args.timeout {
            None => Ok(link.finish().await),
            Some(limit) => tokio::time::timeout(limit, link.finish()).await.map_err(|_| limit),
        };
        let ended = match ended {
            Ok(ended) => ended,
            Err(limit) => {
                self.screen.notice(&format!("the server did not close within {limit:?}"));
                return Ok(());
            }
        };
        match ended {
            Ok(End::Closed) => Ok(()),
            Ok(End::Tls(error)) => Err(tls::failed(error)),
            Ok(end) => Err(super::lost(&self.call.args.address, &end.cause())),
            Err(error) => Failure::of_stdout(&error),
        }
    }
}

/// The address as typed and, when that was not an IP address, the one that answered.
struct Named<'a>(&'a Address, Option<SocketAddr>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = self.0.to_string();
        match self.1.map(|peer| peer.to_string()) {
            Some(peer) if peer != typed => write!(f, "{typed} ({peer})"),
            _ => f.write_str(&typed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_with_the_address_that_answered() {
        let peer = Some(SocketAddr::from(([127, 0, 0, 1], 8081)));
        let named = |typed: &str| Named(&typed.parse().unwrap(), peer).to_string();
        assert_eq!(named("8081"), "127.0.0.1:8081");
        assert_eq!(named("localhost:8081"), "localhost:8081 (127.0.0.1:8081)");
    }
}
