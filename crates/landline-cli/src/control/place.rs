//! Where control sockets lie, and how they are found again.

use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt, lchown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use rustix::process::geteuid;

use crate::serve::process_id;

/// Where those of root lie, and in a folder for each, those of servers that were started by root and are
/// somebody else by now.
const OF_ROOT: &str = "/run/landline";

/// A user and a group.
pub(crate) type Owner = (u32, u32);

/// The folder for this user's control sockets; none if the system has no place for such things.
pub(crate) fn folder() -> Option<PathBuf> {
    match env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        Some(runtime) => Some(PathBuf::from(runtime).join("landline")),
        None if geteuid().is_root() => Some(OF_ROOT.into()),
        None => Some(folder_of(geteuid().as_raw())).filter(|folder| folder.is_dir()),
    }
}

fn folder_of(user: u32) -> PathBuf {
    Path::new(OF_ROOT).join(user.to_string())
}

/// Makes the folder for the control socket of a server: this user's, or that of whoever the server is to be,
/// who has to be able to take its file away.
pub(crate) fn make_folder(owner: Option<Owner>) -> io::Result<PathBuf> {
    let make = |folder: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let is_root = geteuid().is_root();
    if let Some((user, group)) = owner
        && (is_root || folder_of(user).is_dir())
    {
        let folder = folder_of(user);
        if is_root {
            make(&folder)?;
            // Others may go through, and see nothing.
            fs::set_permissions(OF_ROOT, fs::Permissions::from_mode(0o711))?;
            lchown(&folder, Some(user), Some(group))?;
        }
        return Ok(folder);
    }
    let folder =
        folder().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "XDG_RUNTIME_DIR is not set"))?;
    make(&folder)?;
    Ok(folder)
}

/// A path for the control socket of a server on this port; the folder is made.
pub(crate) fn new(port: u16, owner: Option<Owner>) -> io::Result<PathBuf> {
    Ok(make_folder(owner)?.join(format!("{port}-{}.sock", process_id())))
}

/// The control sockets that this user finds and at which somebody answers. Those of servers that are gone are
/// taken away.
pub(crate) fn live() -> Vec<PathBuf> {
    let mut live: Vec<PathBuf> = Vec::new();
    let mut folders: Vec<PathBuf> = folder().into_iter().collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_socket() => live.push(entry.path()),
                Ok(kind) if kind.is_dir() && folder == Path::new(OF_ROOT) => folders.push(entry.path()),
                _ => {}
            }
        }
    }
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
