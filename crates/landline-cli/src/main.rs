//! The `landline` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    landline_cli::run()
}
