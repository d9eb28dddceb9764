//! Two machines and a cable between them, as far as the kernel is concerned: network namespaces.
//!
//! They have no names. Each is held by a process that ends when its stdin does, and goes with it: nothing is
//! left over, however this program ends.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::{fs, io, thread};

use rustix::process::geteuid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::program::{PATIENCE, Program};
use crate::Outcome;
use crate::step::Step;
use crate::tools::need_program;

/// Where the server is; addresses that belong to nobody.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// A server's machine and a client's.
#[derive(Debug)]
pub(super) struct Network {
    server: Machine,
    client: Machine,
}

/// A network namespace.
#[derive(Debug)]
struct Machine(Program);

impl Network {
    /// Lays the cable.
    pub(super) fn new() -> Outcome<Self> {
        for program in ["unshare", "nsenter", "setpriv"] {
            need_program(program, "util-linux")?;
        }
        need_program("ip", "iproute2")?;
        need_program("nft", "nftables")?;
        if !geteuid().is_root() {
            return Err("only root may make network namespaces".to_owned());
        }
        let (server, client) = (Machine::new()?, Machine::new()?);
        let peer = client.0.pid().to_string();
        server.run("ip link add eth0 type veth peer name eth0 netns", [peer])?;
        for (machine, address) in [(&server, SERVER), (&client, CLIENT)] {
            machine.run("ip address add dev eth0", [format!("{address}/30")])?;
            machine.run("ip link set eth0 up", [""; 0])?;
        }
        Ok(Self { server, client })
    }

    /// The start of a command line that runs where the server is, and no longer than this program.
    pub(super) fn by_the_server(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.server.entry()).args(["setpriv", "--pdeathsig", "KILL", "--"]);
        command
    }

    /// Connects from where the client is; nothing takes longer than anyone's patience.
    pub(super) fn call(&self, port: u16) -> Outcome<TcpStream> {
        let connect = || {
            let stream = TcpStream::connect_timeout(&SocketAddr::from((SERVER, port)), PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        self.client.within(connect).map_err(|error| format!("cannot connect from the namespace: {error}"))
    }

    /// Loses all that the server sends, from now on.
    pub(super) fn lose_what_the_server_sends(&self) -> Outcome {
        self.lose("output")
    }

    /// Loses all that the server would receive, from now on.
    pub(super) fn lose_what_the_client_sends(&self) -> Outcome {
        self.lose("input")
    }

    fn lose(&self, direction: &str) -> Outcome {
        let table = format!("table inet lost_{direction}");
        let chain = format!("chain everything {{ type filter hook {direction} priority 0; policy drop; }}");
        self.server.run("nft", [format!("{table} {{ {chain}; }}")])
    }
}

impl Machine {
    fn new() -> Outcome<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "sh", "-c", "echo there; exec cat"]).stdin(Stdio::piped());
        let holder = Program::start(&mut command)?;
        holder.line()?;
        Ok(Self(holder))
    }

    /// Arguments of nsenter.
    fn entry(&self) -> [String; 4] {
        ["--target".to_owned(), self.0.pid().to_string(), "--net".to_owned(), "--".to_owned()]
    }

    fn run(&self, line: &str, more: impl IntoIterator<Item = impl Into<std::ffi::OsString>>) -> Outcome {
        Step::new("nsenter").words(self.entry()).words(line.split(' ')).words(more).run()
    }

    /// Does something that makes a socket: it stays of this network wherever it is used later.
    fn within<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let network = fs::File::open(format!("/proc/{}/ns/net", self.0.pid()))?;
        let there = || {
            // Of this thread only, which ends here.
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        };
        let done = thread::scope(|scope| scope.spawn(there).join());
        done.unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
    }
}
