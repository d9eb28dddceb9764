//! At a prompt: a person types lines, and sees what the server says as it comes.

mod assistant;
mod editor;
mod file;
mod history;
mod link;
mod screen;
mod stats;
mod terminal;
mod typed;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use landline::address::Address;
use landline::client::Delimiting;
use landline::frame::Framing;
use tokio::sync::mpsc::Receiver;

use self::file::Source;
use self::link::{End, Link};
use self::screen::Screen;
use self::stats::Stats;
use self::terminal::TerminalMode;
use self::typed::{Reading, Typed};
use super::crlf::Crlf;
use super::{Call, Reached, Took, tls, watch};
use crate::exit::Failure;

/// Connects, then goes between the person and the server until the person has finished.
pub(super) async fn run(call: &Call<'_>) -> Result<(), Failure> {
    let screen = Arc::new(Screen::new());
    let watchers_screen = screen.clone();
    call.watch.speak(move |line| watchers_screen.say(line));
    let reading = Reading {
        blank_lines: call.args.crlf,
        line_by_line: matches!(call.delimiting(), Delimiting::Framed(Framing::Line, _)),
    };
    let mut session = Session {
        call,
        screen: screen.clone(),
        times: call.watch.times(),
        stats: Stats::new(),
        link: None,
        file: None,
        refused: None,
    };
    session.connect(" · ↑ history · /help · Ctrl-D to finish").await?;
    let editor = editor::open(&screen)?;
    let _restored = screen.can_edit().then(TerminalMode::raw);
    match session.run(editor.read_lines(reading)).await {
        Ok(()) => session.finish().await,
        Err(error) => Failure::of_stdout(&error),
    }
}

struct Session<'a> {
    call: &'a Call<'a>,
    screen: Arc<Screen>,
    times: watch::Shared,
    stats: Stats,
    link: Option<Link>,
    /// What is on its way out, before any other line.
    file: Option<(Source, Crlf)>,
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
        self.stats.connected();
        Ok(())
    }

    /// Until the person has finished. The error is one of stdout.
    async fn run(&mut self, mut wishes: Receiver<Typed>) -> io::Result<()> {
        loop {
            self.feed();
            let wish = match &mut self.link {
                None => wishes.recv().await,
                Some(link) => tokio::select! {
                    wish = wishes.recv(), if link.takes_lines() => wish,
                    end = link.drive() => {
                        let end = end?;
                        for took in link.round_trips() {
                            self.stats.answered(took);
                        }
                        if let Some(end) = end {
                            self.ended(end);
                        }
                        continue;
                    }
                },
            };
            match wish {
                None => return Ok(()),
                Some(Typed::Stats) => self.tell_stats(),
                Some(Typed::Reconnect) => self.reconnect().await,
                Some(Typed::File(path)) => self.send_file(&path).await,
                Some(Typed::Message(line)) => self.send(&line).await,
                // The editor does all else itself.
                Some(_) => {}
            }
        }
    }

    async fn send(&mut self, line: &str) {
        if self.is_connected("the line was not sent (↑ brings it back)").await
            && let Some(link) = &mut self.link
        {
            match link.send(line) {
                Ok(()) => self.stats.sent(),
                Err(cause) => self.screen.notice(&format!("cannot send that: {cause}")),
            }
        }
    }

    /// Connects if there is no connection; if that fails, says so, and what it means.
    async fn is_connected(&mut self, otherwise: &str) -> bool {
        if self.link.is_none()
            && let Err(failure) = self.connect("").await
        {
            self.screen.notice(failure.text());
            self.screen.notice(otherwise);
        }
        self.link.is_some()
    }

    fn tell_stats(&mut self) {
        for took in self.link.iter_mut().flat_map(Link::round_trips) {
            self.stats.answered(took);
        }
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.screen.say(&self.stats.told(&times).to_string());
    }

    /// Whatever the server still had to say on the connection before is not heard.
    async fn reconnect(&mut self) {
        self.link = None;
        self.stats.ended();
        self.is_connected("the next line tries again").await;
    }

    async fn send_file(&mut self, path: &Path) {
        let source = match Source::open(path) {
            Ok(source) => source,
            Err(cause) => return self.screen.notice(&cause),
        };
        if !self.is_connected("the file was not sent").await {
            return;
        }
        if matches!(self.call.delimiting(), Delimiting::Framed(Framing::Line | Framing::Raw, _)) {
            self.file = Some((source, Crlf::default()));
            return;
        }
        // Here a message says where it ends, so that a file has to be one.
        let sent = source.whole(super::REPLY_MAX).and_then(|bytes| match &mut self.link {
            Some(link) => link.send_bytes(&bytes).map_err(|cause| format!("cannot send that: {cause}")),
            None => Ok(()),
        });
        match sent {
            Ok(()) => self.stats.sent(),
            Err(cause) => self.screen.notice(&cause),
        }
    }

    /// Gives the connection the next piece of a file, once what it had is out.
    fn feed(&mut self) {
        let (Some(link), Some((source, crlf))) = (&mut self.link, &mut self.file) else { return };
        if !link.takes_lines() {
            return;
        }
        match source.next() {
            Ok(piece) if !piece.is_empty() => return link.send_piece(&piece, crlf),
            Ok(_) => self.screen.say(&source.report()),
            Err(cause) => self.screen.notice(&cause),
        }
        self.file = None;
    }

    /// Says that the connection is over; the prompt stays.
    fn ended(&mut self, end: End) {
        self.link = None;
        self.stats.ended();
        if let Some((source, _)) = self.file.take() {
            self.screen.notice(&source.report());
        }
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
