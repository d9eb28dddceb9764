//! What a server tells about itself over HTTP: its numbers, whether it lives, whether it takes callers.

mod guard;

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use landline::address::Address;
use landline::event::{Metrics, ServerState};
use landline::{Error, Server};

use super::build::cannot_listen;
use crate::exit::Failure;
use crate::side_door::SideDoor;
use guard::{Guard, Verdict};

/// Connections at a time; others wait. With those of the control socket, and with what each of the two
/// servers holds itself (7), they fit into the descriptors that a server keeps free (48).
const PLACES: usize = 16;

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens where the numbers will be told, and knows to whom.
pub(super) struct Telling {
    server: Server,
    guard: Guard,
}

impl Telling {
    /// Whether it could be told there, without listening.
    pub(super) fn check(address: &Address, token_file: Option<&Path>) -> Result<(), Failure> {
        Guard::new(address, token_file).map(drop)
    }

    pub(super) fn bind(address: &Address, token_file: Option<&Path>) -> Result<Self, Failure> {
        let guard = Guard::new(address, token_file)?;
        Ok(Self { server: Self::listen(address)?, guard })
    }

    /// Only listens there.
    pub(super) fn listen(address: &Address) -> Result<Server, Failure> {
        Server::bind(address).map_err(|error| cannot_listen(error, address))
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Answers from now on, until what it returns is dropped. `broke` is told why if it can't go on.
    pub(super) fn start(
        self,
        metrics: Arc<Metrics>,
        broke: impl FnOnce(&Error) + Send + 'static,
    ) -> Result<SideDoor, Failure> {
        let guard = Arc::new(self.guard);
        let service = service_fn(move |request: Request<Incoming>| {
            ready(Ok::<_, Infallible>(answer(&request, &metrics, &guard)))
        });
        SideDoor::open(self.server, PLACES, service, broke)
    }
}

/// The two probes are for everybody and tell nothing else; the numbers are guarded.
fn answer<B>(request: &Request<B>, metrics: &Metrics, guard: &Guard) -> Response<String> {
    match request.uri().path() {
        "/healthz" => only_get(request, || response(StatusCode::OK, TEXT, "ok\n")),
        "/readyz" => only_get(request, || readiness(metrics)),
        _ if guard::is_of_another_origin(request) => {
            response(StatusCode::FORBIDDEN, TEXT, "the Origin is not this server\n")
        }
        "/metrics" => only_get(request, || match guard.verdict(request) {
            Verdict::Tell => numbers(request, metrics),
            Verdict::WrongHost => response(StatusCode::FORBIDDEN, TEXT, "the Host is not this machine\n"),
            Verdict::WrongToken => {
                let response = response(StatusCode::UNAUTHORIZED, TEXT, "this takes the right token\n");
                with(response, WWW_AUTHENTICATE, "Bearer")
            }
        }),
        _ => response(StatusCode::NOT_FOUND, TEXT, "not found\n"),
    }
}

fn only_get<B>(request: &Request<B>, page: impl FnOnce() -> Response<String>) -> Response<String> {
    if request.method() == Method::GET {
        return page();
    }
    with(response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is answered\n"), ALLOW, "GET")
}

fn numbers<B>(request: &Request<B>, metrics: &Metrics) -> Response<String> {
    if accepts_openmetrics(request.headers()) {
        response(StatusCode::OK, OPENMETRICS, metrics.encode())
    } else {
        response(StatusCode::OK, PROMETHEUS, metrics.encode_text())
    }
}

fn readiness(metrics: &Metrics) -> Response<String> {
    let unready = StatusCode::SERVICE_UNAVAILABLE;
    match metrics.state() {
        ServerState::Serving => response(StatusCode::OK, TEXT, "ready\n"),
        ServerState::Starting => response(unready, TEXT, "starting\n"),
        _ => response(unready, TEXT, "draining\n"),
    }
}

fn response(status: StatusCode, content: &'static str, body: impl Into<String>) -> Response<String> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    with(with(response, CONTENT_TYPE, content), CACHE_CONTROL, "no-store")
}

fn with(mut response: Response<String>, name: HeaderName, value: &'static str) -> Response<String> {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// Whether `OpenMetrics` is among the formats that a request accepts by name.
fn accepts_openmetrics(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|format| {
        let mut parts = format.split(';').map(str::trim);
        let is_named =
            parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/openmetrics-text"));
        let is_unwanted = |weight: &str| weight.parse() == Ok(0.0_f32);
        is_named && !parts.any(|part| part.strip_prefix("q=").is_some_and(is_unwanted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, headers: &[(&'static str, &str)]) -> Request<()> {
        let request = Request::get(target);
        let add = |request: hyper::http::request::Builder, header: &(&'static str, &str)| {
            request.header(header.0, header.1)
        };
        headers.iter().fold(request, add).body(()).unwrap()
    }

    #[test]
    fn openmetrics_goes_to_whoever_accepts_it_by_name() {
        let openmetrics = |accept| accepts_openmetrics(request("/metrics", &[("accept", accept)]).headers());
        assert!(openmetrics(
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
        ));
        assert!(openmetrics("text/plain, Application/OpenMetrics-Text"));
        assert!(!openmetrics("application/openmetrics-text; q=0, text/plain"));
        assert!(!openmetrics("text/plain;version=0.0.4"));
        assert!(!openmetrics("*/*"));
    }

    #[test]
    fn whether_it_is_ready_depends_on_the_server_and_whether_it_lives_does_not() {
        let metrics = Metrics::new();
        let ask = |path| {
            let answer = answer(&request(path, &[("host", "example.com")]), &metrics, &Guard::ThisMachine);
            (answer.status().as_u16(), answer.into_body())
        };
        assert_eq!(ask("/readyz"), (503, "starting\n".to_owned()));
        assert_eq!(ask("/healthz"), (200, "ok\n".to_owned()));
    }
}
