//! Connecting, again and again if that is wanted.

use std::time::Duration;

use super::{Call, Reached};
use crate::exit::{Exit, Failure};

/// How long the first wait is at most, if there is no interval; each one after it is twice as long.
const WAIT_FIRST: Duration = Duration::from_millis(100);

/// How long a wait is at most.
const WAIT_MAX: Duration = Duration::from_secs(5);

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
        let wait = call.args.interval.unwrap_or_else(|| random_wait(retry));
        retry += 1;
        call.watch.say(&format!("landline: {}; trying again ({retry} of {retries})", failure.text()));
        tokio::time::sleep(wait).await;
    }
}

/// A server may not be there yet, nor its name.
fn may_pass(failure: &Failure) -> bool {
    [Exit::Resolve, Exit::Connect, Exit::Timeout].into_iter().any(|exit| failure.is(exit))
}

/// A random part of a wait that doubles, so that many who wait for one server don't all come at once.
fn random_wait(retry: u32) -> Duration {
    let longest = WAIT_FIRST.saturating_mul(2_u32.saturating_pow(retry)).min(WAIT_MAX);
    longest.mul_f64(fastrand::f64())
}
