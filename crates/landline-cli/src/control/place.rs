//! Where control sockets lie, and how they are found again.

use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::{env, fs, io};

use crate::serve::process_id;

/// The folder for this user's control sockets; none if the system has no place for such things.
pub(crate) fn folder() -> Option<PathBuf> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let runtime = runtime.or_else(|| rustix::process::geteuid().is_root().then(|| PathBuf::from("/run")));
    runtime.map(|runtime| runtime.join("landline"))
}

/// A path for the control socket of a server on this port; the folder is made.
pub(crate) fn new(port: u16) -> io::Result<PathBuf> {
    let folder =
        folder().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "XDG_RUNTIME_DIR is not set"))?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    Ok(folder.join(format!("{port}-{}.sock", process_id())))
}

/// The control sockets in the folder at which somebody answers. Those of servers that are gone are taken
/// away.
pub(crate) fn live() -> Vec<PathBuf> {
    let entries = folder().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let sockets = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
    let mut live: Vec<PathBuf> = sockets.map(|entry| entry.path()).collect();
    live.retain(|path| match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => {
            if error.kind() == io::ErrorKind::ConnectionRefused {
                // Whoever else finds it stale takes it away too.
                let _ = fs::remove_file(path);
            }
            false
        }
    });
    live.sort();
    live
}
