//! HTTP for operators, beside the service: a small server of its own. What an HTTP connection may take is
//! said here and nowhere else.

use std::convert::Infallible;
use std::pin::pin;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use landline::{BoxError, Connection, Error, Excess, Outcome, Running, Server};
use tokio::sync::oneshot;

use crate::exit::{Exit, Failure};

/// How long the head of a request may take to come.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// The most that is read of it, in bytes.
const REQUEST_MAX: usize = 16 << 10;
/// How long a connection may last, whatever it does: whoever asks gives up long before.
const CONNECTION_TIME: Duration = Duration::from_secs(15);
/// How long the last answers may take when the door is shut.
const SHUT_TIME: Duration = Duration::from_secs(1);

/// A server of HTTP that is there until it is dropped; answers that have begun go out first.
#[derive(Debug)]
pub(crate) struct SideDoor {
    shut: Option<oneshot::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl SideDoor {
    /// Answers by `service` from now on, at most `places` connections at a time; others wait. `broke` is told
    /// why if it can't go on.
    pub(crate) fn open<S, B>(
        server: Server,
        places: usize,
        service: S,
        broke: impl FnOnce(&Error) + Send + 'static,
    ) -> Result<Self, Failure>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: 'static,
        B: Body<Error: Into<BoxError>> + 'static,
    {
        let running = server
            .threads(1)
            .max_connections(places)
            // The words of a refusal are not HTTP.
            .excess(Excess::Wait)
            .max_connection_time(Some(CONNECTION_TIME))
            .drain_timeout(SHUT_TIME)
            .serve(async move |conn: Connection| answer_one(conn, service.clone()).await)
            .start()?;
        Self::keep(running, broke)
    }

    fn keep(running: Running, broke: impl FnOnce(&Error) + Send + 'static) -> Result<Self, Failure> {
        let cannot_start = |error| {
            let cause = landline::error::describe(&error);
            Failure::new(Exit::Other, format!("cannot start a thread: {cause}"))
        };
        // It has a clock and no descriptors: it only waits.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(cannot_start)?;
        let (shut, asked_to_shut) = oneshot::channel();
        let keeping = thread::Builder::new().name("landline-side".into());
        let keeper = keeping.spawn(move || runtime.block_on(keep(running, asked_to_shut, broke)));
        Ok(Self { shut: Some(shut), keeper: Some(keeper.map_err(cannot_start)?) })
    }
}

impl Drop for SideDoor {
    fn drop(&mut self) {
        drop(self.shut.take());
        if let Some(keeper) = self.keeper.take() {
            // Had it panicked, there would be nothing left to shut.
            let _ = keeper.join();
        }
    }
}

async fn keep(mut running: Running, shut: oneshot::Receiver<()>, broke: impl FnOnce(&Error)) {
    tokio::select! {
        error = running.failure() => return broke(&error),
        _ = shut => {}
    }
    // Whoever stalls is cut, and nobody has to hear of it.
    let _ = running.drain().await;
}

/// Answers one request, and no other: what a connection can do then needs no further bounds.
pub(crate) async fn answer_one<S, B>(conn: Connection, service: S) -> Outcome
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: 'static,
    B: Body<Error: Into<BoxError>> + 'static,
{
    let draining = conn.draining();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .max_buf_size(REQUEST_MAX)
        .keep_alive(false);
    let mut answering = pin!(http.serve_connection(TokioIo::new(conn), service));
    tokio::select! {
        done = answering.as_mut() => return Ok(done?),
        () = draining => answering.as_mut().graceful_shutdown(),
    }
    Ok(answering.await?)
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::net::{Shutdown, TcpListener};
    use std::os::fd::IntoRawFd;
    use std::sync::mpsc::sync_channel;

    use hyper::service::service_fn;

    use super::*;

    #[test]
    fn a_listener_that_breaks_is_told_of_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let same = socket2::Socket::from(listener.try_clone().unwrap());
        let server = Server::bind(format!("fd:{}", listener.into_raw_fd())).unwrap();
        let service = service_fn(|_| ready(Ok::<_, Infallible>(Response::new(String::new()))));
        let (told, heard) = sync_channel(2);
        let door = SideDoor::open(server, 1, service, move |error| told.send(error.to_string()).unwrap());
        let door = door.unwrap();
        same.shutdown(Shutdown::Read).unwrap();
        let error = heard.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(error.contains("cannot go on serving"), "{error}");
        drop(door);
        assert!(heard.recv().is_err());
    }
}
