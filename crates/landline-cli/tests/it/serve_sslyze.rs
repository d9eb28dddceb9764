//! What `serve` offers to callers who speak TLS, as sslyze finds it.

use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::certificates::{Authority, Folder, params};
use crate::serving::*;
use crate::support::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The program: where `cargo xtask test` has put it, or one on the path.
fn sslyze() -> Option<Command> {
    let program = std::env::var_os("LANDLINE_SSLYZE").unwrap_or_else(|| "sslyze".into());
    let mut command = Command::new(&program);
    let tried = command.arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
    has("sslyze", tried.is_ok_and(|status| status.success())).then(|| Command::new(program))
}

#[test]
fn what_is_offered_complies_with_what_mozilla_calls_intermediate() {
    let Some(mut sslyze) = sslyze() else { return };
    let (folder, authority) = (Folder::new(), Authority::new());
    let mut params = params();
    // No longer than authorities give one, and with all that its readers want to see.
    params.not_before = SystemTime::now().into();
    params.not_after = (SystemTime::now() + 90 * DAY).into();
    params.use_authority_key_identifier_extension = true;
    let issued = authority.issue_as(&params);
    let cert = folder.file("cert.pem", &issued.certificate.pem());
    let key = folder.file("key.pem", &issued.key.serialize_pem());
    let server = serve(&["--tls-cert", &cert, "--tls-key", &key]);
    sslyze.args([
        "--mozilla_config=intermediate",
        "--certinfo_ca_file",
        &folder.file("ca.pem", &authority.pem()),
    ]);
    sslyze.arg(format!("localhost:{}", server.port()));
    let output = run(sslyze, Stdio::null());
    let found = text(&output.stdout);
    assert!(code(&output) == 0 && found.contains("OK - Compliant"), "{found}");
    server.stop().in_order();
}
