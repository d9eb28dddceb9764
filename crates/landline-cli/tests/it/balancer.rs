//! Real balancers in front of a server, each as a child process.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use socket2::{Domain, Socket, Type};

use crate::serving::{Caller, lines};
use crate::support::{GUARD, has, text};

/// A balancer; it is killed when the test is over, however it ends.
pub(crate) struct Balancer {
    child: Child,
    pub(crate) folder: PathBuf,
    /// Where it takes callers.
    pub(crate) address: SocketAddr,
    /// Keeps the port for it, without listening there.
    _port: Socket,
    _log: Receiver<String>,
}

/// A folder of its own.
fn folder() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("landline-balancer-{}-{count}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A port that nobody else can have, but for a program that shares it.
fn port() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

impl Balancer {
    /// `HAProxy` with what `config` makes of its folder and of where it listens.
    pub(crate) fn haproxy(config: impl FnOnce(&Path, SocketAddr) -> String) -> Option<Self> {
        let found = Command::new("haproxy").arg("-v").stdout(Stdio::null()).status();
        if !has("haproxy", found.is_ok_and(|status| status.success())) {
            return None;
        }
        let defaults =
            "defaults\n mode tcp\n timeout connect 30s\n timeout client 60s\n timeout server 60s\n";
        Some(Self::start(&["haproxy", "-db", "-f"], |folder, address| {
            format!("global\n maxconn 100\n{defaults}{}", config(folder, address))
        }))
    }

    /// nginx with what `config` makes of where it listens, in the context `stream`.
    pub(crate) fn nginx(config: impl FnOnce(SocketAddr) -> String) -> Option<Self> {
        const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
        let found = Command::new("/usr/sbin/nginx").arg("-v").stderr(Stdio::null()).status();
        let is_there = found.is_ok_and(|status| status.success()) && Path::new(STREAM).exists();
        if !has("nginx with its stream module", is_there) {
            return None;
        }
        Some(Self::start(&["/usr/sbin/nginx", "-e", "stderr", "-c"], |folder, address| {
            let pid = folder.join("pid");
            format!(
                "load_module {STREAM};\ndaemon off;\nmaster_process off;\npid {};\n\
                 events {{ worker_connections 100; }}\nstream {{\n{}}}\n",
                pid.display(),
                config(address)
            )
        }))
    }

    /// A program that is told the name of its configuration last.
    fn start(words: &[&str], config: impl FnOnce(&Path, SocketAddr) -> String) -> Self {
        let (folder, (port, address)) = (folder(), port());
        let file = folder.join("config");
        fs::write(&file, config(&folder, address)).unwrap();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(file).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = lines(child.stderr.take());
        Self { child, folder, address, _port: port, _log: log }
    }

    /// Waits until it takes callers, and calls it, from an address that it does not have itself.
    pub(crate) fn call(&self) -> Caller {
        let begun = Instant::now();
        loop {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 0, 9], 0)).into()).unwrap();
            match socket.connect(&self.address.into()) {
                Ok(()) => return Caller::over(socket.into()),
                Err(error) => assert!(begun.elapsed() < GUARD, "{error}"),
            }
        }
    }

    /// Waits until this file of its own is there.
    pub(crate) fn has_made(&self, file: &str) -> PathBuf {
        let path = self.folder.join(file);
        let begun = Instant::now();
        while !path.exists() {
            assert!(begun.elapsed() < GUARD, "{} is made", text(path.as_os_str().as_encoded_bytes()));
            std::thread::yield_now();
        }
        path
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
