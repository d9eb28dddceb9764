//! The file of a Unix socket: made, opened to others, taken away.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::{fs, path};

use rustix::io::Errno;
use socket2::Socket;

use crate::sys::socket;

/// The file under which a Unix socket is found. Dropping it takes the file away, unless it is another's by
/// then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Its device and inode, by which it is known again; none if it is another's to take away.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// Listens at a path, for its owner only until it is [opened](Self::open_to). The file of a server that
    /// is gone is replaced; one at which somebody listens is not, nor is any that is no socket.
    pub(crate) fn bind(path: &Path, backlog: i32) -> io::Result<(Socket, Self)> {
        // The working directory may change before the file is taken away.
        let path = path::absolute(path)?;
        if is_stale(&path)? {
            fs::remove_file(&path)?;
        }
        let socket = socket::listen_on_path(&path, backlog)?;
        Ok((socket, Self::of(&path)?))
    }

    /// The file of a socket that listens at this path already, and is this server's.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let path = path::absolute(path)?;
        let identity = Some(identity(&fs::symlink_metadata(&path)?));
        Ok(Self { path, identity })
    }

    /// Leaves the file where it is: whoever goes on with the socket takes it away.
    pub(crate) fn leave(&mut self) {
        self.identity = None;
    }

    /// Gives the file its owner and its mode. What is so already is left alone: whoever ceased to be root may
    /// not change it any more, and need not.
    pub(crate) fn open_to(&self, mode: u32, (user, group): (Option<u32>, Option<u32>)) -> io::Result<()> {
        let is = fs::symlink_metadata(&self.path)?;
        let (user, group) = (user.filter(|user| *user != is.uid()), group.filter(|group| *group != is.gid()));
        if user.is_some() || group.is_some() {
            chown(&self.path, user, group)?;
        }
        if is.mode() & 0o7777 != mode {
            fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| Some(identity(&metadata)) == self.identity) {
            // It may be gone already, with its folder.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Whether there is the file of a socket at which nobody listens any more.
fn is_stale(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        // Its backlog may be full, or it may not be for us to call: it lives.
        Ok(_) | Err(_) => Err(Errno::ADDRINUSE.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("landline-{name}-{}.sock", std::process::id()))
    }

    #[test]
    fn a_stale_file_is_replaced_and_a_live_one_is_not() {
        let path = path("stale");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (socket, file) = SocketFile::bind(&path, 1).unwrap();
        let taken = SocketFile::bind(&path, 1).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(file);
        assert!(!path.exists());
        drop(socket);
    }

    #[test]
    fn a_file_that_is_no_socket_stays_and_one_that_is_anothers_by_now_too() {
        let path = path("foreign");
        fs::write(&path, "precious").unwrap();
        assert!(SocketFile::bind(&path, 1).unwrap_err().to_string().contains("no socket"));
        fs::remove_file(&path).unwrap();
        let (_socket, file) = SocketFile::bind(&path, 1).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn it_is_for_its_owner_only_until_it_is_opened() {
        let path = path("mode");
        let (_socket, file) = SocketFile::bind(&path, 1).unwrap();
        let mode = || fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode() & 0o077, 0);
        file.open_to(0o666, (None, None)).unwrap();
        assert_eq!(mode(), 0o666);
    }
}
