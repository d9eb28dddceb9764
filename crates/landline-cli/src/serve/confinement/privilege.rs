//! Ceasing to be root.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use landline::takeover;
use nix::unistd::{
    Gid, Uid, User, getresgid, getresuid, initgroups, setgroups, setresgid, setresuid, setuid,
};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, chownat, fstat, open};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use crate::control::place::Owner;
use crate::exit::{Exit, Failure};
use crate::settings::ServerSettings;
use crate::units;

const ROOT: Uid = Uid::from_raw(0);

/// Who the server is to be.
pub(super) enum Privilege {
    /// Whoever starts it: nobody said anything else.
    AsStarted,
    /// This user, who it is already.
    Is(Owner, String),
    /// This user, as soon as it listens.
    Becomes(Target),
}

/// A user that a process can become.
pub(super) struct Target {
    words: String,
    user: Uid,
    group: Gid,
    groups: Groups,
}

/// In which other groups.
enum Groups {
    /// In those that the user of this name is in.
    OfUser(CString),
    /// In none: the group was said.
    None,
}

impl Privilege {
    pub(super) fn new(settings: &ServerSettings) -> Result<Self, Failure> {
        let Some(said) = said(settings)? else { return Ok(Self::AsStarted) };
        let is_root = Uid::effective().is_root();
        let takes_over = takeover::takes_over() || takeover::is_check();
        let target = match Target::find(settings) {
            Ok(target) => target,
            // It was somebody's when the first program started. In a sandbox it can't be looked up again
            // if the list of users has been written anew since.
            Err(_) if takes_over && !is_root => return Ok(Self::Is(now(), said)),
            Err(cause) => return Err(Failure::new(Exit::Usage, cause)),
        };
        if target.user.is_root() {
            let text = "a server that is started as root can't give up its privileges to become root";
            return Err(Failure::new(Exit::Usage, text).hint("name another user, or leave out the user"));
        }
        if target.is_now()? {
            return Ok(Self::Is(now(), said));
        }
        if is_root && takes_over {
            let text = "the user is another by now, and can't be changed while the server runs";
            return Err(Failure::new(Exit::Usage, text));
        }
        if !is_root {
            let text = format!("cannot run as {said}: only root can become somebody else");
            return Err(Failure::new(Exit::Usage, text).hint("start it as root, or leave out the user"));
        }
        Ok(Self::Becomes(target))
    }

    /// Whether there is such a user.
    pub(super) fn check(settings: &ServerSettings) -> Result<(), Failure> {
        match said(settings)? {
            Some(_) => Target::find(settings).map(drop).map_err(|cause| Failure::new(Exit::Usage, cause)),
            None => Ok(()),
        }
    }

    pub(super) fn is_to_be_dropped(&self) -> bool {
        matches!(self, Self::Becomes(_))
    }

    /// Who the server is to be, if somebody said so.
    pub(super) fn owner(&self) -> Option<Owner> {
        match self {
            Self::AsStarted => None,
            Self::Is(owner, _) => Some(*owner),
            Self::Becomes(target) => Some((target.user.as_raw(), target.group.as_raw())),
        }
    }

    pub(super) fn words(&self) -> Option<&str> {
        match self {
            Self::AsStarted => None,
            Self::Is(_, words) | Self::Becomes(Target { words, .. }) => Some(words),
        }
    }

    /// Becomes that user, without a way back. For a process with one thread: capabilities are each thread's own.
    pub(super) fn drop(&self) -> Result<(), Failure> {
        match self {
            Self::Becomes(target) => target.become_it(),
            Self::AsStarted | Self::Is(..) => Ok(()),
        }
    }
}

/// The user as it was said, for people.
fn said(settings: &ServerSettings) -> Result<Option<String>, Failure> {
    let wrong = |text: &str, hint: &str| Err(Failure::new(Exit::Usage, text).hint(hint));
    match (&settings.user, &settings.group) {
        (None, None) => Ok(None),
        (None, Some(_)) => wrong(
            "a group without a user keeps nobody from anything: root may do all in any group",
            "say the user, too",
        ),
        (Some(user), Some(_)) if user.contains(':') => {
            wrong("the group is said twice, with the user and by itself", "leave out one of them")
        }
        (Some(user), Some(group)) => Ok(Some(format!("{}:{}", user.escape_debug(), group.escape_debug()))),
        (Some(user), None) => Ok(Some(user.escape_debug().to_string())),
    }
}

/// Who this process is.
fn now() -> Owner {
    (Uid::effective().as_raw(), Gid::effective().as_raw())
}

impl Target {
    fn find(settings: &ServerSettings) -> Result<Self, String> {
        let said = settings.user.as_deref().unwrap_or_default();
        let group = settings.group.as_ref().map(|group| units::resolve_owner(&format!(":{group}")));
        let (user, with_user) = units::resolve_owner(said)?;
        let user = Uid::from_raw(user.ok_or("it has no name")?);
        let group = group.transpose()?.and_then(|(_, group)| group).or(with_user).map(Gid::from_raw);
        let words = said.escape_debug().to_string();
        if let Some(group) = group {
            return Ok(Self { words, user, group, groups: Groups::None });
        }
        let entry = User::from_uid(user);
        let entry = entry.map_err(|error| format!("cannot look up the user '{words}': {}", error.desc()))?;
        let entry = entry.ok_or_else(|| {
            format!("nothing says in which group the user {user} is: it takes one, as in {user}:{user}")
        })?;
        let name = CString::new(entry.name).map_err(|_| "no user has a zero byte in its name")?;
        Ok(Self { words, user, group: entry.gid, groups: Groups::OfUser(name) })
    }

    /// Whether this process is it already. In which group it is then is whoever started it to say, unless a
    /// group was named.
    fn is_now(&self) -> Result<bool, Failure> {
        let (users, groups) = ids()?;
        let is_in_group = matches!(self.groups, Groups::OfUser(_)) || groups == [self.group; 3];
        Ok(users == [self.user; 3] && is_in_group)
    }

    fn become_it(&self) -> Result<(), Failure> {
        let cannot = |step: &str| {
            let text = format!("cannot become {}: {step}", self.words);
            move |error: nix::Error| Failure::new(Exit::Other, format!("{text}: {}", cause(error)))
        };
        match &self.groups {
            Groups::OfUser(name) => initgroups(name, self.group),
            Groups::None => setgroups(&[self.group]),
        }
        .map_err(cannot("it can't have its groups"))?;
        setresgid(self.group, self.group, self.group).map_err(cannot("it can't be in its group"))?;
        setresuid(self.user, self.user, self.user).map_err(cannot("it can't be that user"))?;
        // Unless whoever starts it has arranged otherwise, they are gone by now.
        let no = CapabilitySet::empty();
        let none = CapabilitySets { effective: no, permitted: no, inheritable: no };
        set_capabilities(None, none)
            .map_err(|error| cannot("it can't be without capabilities")(raw(error)))?;
        self.verify()
    }

    /// Looks whether it worked, and tries the way back.
    fn verify(&self) -> Result<(), Failure> {
        if ids()? == ([self.user; 3], [self.group; 3]) && setuid(ROOT).is_err() {
            return Ok(());
        }
        let text = format!("cannot become {} for good: this process can become root again", self.words);
        Err(Failure::new(Exit::Other, text).hint("look which capabilities and securebits it is started with"))
    }
}

/// The real, the effective and the saved user and group.
fn ids() -> Result<([Uid; 3], [Gid; 3]), Failure> {
    let ids = getresuid().and_then(|users| Ok((users, getresgid()?)));
    let (users, groups) = ids
        .map_err(|error| Failure::new(Exit::Other, format!("cannot find out who it is: {}", cause(error))))?;
    let users = [users.real, users.effective, users.saved];
    Ok((users, [groups.real, groups.effective, groups.saved]))
}

fn raw(error: rustix::io::Errno) -> nix::Error {
    nix::Error::from_raw(error.raw_os_error())
}

fn cause(error: nix::Error) -> String {
    landline::error::describe(&io::Error::from(error))
}

/// Gives a Unix socket's file its mode and its owner: that one file, whatever happens in its folder meanwhile.
pub(super) fn give_file(path: &Path, (user, group): Owner, mode: u32) -> Result<(), Failure> {
    let give = || -> io::Result<()> {
        let file = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::Socket {
            return Err(io::Error::other("somebody has put another file in its place"));
        }
        let (user, group) = (rustix::fs::Uid::from_raw(user), rustix::fs::Gid::from_raw(group));
        chownat(&file, "", Some(user), Some(group), AtFlags::EMPTY_PATH)?;
        // A path is all by which the file behind such a descriptor can be given a mode.
        let same = format!("/proc/self/fd/{}", file.as_raw_fd());
        std::fs::set_permissions(same, std::fs::Permissions::from_mode(mode))
    };
    give().map_err(|error| {
        let cause = landline::error::describe(&error);
        let path = crate::config::in_one_line(&path.display());
        Failure::new(Exit::Listen, format!("cannot give {path} to its owner: {cause}"))
    })
}
