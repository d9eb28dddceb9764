//! Certificates that change while a server runs.

use std::fs;
use std::path::{Path, PathBuf};

use landline::tls::{Tls, TlsFiles};
use landline::{Event, Framing, Upper, framed};

use crate::support::{Served, serve};
use crate::tls_support::*;

/// A folder of a test's own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("landline-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Puts an identity where a link leads to, and moves the link there at once, as Kubernetes does.
    fn swap(&self, version: &str, identity: &Identity) {
        fs::create_dir_all(self.path(version)).unwrap();
        fs::write(self.path(version).join("chain.pem"), &identity.chain).unwrap();
        fs::write(self.path(version).join("key.pem"), &identity.key).unwrap();
        let link = self.path("next");
        std::os::unix::fs::symlink(version, &link).unwrap();
        fs::rename(&link, self.path("now")).unwrap();
    }

    fn files(&self) -> TlsFiles {
        TlsFiles::new(Tls::builder()).identity(self.path("now/chain.pem"), self.path("now/key.pem"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn serve_files(mut files: TlsFiles) -> Served {
    let tls = files.load().unwrap();
    let renewed = move || files.changed();
    serve(|server| server.tls(tls).tls_source(renewed), framed(Framing::Line, Upper))
}

#[test]
fn certificates_that_change_are_taken_and_live_connections_keep_theirs() {
    let (folder, authority) = (Folder::new("swap"), Authority::new());
    let (first, second) = (authority.identity(&["localhost"]), authority.identity(&["localhost"]));
    folder.swap("first", &first);
    let served = serve_files(folder.files());
    let client = Client::new(&authority);
    let mut live = client.call(address(&served));
    live.ask("hello\n");
    folder.swap("second", &second);
    let told = served.wait_for(|event| matches!(event, Event::CertificatesReloaded { .. }));
    assert_eq!(told.to_string(), format!("new certificates on {}", address(&served)));
    live.ask("still here\n");
    let mut caller = client.call(address(&served));
    caller.ask("hello\n");
    assert_eq!(caller.server(), second.certificate());
}

#[test]
fn certificates_that_are_no_good_are_refused_once_and_those_before_stay() {
    let (folder, authority) = (Folder::new("bad"), Authority::new());
    let (first, second) = (authority.identity(&["localhost"]), authority.identity(&["localhost"]));
    folder.swap("first", &first);
    let served = serve_files(folder.files());
    folder.swap("bad", &Identity { chain: second.chain.clone(), key: first.key.clone() });
    let refused = |event: &Event| matches!(event, Event::CertificatesRefused { .. });
    let told = served.wait_for(refused).to_string();
    assert!(told.contains("now/key.pem: its private key does not belong"), "{told}");
    let mut caller = Client::new(&authority).call(address(&served));
    caller.ask("hello\n");
    assert_eq!(caller.server(), first.certificate());
    folder.swap("second", &second);
    served.wait_for(|event| matches!(event, Event::CertificatesReloaded { .. }));
    let events = served.events.events();
    assert_eq!(events.iter().filter(|event| refused(event)).count(), 1);
}

#[test]
fn files_are_read_only_when_they_look_different_and_what_was_read_before_goes_first() {
    let (folder, authority) = (Folder::new("look"), Authority::new());
    folder.swap("first", &authority.identity(&["localhost"]));
    let mut files = folder.files();
    let fingerprint = files.load().unwrap().fingerprint().to_owned();
    assert!(files.changed().unwrap().is_none());
    // The same bytes in another file are no change.
    folder.swap("again", &read(&folder.0, "first"));
    assert!(files.changed().unwrap().is_none());

    // Another process begins with what was read before, whatever lies there now, and then looks.
    let kept: Vec<_> = files.contents().clone().into_iter().collect();
    folder.swap("broken", &Identity { chain: "half".into(), key: "edited".into() });
    let mut files = folder.files().read_before(kept);
    assert_eq!(files.load().unwrap().fingerprint(), fingerprint);
    assert!(files.changed().unwrap_err().to_string().contains("there is no certificate in it"));
    assert!(files.changed().unwrap().is_none(), "said once");
    fs::remove_dir_all(folder.path("broken")).unwrap();
    assert!(files.changed().unwrap_err().to_string().contains("no such file"));
    assert!(files.changed().unwrap().is_none(), "said once");
    folder.swap("second", &authority.identity(&["localhost"]));
    assert_ne!(files.changed().unwrap().unwrap().fingerprint(), fingerprint);
}

fn read(folder: &Path, version: &str) -> Identity {
    let read = |name| fs::read_to_string(folder.join(version).join(name)).unwrap();
    Identity { chain: read("chain.pem"), key: read("key.pem") }
}

#[test]
fn a_source_without_anything_to_begin_with_does_not_serve() {
    let serving = landline::Server::bind("127.0.0.1:0").unwrap().tls_source(|| Ok(None));
    let error = serving.serve(framed(Framing::Line, Upper)).start().unwrap_err();
    assert!(error.is_config() && error.to_string().contains("nothing to begin with"), "{error}");
}

#[test]
fn a_source_that_panics_costs_nothing_but_its_answer() {
    let authority = Authority::new();
    let tls = authority.identity(&["localhost"]).of(Tls::builder()).build().unwrap();
    let source = || panic!("on purpose");
    let served = serve(|server| server.tls(tls).tls_source(source), framed(Framing::Line, Upper));
    served.wait_for(|event| matches!(event, Event::CertificatesRefused { .. }));
    Client::new(&authority).call(address(&served)).ask("hello\n");
}
