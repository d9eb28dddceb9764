//! nginx with one fixed response, on the servers' core: the same bytes for every request.

use std::fs;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};

use super::duel::SERVER_CORE;
use super::program::{Caller, PATIENCE, Program, free_port};
use crate::Outcome;
use crate::packages::{Need, provide};

/// A request, and the whole response to it.
pub(super) const QUESTION: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
pub(super) const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\
                                 Connection: keep-alive\r\n\r\nHello, world!";

const NGINX: &str = "/usr/sbin/nginx";
/// nginx itself can't leave out the date, which is another every second.
const HEADERS_MORE: &str = "/usr/lib/nginx/modules/ngx_http_headers_more_filter_module.so";

const NEEDS: &[Need] = &[
    Need {
        program: NGINX,
        package: "nginx-core",
        reason: "the server that is asked; Debian starts one on port 80 as well",
    },
    Need {
        program: HEADERS_MORE,
        package: "libnginx-mod-http-headers-more-filter",
        reason: "a response that is the same every second",
    },
];

/// It runs until this is dropped.
#[derive(Debug)]
pub(super) struct Nginx {
    // Before the folder, so that it has ended when that goes.
    _program: Program,
    _folder: Folder,
    port: u16,
}

/// A folder of its own, which goes with it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is in the way of nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Nginx {
    pub(super) fn start() -> Outcome<Self> {
        provide(NEEDS)?;
        let port = free_port()?;
        let folder = Folder(std::env::temp_dir().join(format!("landline-nginx-{}", process::id())));
        let file = folder.0.join("nginx.conf");
        let written = fs::create_dir_all(&folder.0).and_then(|()| fs::write(&file, config(port)));
        written.map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        let mut command = Command::new(NGINX);
        command.args(["-e", "stderr", "-p"]).arg(&folder.0).arg("-c").arg(&file);
        let mut program =
            Program::start_on(SERVER_CORE, command.stdin(Stdio::null()).stderr(Stdio::piped()))?;
        let log = program.errors()?;
        // It says so once it listens.
        while let Ok((_, line)) = log.recv_timeout(PATIENCE) {
            if line.contains("event method") {
                Caller::connect(port)?.ask(QUESTION, ANSWER)?;
                return Ok(Self { _program: program, _folder: folder, port });
            }
            if line.contains("[emerg]") {
                return Err(format!("nginx does not start: {line}"));
            }
        }
        Err("nginx does not start".to_owned())
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

/// One process, no log of requests, and nothing in a response that changes.
fn config(port: u16) -> String {
    format!(
        "load_module {HEADERS_MORE};\n\
         daemon off;\n\
         master_process off;\n\
         error_log stderr notice;\n\
         pid nginx.pid;\n\
         events {{ worker_connections 2048; }}\n\
         http {{\n\
           access_log off;\n\
           keepalive_requests 1000000000;\n\
           client_body_temp_path body;\n\
           proxy_temp_path proxy;\n\
           fastcgi_temp_path fastcgi;\n\
           uwsgi_temp_path uwsgi;\n\
           scgi_temp_path scgi;\n\
           default_type text/plain;\n\
           more_clear_headers Date Server;\n\
           server {{ listen 127.0.0.1:{port} backlog=4096; return 200 'Hello, world!'; }}\n\
         }}\n"
    )
}
