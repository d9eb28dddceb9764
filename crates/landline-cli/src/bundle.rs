//! Every file by which a server serves, as it was read: what the next process goes by, whatever lies on the
//! disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// How the bytes of a bundle begin. A program of before the first bundle remembered its configuration alone.
const HEAD: &[u8] = b"\0landline bundle 1\n";

/// Files by their paths, and what was made and is in no file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bundle {
    /// The configuration, if there is one.
    pub(crate) config: Option<Vec<u8>>,
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    /// Certificates with their keys that were made for listeners, by the words of their addresses.
    pub(crate) made: BTreeMap<String, (Vec<u8>, Vec<u8>)>,
}

/// What a part of a bundle is.
const CONFIG: u8 = 0;
const FILE: u8 = 1;
const CERTIFICATE: u8 = 2;
const KEY: u8 = 3;

impl Bundle {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = HEAD.to_vec();
        let mut part = |kind: u8, name: &[u8], contents: &[u8]| {
            bytes.push(kind);
            for piece in [name, contents] {
                bytes.extend((piece.len() as u64).to_le_bytes());
                bytes.extend(piece);
            }
        };
        self.config.iter().for_each(|config| part(CONFIG, b"", config));
        self.files.iter().for_each(|(path, contents)| part(FILE, path.as_os_str().as_bytes(), contents));
        for (address, (certificate, key)) in &self.made {
            part(CERTIFICATE, address.as_bytes(), certificate);
            part(KEY, address.as_bytes(), key);
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let Some(mut rest) = bytes.strip_prefix(HEAD) else {
            return Self { config: Some(bytes.to_vec()), ..Self::default() };
        };
        let mut bundle = Self::default();
        while let Some((kind, name, contents)) = part(&mut rest) {
            let text = || String::from_utf8_lossy(name).into_owned();
            match kind {
                CONFIG => bundle.config = Some(contents.to_vec()),
                FILE => {
                    let path = PathBuf::from(OsString::from_vec(name.to_vec()));
                    bundle.files.insert(path, contents.to_vec());
                }
                CERTIFICATE => bundle.made.entry(text()).or_default().0 = contents.to_vec(),
                KEY => bundle.made.entry(text()).or_default().1 = contents.to_vec(),
                _ => {}
            }
        }
        bundle
    }
}

/// The next part of a bundle; none at its end.
fn part<'b>(rest: &mut &'b [u8]) -> Option<(u8, &'b [u8], &'b [u8])> {
    let (kind, after) = rest.split_first()?;
    *rest = after;
    let mut piece = || {
        let (len, after) = rest.split_first_chunk::<8>()?;
        let (piece, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        *rest = after;
        Some(piece)
    };
    Some((*kind, piece()?, piece()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_read_as_it_was_written_and_a_configuration_alone_is_one() {
        let pem = || (b"certificate".to_vec(), b"key".to_vec());
        let bundle = Bundle {
            config: Some(b"[[listener]]\n".to_vec()),
            files: [("a.pem".into(), b"a".to_vec()), ("b \u{e4}".into(), Vec::new())].into(),
            made: [("127.0.0.1:0".to_owned(), pem())].into(),
        };
        assert_eq!(Bundle::from_bytes(&bundle.to_bytes()), bundle);
        assert_eq!(Bundle::from_bytes(&Bundle::default().to_bytes()), Bundle::default());
        assert_eq!(Bundle::from_bytes(b"x = 1").config.as_deref(), Some(&b"x = 1"[..]));
        // One that was cut short is what is there of it.
        assert_eq!(Bundle::from_bytes(&bundle.to_bytes()[..HEAD.len() + 30]).config, bundle.config);
    }
}
