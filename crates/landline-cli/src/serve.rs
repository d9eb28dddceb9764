//! `landline serve`: a server with a built-in service.

use crate::args::ServeArgs;
use crate::exit::{Exit, Failure};

/// Serves until told to stop.
pub(crate) fn run(_args: ServeArgs) -> Result<(), Failure> {
    Err(Failure::new(Exit::Other, "'landline serve' is not built in yet"))
}
