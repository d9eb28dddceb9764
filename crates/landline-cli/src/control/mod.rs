//! The control socket: HTTP and JSON over a Unix socket that only its owner can open.

pub(crate) mod client;
pub(crate) mod place;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path as FilePath, PathBuf};
use std::{fs, process, thread};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use landline::{CloseError, Monitor};
use serde::{Deserialize, Serialize};

/// What `GET /status` tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) uptime_ms: u64,
    pub(crate) open: usize,
    pub(crate) max_connections: usize,
}

/// What an operation that failed tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Trouble {
    pub(crate) error: String,
}

/// A control socket that answers; dropping it takes its file away.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
}

#[derive(Clone)]
struct Surface {
    monitor: Monitor,
    addresses: Vec<String>,
}

impl Control {
    /// Answers at `path`, on a thread of its own, about a server with these addresses.
    pub(crate) fn start(path: PathBuf, monitor: Monitor, addresses: Vec<String>) -> io::Result<Self> {
        let listener = bind(&path)?;
        let control = Self { path };
        listener.set_nonblocking(true)?;
        let router = router(Surface { monitor, addresses });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("landline-ctl".into()).spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                axum::serve(listener, router).await
            })
        })?;
        Ok(control)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // It may be gone already, with its folder.
        let _ = fs::remove_file(&self.path);
    }
}

/// Listens at a path that only its owner can open. A stale socket file is replaced, a live one is not.
fn bind(path: &FilePath) -> io::Result<UnixListener> {
    if let Err(error) = UnixStream::connect(path) {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            fs::remove_file(path)?;
        }
    } else {
        return Err(rustix::io::Errno::ADDRINUSE.into());
    }
    // Until its mode is set nobody else may reach it either: the folder may be open to all.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = listener?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn router(surface: Surface) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/connections", get(list))
        .route("/connections/{id}", get(show))
        .route("/connections/{id}/close", post(close))
        .route("/drain", post(drain))
        .with_state(surface)
}

async fn status(State(surface): State<Surface>) -> Json<Status> {
    Json(Status {
        pid: process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        addresses: surface.addresses,
        uptime_ms: u64::try_from(surface.monitor.uptime().as_millis()).unwrap_or(u64::MAX),
        open: surface.monitor.open(),
        max_connections: surface.monitor.max_connections(),
    })
}

async fn list(State(surface): State<Surface>) -> Response {
    Json(surface.monitor.connections()).into_response()
}

async fn show(State(surface): State<Surface>, Path(id): Path<u64>) -> Response {
    match surface.monitor.connection(id) {
        Some(connection) => Json(connection).into_response(),
        None => trouble(StatusCode::NOT_FOUND, CloseError::Unknown),
    }
}

async fn close(State(surface): State<Surface>, Path(id): Path<u64>) -> Response {
    match surface.monitor.close(id) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(CloseError::Unknown) => trouble(StatusCode::NOT_FOUND, CloseError::Unknown),
        Err(error) => trouble(StatusCode::SERVICE_UNAVAILABLE, error),
    }
}

async fn drain(State(surface): State<Surface>) -> StatusCode {
    surface.monitor.drain();
    StatusCode::ACCEPTED
}

fn trouble(status: StatusCode, error: CloseError) -> Response {
    (status, Json(Trouble { error: error.to_string() })).into_response()
}
