//! nginx and `HAProxy`, each with one thread, that end TLS and pass on what it brings.

use std::fs;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Certificate, Ending, words};
use crate::Outcome;
use crate::packages::Need;
use crate::trial::duel::SERVER_CORE;
use crate::trial::program::{PATIENCE, Program, free_port, pause};

const NGINX: &str = "/usr/sbin/nginx";
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

pub(super) const NEEDS: &[Need] = &[
    Need {
        program: NGINX,
        package: "nginx-core",
        reason: "a server to compare with; Debian starts one on port 80 as well",
    },
    Need { program: STREAM, package: "libnginx-mod-stream", reason: "nginx for TCP" },
    Need { program: "haproxy", package: "haproxy", reason: "another server to compare with" },
];

impl Ending {
    pub(super) fn nginx(certificate: &Certificate, behind: u16) -> Outcome<Self> {
        let port = free_port()?;
        let path = |name| words(&certificate.path(name));
        let config = format!(
            "load_module {STREAM};\ndaemon off;\nmaster_process off;\npid {};\n\
             events {{ worker_connections 8192; }}\n\
             stream {{\n\
               server {{\n\
                 listen 127.0.0.1:{port} ssl backlog=4096;\n\
                 ssl_certificate {};\n\
                 ssl_certificate_key {};\n\
                 ssl_protocols TLSv1.3;\n\
                 proxy_pass 127.0.0.1:{behind};\n\
               }}\n\
             }}\n",
            path("pid"),
            path("cert.pem"),
            path("key.pem")
        );
        let file = written(certificate, "nginx.conf", &config)?;
        let mut command = Command::new(NGINX);
        command.args(["-e", "stderr", "-c", &file]);
        start(command, port)
    }

    pub(super) fn haproxy(certificate: &Certificate, behind: u16) -> Outcome<Self> {
        let port = free_port()?;
        let config = format!(
            "global\n maxconn 8000\n nbthread 1\n\
             defaults\n mode tcp\n timeout connect 30s\n timeout client 10m\n timeout server 10m\n\
             listen a\n bind 127.0.0.1:{port} ssl crt {} ssl-min-ver TLSv1.3\n server s 127.0.0.1:{behind}\n",
            words(&certificate.path("both.pem"))
        );
        let file = written(certificate, "haproxy.cfg", &config)?;
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f", &file]);
        start(command, port)
    }
}

fn written(certificate: &Certificate, name: &str, config: &str) -> Outcome<String> {
    let path = certificate.path(name);
    fs::write(&path, config).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(words(&path))
}

/// Starts it on the servers' core, and waits until it listens.
fn start(mut command: Command, port: u16) -> Outcome<Ending> {
    let program = Program::start_on(SERVER_CORE, command.stdin(Stdio::null()).stderr(Stdio::null()))?;
    let begun = Instant::now();
    while let Err(error) = TcpStream::connect(("127.0.0.1", port)) {
        if begun.elapsed() > PATIENCE {
            return Err(format!("{} does not listen: {error}", command.get_program().display()));
        }
        pause(std::time::Duration::from_millis(10));
    }
    Ok(Ending { program, port })
}
