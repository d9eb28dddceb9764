//! What a server tells about itself over HTTP, to this machine only: its numbers, whether it lives, whether
//! it takes callers.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use landline::event::{Metrics, ServerState};
use landline::{Connection, Error, Excess, Outcome, Running, Server};

/// Connections at a time; others wait. They fit into the descriptors that a server keeps free.
const CONNECTIONS: usize = 32;
/// How long a request may take to come.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// How long a connection may last, whatever it does: a scraper gives up long before.
const CONNECTION_TIME: Duration = Duration::from_secs(15);
/// The most that is read of a request, in bytes.
const REQUEST_MAX: usize = 16 << 10;

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers from now on, until what it returns is dropped.
pub(super) fn start(server: Server, metrics: Arc<Metrics>) -> Result<Running, Error> {
    server
        .threads(1)
        .max_connections(CONNECTIONS)
        // The words of a refusal are not HTTP.
        .excess(Excess::Wait)
        .max_connection_time(Some(CONNECTION_TIME))
        .serve(async move |conn: Connection| answer_one(conn, &metrics).await)
        .start()
}

async fn answer_one(conn: Connection, metrics: &Metrics) -> Outcome {
    let service = service_fn(async |request: Request<_>| Ok::<_, Infallible>(answer(&request, metrics)));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .max_buf_size(REQUEST_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(conn), service)
        .await?;
    Ok(())
}

fn answer<B>(request: &Request<B>, metrics: &Metrics) -> Response<String> {
    let page = match request.uri().path() {
        "/metrics" => numbers,
        "/healthz" => health,
        "/readyz" => readiness,
        _ => return response(StatusCode::NOT_FOUND, TEXT, "not found\n"),
    };
    if request.method() != Method::GET {
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is answered\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    page(request, metrics)
}

fn numbers<B>(request: &Request<B>, metrics: &Metrics) -> Response<String> {
    if !is_for_this_machine(request.headers(), request.uri().authority()) {
        // A page that a browser shows could otherwise have a name of its own stand for this machine, and read
        // the numbers.
        return response(StatusCode::FORBIDDEN, TEXT, "the Host is not this machine\n");
    }
    if accepts_openmetrics(request.headers()) {
        response(StatusCode::OK, OPENMETRICS, metrics.encode())
    } else {
        response(StatusCode::OK, PROMETHEUS, metrics.encode_text())
    }
}

fn health<B>(_: &Request<B>, _: &Metrics) -> Response<String> {
    response(StatusCode::OK, TEXT, "ok\n")
}

fn readiness<B>(_: &Request<B>, metrics: &Metrics) -> Response<String> {
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
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whether a request names this machine wherever it names one.
fn is_for_this_machine(headers: &HeaderMap, target: Option<&Authority>) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let are_local = hosts.all(|host| Authority::try_from(host.as_bytes()).is_ok_and(|host| is_local(&host)));
    are_local && target.is_none_or(is_local)
}

fn is_local(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
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

    fn status(target: &str, headers: &[(&'static str, &str)]) -> u16 {
        answer(&request(target, headers), &Metrics::new()).status().as_u16()
    }

    #[test]
    fn the_numbers_are_for_this_machine_by_whatever_name_it_has() {
        for host in ["localhost", "LocalHost:9100", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:9100"] {
            assert_eq!(status("/metrics", &[("host", host)]), 200, "{host}");
        }
        for host in ["example.com", "localhost.example.com", "10.0.0.1", "127.0.0.1.example.com", "", "a b"] {
            assert_eq!(status("/metrics", &[("host", host)]), 403, "{host}");
        }
        assert_eq!(status("/metrics", &[]), 200);
        assert_eq!(status("/metrics", &[("host", "localhost"), ("host", "example.com")]), 403);
        assert_eq!(status("http://example.com/metrics", &[("host", "localhost")]), 403);
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
        let readyz = answer(&request("/readyz", &[]), &metrics);
        assert_eq!((readyz.status().as_u16(), readyz.body().as_str()), (503, "starting\n"));
        assert_eq!(status("/healthz", &[("host", "example.com")]), 200);
    }
}
