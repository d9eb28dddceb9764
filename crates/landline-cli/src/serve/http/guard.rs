//! Who may read the numbers: whoever has the token or, without one, whoever asks this machine by its own
//! name.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hyper::Request;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use hyper::http::uri::Authority;
use landline::address::Address;
use subtle::ConstantTimeEq;

use crate::exit::{Exit, Failure};
use crate::units;

/// The shortest token: less could be guessed.
const TOKEN_MIN: usize = 16;
/// The longest file of a token, in bytes: a request has to hold it too.
const FILE_MAX: u64 = 4096;

/// To whom the numbers are told.
pub(super) enum Guard {
    /// To whoever names this machine as the host. A page that a browser shows could otherwise have a name of
    /// its own stand for this machine, and read them.
    ThisMachine,
    /// To whoever has this token, by whatever name of the host.
    Token(Vec<u8>),
}

/// Whether a request is answered with the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Tell,
    WrongHost,
    WrongToken,
}

impl Guard {
    /// The guard of an address: one that other machines reach has to have a token.
    pub(super) fn new(address: &Address, token_file: Option<&Path>) -> Result<Self, Failure> {
        match token_file {
            Some(path) => read_token(path).map(Self::Token),
            None if units::is_loopback(address) => Ok(Self::ThisMachine),
            None => {
                let text =
                    format!("cannot tell metrics on {address} without a token: other machines reach it");
                let hint = "add --http-token-file PATH, or give the port alone for this machine only";
                Err(Failure::new(Exit::Usage, text).hint(hint))
            }
        }
    }

    pub(super) fn verdict<B>(&self, request: &Request<B>) -> Verdict {
        match self {
            Self::ThisMachine if is_for_this_machine(request) => Verdict::Tell,
            Self::ThisMachine => Verdict::WrongHost,
            Self::Token(token) if shows(request.headers(), token) => Verdict::Tell,
            Self::Token(_) => Verdict::WrongToken,
        }
    }
}

/// Whether a browser sends a request for a page that did not come from this server.
pub(super) fn is_of_another_origin<B>(request: &Request<B>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let is_ours = |origin: &[u8]| {
        let origin = origin.strip_prefix(b"http://").and_then(|origin| Authority::try_from(origin).ok());
        origin.zip(host.as_ref()).is_some_and(|(origin, host)| is_same(&origin, host))
    };
    request.headers().get_all(ORIGIN).iter().any(|origin| !is_ours(origin.as_bytes()))
}

fn is_same(one: &Authority, other: &Authority) -> bool {
    const HTTP: u16 = 80;
    let port = |authority: &Authority| authority.port_u16().unwrap_or(HTTP);
    one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other)
}

/// Whether a request names this machine wherever it names one.
fn is_for_this_machine<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let are_local = hosts.all(|host| Authority::try_from(host.as_bytes()).is_ok_and(|host| is_local(&host)));
    are_local && request.uri().authority().is_none_or(is_local)
}

fn is_local(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Whether a request shows the token. How long the comparison takes tells nothing of the token but its
/// length.
fn shows(headers: &HeaderMap, token: &[u8]) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let value = value.as_bytes();
    let scheme = value.iter().take_while(|byte| **byte != b' ').count();
    let (scheme, shown) = value.split_at(scheme);
    scheme.eq_ignore_ascii_case(b"bearer") && shown.trim_ascii().ct_eq(token).into()
}

/// The token in a file. As ssh does with keys, a file of ours that others may read or write is refused; who
/// may use another's file is for its owner to say.
fn read_token(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = path.display().to_string().escape_debug().to_string();
    let cannot_read = |error: io::Error| {
        let cause = landline::error::describe(&error);
        let failure = Failure::new(Exit::Usage, format!("cannot read the token in {name}: {cause}"));
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                failure.hint("whoever the server runs as has to be able to read it")
            }
            _ => failure,
        }
    };
    let cannot_use =
        |cause: &str| Failure::new(Exit::Usage, format!("cannot use the token in {name}: {cause}"));
    let file = File::open(path).map_err(cannot_read)?;
    let metadata = file.metadata().map_err(cannot_read)?;
    if metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o077 != 0 {
        let failure =
            cannot_use(&format!("its mode is {:04o}, so others have it too", metadata.mode() & 0o7777));
        return Err(failure.hint(format!("make it yours alone: chmod 600 {name}")));
    }
    let mut text = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut text).map_err(cannot_read)?;
    let token = text.trim_ascii();
    if text.len() as u64 > FILE_MAX {
        Err(cannot_use(&format!("the file is over {FILE_MAX} bytes long")))
    } else if token.len() < TOKEN_MIN {
        let failure =
            cannot_use(&format!("it has {} characters, and {TOKEN_MIN} are the least", token.len()));
        Err(failure.hint("make one, for example with: openssl rand -hex 32"))
    } else if !token.iter().all(u8::is_ascii_graphic) {
        Err(cannot_use("it has a character that is not printable ASCII, or a space"))
    } else {
        Ok(token.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn request(target: &str, headers: &[(&'static str, &str)]) -> Request<()> {
        let request = Request::get(target);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap()
    }

    fn verdict(guard: &Guard, headers: &[(&'static str, &str)]) -> Verdict {
        guard.verdict(&request("/metrics", headers))
    }

    #[test]
    fn without_a_token_the_host_is_this_machine_by_whatever_name_it_has() {
        let guard = Guard::ThisMachine;
        for host in ["localhost", "LocalHost:9100", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:9100"] {
            assert_eq!(verdict(&guard, &[("host", host)]), Verdict::Tell, "{host}");
        }
        for host in ["example.com", "localhost.example.com", "10.0.0.1", "127.0.0.1.example.com", "", "a b"] {
            assert_eq!(verdict(&guard, &[("host", host)]), Verdict::WrongHost, "{host}");
        }
        assert_eq!(verdict(&guard, &[]), Verdict::Tell);
        let two = [("host", "localhost"), ("host", "example.com")];
        assert_eq!(verdict(&guard, &two), Verdict::WrongHost);
        let absolute = request("http://example.com/metrics", &[("host", "localhost")]);
        assert_eq!(guard.verdict(&absolute), Verdict::WrongHost);
    }

    #[test]
    fn with_a_token_the_host_does_not_matter_and_the_token_has_to_be_the_whole_one() {
        let guard = Guard::Token(TOKEN.into());
        for shown in [format!("Bearer {TOKEN}"), format!("bearer  {TOKEN}")] {
            let headers = [("host", "example.com"), ("authorization", shown.as_str())];
            assert_eq!(verdict(&guard, &headers), Verdict::Tell, "{shown}");
        }
        let wrong = ["", "Bearer", "Bearer ", TOKEN, "Bearer 0123456789abcde", "Bearer 0123456789abcdefg"];
        for shown in wrong.into_iter().chain(["Basic 0123456789abcdef", "Bearer0123456789abcdef"]) {
            assert_eq!(verdict(&guard, &[("authorization", shown)]), Verdict::WrongToken, "{shown}");
        }
        assert_eq!(verdict(&guard, &[("host", "localhost")]), Verdict::WrongToken);
        let right = format!("Bearer {TOKEN}");
        let twice = [("authorization", right.as_str()), ("authorization", right.as_str())];
        assert_eq!(verdict(&guard, &twice), Verdict::WrongToken);
    }

    #[test]
    fn an_origin_is_that_of_the_host_or_another() {
        let is_other =
            |host, origin| is_of_another_origin(&request("/", &[("host", host), ("origin", origin)]));
        assert!(!is_of_another_origin(&request("/", &[("host", "localhost")])));
        assert!(!is_other("localhost:9100", "http://LocalHost:9100"));
        assert!(!is_other("localhost:80", "http://localhost"));
        for origin in ["http://localhost", "https://localhost:9100", "http://example.com:9100", "null", ""] {
            assert!(is_other("localhost:9100", origin), "{origin}");
        }
        assert!(is_of_another_origin(&request("/", &[("origin", "http://localhost")])));
    }
}
