//! An axum app on landline's connections: HTTP is axum's, admission, limits and drain are landline's.
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use axum::Router;
use axum::routing::get;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use landline::{Connection, Outcome, Server};

async fn serve_http(app: Router, conn: Connection) -> Outcome {
    let draining = conn.draining();
    let service = TowerToHyperService::new(app);
    let http = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(conn), service);
    tokio::pin!(http, draining);
    tokio::select! {
        outcome = &mut http => return Ok(outcome?),
        // A request that is being answered is answered; the next would be one too many.
        () = &mut draining => http.as_mut().graceful_shutdown(),
    }
    Ok(http.await?)
}

fn main() -> Outcome {
    let app = Router::new().route("/", get(|| async { "hello over HTTP\n" }));
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8081".to_owned());
    let server = Server::bind(address)?;
    println!("listening on {}", server.local_addr());
    let _ = server.serve(async move |conn: Connection| serve_http(app.clone(), conn).await).run()?;
    Ok(())
}
