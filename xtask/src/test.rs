//! `cargo xtask test`: every test, skipping none.

use std::ffi::OsString;

use crate::Outcome;
use crate::packages::{Need, provide};
use crate::step::Step;
use crate::tools::sslyze;

/// What tests need beyond cargo.
const NEEDS: &[Need] = &[
    Need {
        program: "strace",
        package: "strace",
        reason: "the tests that watch system calls, or make them fail",
    },
    Need {
        program: "promtool",
        package: "prometheus",
        reason: "the tests of the metrics: it comes with prometheus",
    },
    Need {
        program: "openssl",
        package: "openssl",
        reason: "the tests of TLS with another program at its other end",
    },
    Need {
        program: "valgrind",
        package: "valgrind",
        reason: "the test that counts the instructions of a message",
    },
    Need { program: "haproxy", package: "haproxy", reason: "the tests behind a balancer" },
    Need {
        program: "/usr/sbin/nginx",
        package: "nginx-core",
        reason: "the tests behind another one; Debian starts it on port 80 as well",
    },
    Need {
        program: "/usr/lib/nginx/modules/ngx_stream_module.so",
        package: "libnginx-mod-stream",
        reason: "nginx as a balancer",
    },
    Need {
        program: "setpriv",
        package: "util-linux",
        reason: "the test that starts a server which is to keep its capabilities",
    },
    Need {
        program: "redis-server",
        package: "redis-server",
        reason: "the tests that call other people's servers",
    },
    Need { program: "memcached", package: "memcached", reason: "the same" },
    Need {
        program: "/usr/share/doc/python3-aiosmtpd",
        package: "python3-aiosmtpd",
        reason: "the same: mail",
    },
    Need { program: "/usr/sbin/sshd", package: "openssh-server", reason: "the same" },
    Need { program: "ncat", package: "ncat", reason: "the same" },
    Need { program: "socat", package: "socat", reason: "the same" },
    // Debian has what makes such a folder in a package of its own.
    Need {
        program: "/usr/share/doc/python3-venv",
        package: "python3-venv",
        reason: "sslyze, which is installed in a folder of its own",
    },
    Need { program: "systemd-analyze", package: "systemd", reason: "the tests of the units for systemd" },
];

/// Installs what is missing, then runs the tests with `extra` handed to `cargo test`.
///
/// With `LANDLINE_TESTS=all`, a test that lacks a tool or a privilege fails where it would otherwise name
/// itself as skipped. Plain `cargo test` runs unit, integration and documentation tests and builds the
/// examples; naming targets, as `--all-targets` does, would leave the documentation tests out.
pub(crate) fn run(extra: Vec<OsString>) -> Outcome {
    provide(NEEDS)?;
    let sslyze = sslyze()?;
    Step::new("cargo test --workspace --all-features")
        .variable("LANDLINE_TESTS", "all")
        .variable("LANDLINE_SSLYZE", sslyze)
        .words(extra)
        .run()
}
