//! The control socket: HTTP and JSON over a Unix socket that only its owner can open. GET changes nothing;
//! what changes something is a POST.

pub(crate) mod client;
pub(crate) mod place;

use std::path::Path as FilePath;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper_util::service::TowerToHyperService;
use landline::{CloseError, Error, ListenAddr, Monitor, Server};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::serve::process_id;
use crate::serve::upgrade::{self, Draining, Progress, Step, Wanted};
use crate::side_door::SideDoor;

/// Connections at a time; others wait. As in `serve/http.rs`, descriptors are few.
const PLACES: usize = 6;

/// The mode of its file: who may ask may also end the server.
pub(crate) const MODE: u32 = 0o600;

/// How long whoever asks for the outcome of an upgrade waits for it at most; then it may be asked for again.
const WAIT: Duration = Duration::from_secs(5);
/// How often it is looked for: another process decides on it.
const LOOK: Duration = Duration::from_millis(10);

/// What `GET /status` tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) pid: u32,
    pub(crate) version: String,
    /// Where it takes callers; nowhere before it runs and in a drain.
    pub(crate) addresses: Vec<String>,
    pub(crate) uptime_ms: u64,
    pub(crate) open: usize,
    pub(crate) max_connections: usize,
    /// How often another program has taken over.
    pub(crate) upgrades: u32,
    /// How far the last upgrade is that was asked for, if there was one.
    pub(crate) last_upgrade: Option<Progress>,
    /// Processes before it that still have connections.
    pub(crate) draining: Vec<Draining>,
}

/// What an operation that failed tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Trouble {
    pub(crate) error: String,
}

/// Listens at `path`.
pub(crate) fn bind(path: &FilePath) -> Result<Server, Failure> {
    let Some(words) = path.to_str() else {
        let path = path.display();
        return Err(Failure::new(Exit::Usage, format!("the path of a control socket is not UTF-8: {path}")));
    };
    Ok(Server::bind(format!("unix:{words}"))?.unix_mode(MODE))
}

/// Answers about a server where `listening` does, until what it returns is dropped; then the file is gone
/// too. `broke` is told why if it can't go on.
pub(crate) fn answer(
    listening: Server,
    monitor: Monitor,
    broke: impl FnOnce(&Error) + Send + 'static,
) -> Result<SideDoor, Failure> {
    SideDoor::open(listening, PLACES, TowerToHyperService::new(router(monitor)), broke)
}

pub(crate) fn router(monitor: Monitor) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/connections", get(list))
        .route("/connections/{id}", get(show))
        .route("/connections/{id}/close", post(close))
        .route("/drain", post(drain))
        .route("/reload", post(reload))
        .route("/upgrades", post(begin_upgrade))
        .route("/upgrades/{number}", get(show_upgrade))
        .with_state(monitor)
}

async fn status(State(monitor): State<Monitor>) -> Json<Status> {
    let (upgrades, last_upgrade) = upgrade::all();
    Json(Status {
        pid: process_id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        addresses: monitor.addresses().iter().map(ListenAddr::to_string).collect(),
        uptime_ms: u64::try_from(monitor.uptime().as_millis()).unwrap_or(u64::MAX),
        open: monitor.open(),
        max_connections: monitor.max_connections(),
        upgrades,
        last_upgrade,
        draining: upgrade::draining(),
    })
}

async fn list(State(monitor): State<Monitor>) -> Response {
    Json(monitor.connections()).into_response()
}

async fn show(State(monitor): State<Monitor>, Path(id): Path<u64>) -> Response {
    match monitor.connection(id) {
        Some(connection) => Json(connection).into_response(),
        None => trouble(StatusCode::NOT_FOUND, &CloseError::Unknown),
    }
}

async fn close(State(monitor): State<Monitor>, Path(id): Path<u64>) -> Response {
    match monitor.close(id) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(CloseError::Unknown) => trouble(StatusCode::NOT_FOUND, &CloseError::Unknown),
        Err(error) => trouble(StatusCode::SERVICE_UNAVAILABLE, &error),
    }
}

async fn drain(State(monitor): State<Monitor>) -> StatusCode {
    monitor.drain();
    StatusCode::ACCEPTED
}

async fn reload(State(monitor): State<Monitor>) -> Response {
    match monitor.reload().await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => trouble(StatusCode::UNPROCESSABLE_ENTITY, &error),
    }
}

async fn begin_upgrade(Json(wanted): Json<Wanted>) -> Response {
    match upgrade::begin(&wanted) {
        Ok(progress) => (StatusCode::ACCEPTED, Json(progress)).into_response(),
        Err(error) => trouble(StatusCode::CONFLICT, &error),
    }
}

/// Waits for the outcome, if that does not take too long.
async fn show_upgrade(Path(number): Path<u32>) -> Json<Progress> {
    let mut looks = WAIT.as_millis() / LOOK.as_millis();
    let mut progress = upgrade::progress(number);
    while looks > 0 && matches!(progress.state, Step::Checking | Step::Starting) {
        looks -= 1;
        tokio::time::sleep(LOOK).await;
        progress = upgrade::progress(number);
    }
    Json(progress)
}

fn trouble(status: StatusCode, error: &dyn std::error::Error) -> Response {
    (status, Json(Trouble { error: error.to_string() })).into_response()
}

#[cfg(test)]
mod tests {
    use std::process;
    use std::sync::mpsc::{SyncSender, sync_channel};
    use std::thread;

    use landline::{Echo, Event, Framing, Serving, Subscriber, framed};

    use super::*;

    #[test]
    fn a_reload_changes_what_the_status_tells_and_one_that_fails_says_why() {
        let path = std::env::temp_dir().join(format!("landline-reload-{}.sock", process::id()));
        let (told, telling) = sync_channel(1);
        let running = thread::spawn(move || server(told).run().unwrap());
        let monitor = telling.recv_timeout(Duration::from_secs(30)).unwrap();
        let door = answer(bind(&path).unwrap(), monitor.clone(), |_| panic!("it broke")).unwrap();
        let status = || client::get::<Status>(&path, "/status").unwrap();
        let before = status();
        client::post(&path, "/reload").unwrap();
        let after = status();
        assert_eq!((before.addresses.len(), after.addresses.len(), after.max_connections), (1, 2, 3));
        assert_eq!(before.addresses[0], after.addresses[0]);
        let failure = client::post(&path, "/reload").unwrap_err();
        assert!(failure.text().contains("the file is gone"), "{failure:?}");
        monitor.drain();
        assert!(running.join().unwrap().cut.is_empty());
        assert!(status().addresses.is_empty());
        drop(door);
        assert!(!path.exists());
    }

    struct Up(SyncSender<Monitor>, Monitor);

    impl Subscriber for Up {
        fn event(&self, event: &Event) {
            if let Event::Started { .. } = event {
                self.0.send(self.1.clone()).unwrap();
            }
        }
    }

    /// A server that can be reloaded once; its monitor is told when it is up.
    fn server(up: SyncSender<Monitor>) -> Serving {
        let echo = || framed(Framing::Raw, Echo);
        let server = Server::bind("127.0.0.1:0").unwrap();
        let monitor = server.monitor();
        let mut second = Some("127.0.0.2:0");
        server.events(Up(up, monitor)).serve(echo()).on_reload(move |monitor| {
            let second = second.take().ok_or("the file is gone")?;
            let first = monitor.bind("127.0.0.1:0")?.max_connections(3).serve(echo());
            Ok(first.and(monitor.bind(second)?.serve(echo())))
        })
    }
}
