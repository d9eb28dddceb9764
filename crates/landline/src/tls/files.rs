//! Certificates in files, which are read again when they change.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::pem::Pem;
use super::{Tls, TlsBuilder};
use crate::error::{Error, Kind, Outcome};

/// The most that is read of a file, in bytes: lists of revoked certificates can be long.
const SIZE_MAX: u64 = 16 << 20;

/// What a [`Tls`] is made of, in files.
///
/// ```no_run
/// # use landline::tls::{Tls, TlsFiles};
/// # use landline::{Echo, Framing, Outcome, Server, framed};
/// # fn main() -> Outcome {
/// let mut files = TlsFiles::new(Tls::builder()).identity("chain.pem", "key.pem");
/// let server = Server::bind(":8443")?.tls(files.load()?).tls_source(move || files.changed());
/// # drop(server.serve(framed(Framing::Line, Echo)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct TlsFiles {
    rest: TlsBuilder,
    identities: Vec<(PathBuf, PathBuf)>,
    client_ca: Option<PathBuf>,
    revocations: Vec<PathBuf>,
    contents: BTreeMap<PathBuf, Vec<u8>>,
    /// What the files looked like when they were last looked at; none if nobody did.
    seen: Option<Vec<Option<Stamp>>>,
}

/// By what it is noticed that a file is another, or has something else in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    file: u64,
    size: u64,
    modified: (i64, i64),
}

impl TlsFiles {
    /// No file yet, and `rest` for everything that is in none.
    pub fn new(rest: TlsBuilder) -> Self {
        Self { rest, ..Self::default() }
    }

    /// Adds an [identity](TlsBuilder::identity).
    #[must_use]
    pub fn identity(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identities.push((chain.into(), key.into()));
        self
    }

    /// Names the [authorities](TlsBuilder::client_ca) that vouch for clients.
    #[must_use]
    pub fn client_ca(mut self, authorities: impl Into<PathBuf>) -> Self {
        self.client_ca = Some(authorities.into());
        self
    }

    /// Adds lists of [revoked certificates](TlsBuilder::revocations).
    #[must_use]
    pub fn revocations(mut self, lists: impl Into<PathBuf>) -> Self {
        self.revocations.push(lists.into());
        self
    }

    /// What was read of these files before: [`load`](Self::load) takes it for what is in them, and does not
    /// look whether it still is. For a process that goes on in the place of another, which may have been
    /// allowed to read more.
    #[must_use]
    pub fn read_before(mut self, contents: impl IntoIterator<Item = (PathBuf, Vec<u8>)>) -> Self {
        self.contents = contents.into_iter().collect();
        self
    }

    /// What was in the files of which the last good [`Tls`] was made.
    pub fn contents(&self) -> &BTreeMap<PathBuf, Vec<u8>> {
        &self.contents
    }

    /// Every file, in the order in which they were named.
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let identities = self.identities.iter().flat_map(|(chain, key)| [chain, key]);
        identities.chain(&self.client_ca).chain(&self.revocations)
    }

    /// Reads the files and checks what is in them.
    ///
    /// # Errors
    /// [`is_config`](Error::is_config), naming the file and what is wrong with it.
    pub fn load(&mut self) -> Result<Tls, Error> {
        let seen = self.looks();
        let mut contents = BTreeMap::new();
        let mut is_all_new = true;
        for path in self.paths() {
            let known = self.contents.get(path);
            is_all_new &= known.is_none();
            contents.insert(path.clone(), known.map_or_else(|| read(path), |known| Ok(known.clone()))?);
        }
        let tls = self.make(&contents)?;
        // What was read before is compared with the files when they are first looked at.
        self.seen = is_all_new.then_some(seen);
        self.contents = contents;
        Ok(tls)
    }

    /// What to serve by from now on, if the files are not what they were when it was last asked. They are
    /// read only if their time, size or place has changed; symbolic links are followed.
    ///
    /// # Errors
    /// What is wrong with them, once for each change.
    pub fn changed(&mut self) -> Outcome<Option<Tls>> {
        let seen = self.looks();
        if self.seen.as_ref() == Some(&seen) {
            return Ok(None);
        }
        let contents = self.paths().map(|path| Ok((path.clone(), read(path)?))).collect::<Result<_, Error>>();
        if self.looks() != seen {
            // Somebody is writing: the next look tells.
            return Ok(None);
        }
        self.seen = Some(seen);
        let contents: BTreeMap<_, _> = contents?;
        if contents == self.contents {
            return Ok(None);
        }
        let tls = self.make(&contents)?;
        self.contents = contents;
        Ok(Some(tls))
    }

    fn make(&self, contents: &BTreeMap<PathBuf, Vec<u8>>) -> Result<Tls, Error> {
        let pem = |path: &PathBuf| {
            let bytes = contents.get(path).cloned().unwrap_or_default();
            Pem { name: path.display().to_string(), bytes }
        };
        let mut made = self.rest.clone();
        made.identities.extend(self.identities.iter().map(|(chain, key)| (pem(chain), pem(key))));
        made.client_ca = self.client_ca.as_ref().map(pem).or(made.client_ca);
        made.revocations.extend(self.revocations.iter().map(pem));
        made.build()
    }

    /// What each file looks like; none for one that can't be looked at.
    fn looks(&self) -> Vec<Option<Stamp>> {
        self.paths().map(|path| fs::metadata(path).ok().map(|about| Stamp::of(&about))).collect()
    }
}

impl Stamp {
    fn of(about: &Metadata) -> Self {
        Self {
            device: about.dev(),
            file: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
        }
    }
}

/// Nothing of what is in them.
impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.paths()).finish()
    }
}

/// The bytes of a file that is one: neither without an end nor something that keeps its reader waiting.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let cannot = |cause: String| Error::new(Kind::Config, format!("cannot use {}", path.display()), cause);
    let fail = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => "check its path",
            _ => "it has to be a file that whoever starts the server may read",
        };
        cannot(format!("{}; {hint}", crate::error::describe(&error)))
    };
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(fail)?;
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(cannot("it is not a file; name one in PEM".into()));
    }
    let mut bytes = Vec::new();
    file.take(SIZE_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(cannot(format!("it has more than {} MiB; is it a file in PEM?", SIZE_MAX >> 20)));
    }
    Ok(bytes)
}
