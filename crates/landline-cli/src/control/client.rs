//! One request to a control socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Trouble;
use crate::exit::{Exit, Failure};

/// How long a server has to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks, and reads the answer.
pub(crate) fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, Failure> {
    let body = request(socket, Method::GET, path, Bytes::new())?;
    serde_json::from_slice(&body).map_err(|error| cannot_ask(socket, &error.to_string()))
}

/// Tells it to do something.
pub(crate) fn post(socket: &Path, path: &str) -> Result<(), Failure> {
    request(socket, Method::POST, path, Bytes::new()).map(|_| ())
}

/// Tells it to do something in particular, and reads what it says.
pub(crate) fn ask<T: DeserializeOwned>(socket: &Path, path: &str, what: &Value) -> Result<T, Failure> {
    let body = request(socket, Method::POST, path, Bytes::from(what.to_string()))?;
    serde_json::from_slice(&body).map_err(|error| cannot_ask(socket, &error.to_string()))
}

fn request(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Bytes, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| cannot_ask(socket, &landline::error::describe(&error)))?;
    let (status, body) = runtime.block_on(async {
        match tokio::time::timeout(PATIENCE, exchange(socket, method, path, body)).await {
            Ok(answer) => answer.map_err(|error| cannot_ask(socket, &landline::error::describe(&error))),
            Err(_) => {
                Err(Failure::new(Exit::Timeout, format!("no answer from {} within 10s", socket.display())))
            }
        }
    })?;
    if status.is_success() {
        return Ok(body);
    }
    let trouble =
        serde_json::from_slice(&body).map_or_else(|_| status.to_string(), |Trouble { error }| error);
    let exit = if status == StatusCode::UNPROCESSABLE_ENTITY { Exit::Usage } else { Exit::Other };
    Err(Failure::new(exit, trouble))
}

async fn exchange(socket: &Path, method: Method, path: &str, body: Bytes) -> io::Result<(StatusCode, Bytes)> {
    let stream = tokio::net::UnixStream::connect(socket).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    let request =
        request.header("content-type", "application/json").body(Full::new(body)).map_err(io::Error::other)?;
    // It has to be driven while the answer is read, and ends by itself.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(io::Error::other)?;
    Ok((status, body.to_bytes()))
}

fn cannot_ask(socket: &Path, cause: &str) -> Failure {
    Failure::new(Exit::Connect, format!("cannot ask the server at {}: {cause}", socket.display()))
        .hint("it may have ended; 'landline ctl' without --control looks for those that run")
}
