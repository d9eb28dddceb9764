//! Connecting, again and again if that is wanted.

use std::time::Duration;

use landline::client::Backoff;

use super::{Call, Reached};
use crate::exit::{Exit, Failure};

/// How long to wait if there is no interval.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Connects. If that fails for a reason that may pass, it is tried again as often as `--retry` says.
///
/// Only connecting is: a message that was sent may have been acted on.
pub(super) async fn connect(call: &Call<'_>) -> Result<Reached, Failure> {
    let retries = call.args.retry.unwrap_or_default();
    let mut retry = 0;
    loop {
        let failure = match call.connect_once().await {
            Err(failure) if retry < retries && may_pass(&failure) => failure,
            outcome => return outcome,
        };
        retry += 1;
        let wait = call.args.interval.unwrap_or_else(|| BACKOFF.delay(retry));
        call.watch.say(&format!("landline: {}; trying again ({retry} of {retries})", failure.text()));
        tokio::time::sleep(wait).await;
    }
}

/// A server may not be there yet, nor its name.
fn may_pass(failure: &Failure) -> bool {
    [Exit::Resolve, Exit::Connect, Exit::Timeout].into_iter().any(|exit| failure.is(exit))
}
