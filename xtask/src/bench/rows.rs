//! Who is measured.

use std::process::{Command, Stdio};

use super::tokio_servers;
use crate::Outcome;
use crate::tools::need_program;
use crate::trial::duel::Rival;
use crate::trial::program::{built, free_port, part, serve};
use crate::trial::reference;
use crate::trial::traffic::{Traffic, Wording};

/// A row of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// Whether it is measured when nobody says which rows are.
    pub(super) is_usual: bool,
    /// How to start it for messages of a kind; none if it does not speak them. The failure is what is
    /// missing.
    start: fn(&'static str, Wording) -> Outcome<Option<Rival>>,
    /// How a message without lines is worded for it.
    wording: Wording,
    /// What has to be known beside its figures.
    pub(super) note: Option<&'static str>,
}

const UNEVEN: &str = "With many connections in a closed loop it answers some callers again and again while others \
     wait, and so finds those in the processor's caches: `cargo xtask trial evenness`.";

/// By this name others are compared with it.
pub(super) const LANDLINE: &str = "landline";
pub(super) const TOKIO: &str = "tokio";

const fn row(
    name: &'static str,
    title: &'static str,
    start: fn(&'static str, Wording) -> Outcome<Option<Rival>>,
) -> Row {
    Row { name, title, is_usual: false, start, wording: Wording::Raw, note: None }
}

pub(super) const ROWS: &[Row] = &[
    Row { is_usual: true, ..row(LANDLINE, "landline", landline) },
    Row {
        is_usual: true,
        ..row(TOKIO, "tokio, bare loop", |name, wording| tokio(name, tokio_servers::BARE, wording))
    },
    Row {
        is_usual: true,
        note: Some(UNEVEN),
        ..row("naive-tokio", "tokio, as in tutorials", |name, wording| {
            tokio(name, tokio_servers::NAIVE, wording)
        })
    },
    row("epoll-alone", "epoll, bare loop, one thread", |name, wording| {
        Ok(cut(wording).map(|cut| Rival::new(name, part(&[reference::PART_ALONE, cut]))))
    }),
    row("tokio-alone", "tokio, bare loop, one thread", |name, wording| {
        tokio(name, tokio_servers::ALONE, wording)
    }),
    row("naive-tokio-in-turn", "tokio, as in tutorials, one queue", |name, wording| {
        tokio(name, tokio_servers::NAIVE_IN_TURN, wording)
    }),
    row("go", "Go net", go),
    row("node", "Node net", node),
    row("asyncio", "asyncio, protocol", |name, wording| python(name, "protocol", "asyncio", wording)),
    row("asyncio-streams", "asyncio, streams", |name, wording| python(name, "streams", "asyncio", wording)),
    row("uvloop", "uvloop, protocol", |name, wording| python(name, "protocol", "uvloop", wording)),
    Row { wording: Wording::Ping, ..row("redis", "Redis, PING with a text", redis) },
];

impl Row {
    /// What callers are to say to it, and the server; none if it does not take part.
    pub(super) fn rival(&self, traffic: &Traffic) -> Outcome<Option<(Rival, Traffic)>> {
        let wording = if traffic.wording == Wording::Raw { self.wording } else { traffic.wording };
        let rival = (self.start)(self.title, wording)?;
        let traffic = Traffic { wording, ..*traffic };
        // Redis takes no inline command as long as this.
        let speaks = wording != Wording::Ping || traffic.size < 64 << 10;
        Ok(rival.filter(|_| speaks).map(|rival| (rival, traffic)))
    }
}

/// The loop that the others are compared with.
pub(super) fn bare_epoll(wording: Wording) -> Rival {
    let cut = cut(wording).unwrap_or("raw");
    Rival::new("bare epoll loop", part(&[reference::PART, cut]))
}

/// The word for a kind of message, for servers that answer in capitals.
fn cut(wording: Wording) -> Option<&'static str> {
    match wording {
        Wording::Raw => Some("raw"),
        Wording::Line => Some("line"),
        Wording::Ping => None,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is started as the others are")]
fn landline(name: &'static str, wording: Wording) -> Outcome<Option<Rival>> {
    let rival = |cut| Rival::new(name, serve(&["--quiet", "--threads", "1", "--framing", cut]));
    Ok(cut(wording).map(rival))
}

#[expect(clippy::unnecessary_wraps, reason = "it is started as the others are")]
fn tokio(name: &'static str, word: &str, wording: Wording) -> Outcome<Option<Rival>> {
    Ok(cut(wording).map(|cut| Rival::new(name, part(&[word, cut]))))
}

fn go(name: &'static str, wording: Wording) -> Outcome<Option<Rival>> {
    let Some(cut) = cut(wording) else { return Ok(None) };
    need_program("go", "golang-go")?;
    let program = built("bench-go");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(source("server.go"));
    // It needs nothing but what came with the compiler.
    let outcome = build.env("GOTOOLCHAIN", "local").env("GOPROXY", "off").status();
    if !outcome.is_ok_and(|status| status.success()) {
        return Err("`go build` fails".to_owned());
    }
    Ok(Some(Rival::new(name, silent(Command::new(program), &[cut]))))
}

fn node(name: &'static str, wording: Wording) -> Outcome<Option<Rival>> {
    need_program("node", "nodejs")?;
    let rival = || Rival::new(name, silent(Command::new("node"), &[&source("server.js")]));
    Ok((wording == Wording::Raw).then(rival))
}

fn python(name: &'static str, style: &str, event_loop: &str, wording: Wording) -> Outcome<Option<Rival>> {
    // Both loops are measured on the same interpreter, if one has both.
    let mut interpreters = ["python3", "/usr/bin/python3"].into_iter();
    let with_uvloop =
        interpreters.find(|python| succeeds(Command::new(python).args(["-c", "import uvloop"])));
    let interpreter = match with_uvloop {
        Some(interpreter) => interpreter,
        None if event_loop == "uvloop" => {
            return Err("uvloop is missing; on Debian and Ubuntu it is in python3-uvloop".to_owned());
        }
        None => need_program("python3", "python3").map(|()| "python3")?,
    };
    let cut = cut(wording).filter(|cut| *cut == "raw" || style == "streams");
    let rival = |cut| {
        Rival::new(name, silent(Command::new(interpreter), &[&source("server.py"), style, event_loop, cut]))
    };
    Ok(cut.map(rival))
}

fn redis(name: &'static str, wording: Wording) -> Outcome<Option<Rival>> {
    const READY: &str = "Ready to accept connections";
    need_program("redis-server", "redis-server")?;
    if wording != Wording::Ping {
        return Ok(None);
    }
    // It cannot say which port it was given.
    let port = free_port()?;
    let words =
        format!("--port {port} --bind 127.0.0.1 --appendonly no --maxclients 15000 --tcp-backlog 4096");
    let mut command = silent(Command::new("redis-server"), &words.split(' ').collect::<Vec<_>>());
    command.args(["--save", ""]);
    Ok(Some(Rival::new(name, command).on_port(port, READY)))
}

/// Without a stdin, and with these words.
fn silent(mut command: Command, words: &[&str]) -> Command {
    command.args(words).stdin(Stdio::null());
    command
}

fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn source(name: &str) -> String {
    format!("xtask/src/bench/servers/{name}")
}
