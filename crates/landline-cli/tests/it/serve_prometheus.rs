//! What `--http` tells, scraped by a real Prometheus.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::serve_http::{request, telling};
use crate::serving::lines;
use crate::support::{GUARD, has};

/// How often it scrapes, and is asked what it found.
const INTERVAL: Duration = Duration::from_millis(250);

/// A Prometheus that scrapes one address; it is killed when the test is over, however it ends.
struct Prometheus {
    child: Child,
    folder: PathBuf,
    log: Receiver<String>,
    said: Vec<String>,
    address: SocketAddr,
}

impl Prometheus {
    fn scraping(target: SocketAddr) -> Self {
        let folder = std::env::temp_dir().join(format!("landline-prometheus-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let config = folder.join("prometheus.yml");
        let every = format!("{}ms", INTERVAL.as_millis());
        let text = format!(
            "scrape_configs:\n\
             - job_name: landline\n  \
               scrape_interval: {every}\n  \
               scrape_timeout: {every}\n  \
               static_configs:\n  \
               - targets: ['{target}']\n"
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg("--web.listen-address=127.0.0.1:0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = lines(child.stderr.take());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut started = Self { child, folder, log, said: Vec::new(), address };
        started.address = started.where_it_listens();
        started
    }

    /// Its port is its own choice, and the log has it.
    fn where_it_listens(&mut self) -> SocketAddr {
        loop {
            let line = self.log.recv_timeout(GUARD);
            let line = line.unwrap_or_else(|_| panic!("it does not listen: {:#?}", self.said));
            self.said.push(line.clone());
            if line.contains("\"Listening on\"")
                && let Some((_, address)) = line.split_once("address=")
            {
                return address.split_whitespace().next().unwrap().parse().unwrap();
            }
        }
    }

    /// Asks until the answer is so, for as long as a test may take.
    #[track_caller]
    fn comes_to_say(&mut self, path: &str, what: impl Fn(&Value) -> Option<&str>, expected: &str) {
        let began = Instant::now();
        loop {
            let answer = request(self.address, &format!("GET /api/v1/{path} HTTP/1.0|Host: localhost")).body;
            // Before it is ready it says so in words.
            let answer: Value = serde_json::from_str(&answer).unwrap_or(Value::String(answer));
            if what(&answer) == Some(expected) {
                return;
            }
            let said = &self.said;
            assert!(began.elapsed() < GUARD, "{path} is not {expected:?}, but {answer:#}: {said:#?}");
            // Nothing new is found before it scrapes again; its log has this time to say why.
            self.said.extend(self.log.recv_timeout(INTERVAL));
        }
    }

    /// Asks until a metric has this value.
    #[track_caller]
    fn comes_to_know(&mut self, metric: &str, value: &str) {
        self.comes_to_say(
            &format!("query?query={metric}"),
            |answer| answer["data"]["result"][0]["value"][1].as_str(),
            value,
        );
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn prometheus_scrapes_the_numbers_of_live_connections_as_openmetrics() {
    let version = Command::new("prometheus").arg("--version").stdout(Stdio::null()).status();
    if !has("prometheus", version.is_ok()) {
        return;
    }
    let (server, http) = telling(&[]);
    let mut caller = server.call();
    caller.asks("hello");
    let mut prometheus = Prometheus::scraping(http);
    prometheus.comes_to_know("up", "1");
    prometheus.comes_to_know("landline_connections_open", "1");
    prometheus.comes_to_know("landline_connections{state=\"idle\"}", "1");
    prometheus.comes_to_know("landline_messages_total", "1");
    prometheus.comes_to_know("landline_answer_seconds_count", "1");
    let queue = format!("landline_accept_queue{{listener=\"{}\"}}", server.address);
    prometheus.comes_to_know(&queue, "0");
    // Only in OpenMetrics is a counter described by its name without the ending.
    prometheus.comes_to_say(
        "metadata?metric=landline_messages",
        |answer| answer["data"]["landline_messages"][0]["type"].as_str(),
        "counter",
    );
    drop(caller);
    prometheus.comes_to_know("landline_connections_open", "0");
    prometheus.comes_to_know("landline_messages_total", "1");
    server.stop().in_order();
    prometheus.comes_to_know("up", "0");
}
