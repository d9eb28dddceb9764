//! A sandbox by Landlock: what serves reads and starts nothing but what is on this page.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf, absolute};

use landline::takeover;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    RestrictSelfError, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
};

use super::{addresses, named_control, survives};
use crate::args::ServeArgs;
use crate::config::in_one_line;
use crate::control::place::{self, Owner};
use crate::exit::{Exit, Failure};
use crate::serve::notify;
use crate::setup::Setup;

/// The versions of Landlock that restrict more than those before, newest first, with what only they restrict.
const VERSIONS: [(ABI, i32, &str); 4] = [
    (ABI::V5, 5, "orders to devices"),
    (ABI::V4, 4, "calls over TCP"),
    (ABI::V3, 3, "cutting files short"),
    (ABI::V1, 1, ""),
];

/// What is read to look up users, groups and names, to tell the time, and to count processors.
const TO_READ: [&str; 14] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/resolv.conf",
    "/run/systemd/resolve",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
    // A worker's own is another one each time. Into other processes Landlock lets nobody look.
    "/proc",
];

/// Folders that hold more than can be opened to a server.
const TOO_MUCH: [&str; 2] = ["/", "/etc"];

/// The kernel puts no more sandboxes than this into one another.
const E2BIG: i32 = rustix::io::Errno::TOOBIG.raw_os_error();

/// A sandbox that can be entered.
pub(super) struct Sandbox {
    /// There as long as the process, or until the first program closes all it has, which asks nobody.
    rules: &'static RulesetCreated,
    words: String,
}

impl Sandbox {
    /// Whether there could be one for these settings here.
    pub(super) fn check(setup: &Setup, args: &ServeArgs) -> Result<(), Failure> {
        version()?;
        folders_to_read(setup, args).and_then(|_| folders_to_listen_in(setup)).map(drop)
    }

    /// Made before the server ceases to be root, who finds all of it; what is not there needs no rule.
    pub(super) fn new(setup: &Setup, args: &ServeArgs, owner: Option<Owner>) -> Result<Self, Failure> {
        let (_, number, _) = version()?;
        let mut to_listen_in = folders_to_listen_in(setup)?;
        if setup.server.control.is_none() {
            // Where there is no place for it, there is no control socket.
            to_listen_in.extend(place::make_folder(owner));
        }
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let make = AccessFs::MakeSock | AccessFs::RemoveFile;
        let calls_nobody = !has_to_call_anywhere(setup);
        let mut rules = create(calls_nobody).map_err(|error| cannot(&error))?;
        let to_read = TO_READ.iter().map(PathBuf::from).chain(folders_to_read(setup, args)?);
        for folder in to_read.chain(libraries()) {
            rules = with(rules, &folder, read)?;
        }
        for folder in to_listen_in {
            rules = with(rules, &folder, make)?;
        }
        rules = with(rules, Path::new("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile)?;
        if survives(setup) {
            // A worker whose keeper is killed becomes the program anew.
            for program in [PathBuf::from("/proc/self/exe")].into_iter().chain(loaders()) {
                rules = with(rules, &program, AccessFs::ReadFile | AccessFs::Execute)?;
            }
        }
        let ports: BTreeSet<u16> = addresses(setup).map(landline::Address::port).collect();
        for port in ports.into_iter().filter(|port| calls_nobody && *port > 0) {
            rules =
                rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp)).map_err(|error| cannot(&error))?;
        }
        Ok(Self { rules: Box::leak(Box::new(rules)), words: words(number) })
    }

    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// Confines this thread and those that it will start.
    pub(super) fn enter(&self) -> Result<(), Failure> {
        let rules = self.rules.try_clone().map_err(|error| {
            Failure::new(
                Exit::Other,
                format!("cannot enter a sandbox: {}", landline::error::describe(&error)),
            )
        })?;
        match rules.restrict_self() {
            Ok(_) => Ok(()),
            // The keeper was a worker once, whose own keeper was killed, and took its sandbox along. Those add up,
            // and only so can there be as many as the kernel has.
            Err(RulesetError::RestrictSelf(RestrictSelfError::RestrictSelfCall { source, .. }))
                if source.raw_os_error() == Some(E2BIG) && takeover::takes_over() =>
            {
                Ok(())
            }
            Err(error) => Err(cannot(&error)),
        }
    }
}

/// The newest version that this kernel has.
fn version() -> Result<(ABI, i32, &'static str), Failure> {
    let is_known = |abi: ABI| {
        let strict = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let rules = strict.handle_access(AccessFs::from_all(abi));
        let rules = match abi {
            ABI::V4 | ABI::V5 => rules.and_then(|rules| rules.handle_access(AccessNet::ConnectTcp)),
            _ => rules,
        };
        rules.and_then(Ruleset::create).is_ok()
    };
    let newest = VERSIONS.into_iter().find(|(abi, ..)| is_known(*abi));
    newest.ok_or_else(|| {
        let text = "cannot make a sandbox: this kernel has no Landlock, or it was not switched on";
        Failure::new(Exit::Usage, text)
            .hint("it takes Linux 5.13 with 'lsm=...,landlock'; or leave out the sandbox")
    })
}

/// What is said at the start: with an older kernel, what it does not restrict.
fn words(number: i32) -> String {
    let lacks = VERSIONS.iter().filter(|(_, theirs, _)| *theirs > number).map(|(.., what)| *what);
    let lacks: Vec<&str> = lacks.collect();
    match &lacks[..] {
        [] => "in a sandbox".to_owned(),
        lacks => format!("in a sandbox, in which this kernel does not restrict {}", lacks.join(", ")),
    }
}

fn create(calls_nobody: bool) -> Result<RulesetCreated, RulesetError> {
    let rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let rules = rules.handle_access(AccessFs::from_all(ABI::V5))?;
    let rules = if calls_nobody { rules.handle_access(AccessNet::ConnectTcp)? } else { rules };
    rules.create()
}

/// A server that has to show a service manager that it is well calls itself, and at some addresses nobody knows
/// the port before there is one.
fn has_to_call_anywhere(setup: &Setup) -> bool {
    let has_no_port = |address: &landline::Address| address.path().is_none() && address.port() == 0;
    notify::is_looked_after() && addresses(setup).any(has_no_port)
}

fn with(
    rules: RulesetCreated,
    path: &Path,
    access: impl Into<BitFlags<AccessFs>>,
) -> Result<RulesetCreated, Failure> {
    let Ok(place) = PathFd::new(path) else { return Ok(rules) };
    let is_folder = fs::metadata(path).is_ok_and(|about| about.is_dir());
    let access = if is_folder { access.into() } else { access.into() & AccessFs::from_file(ABI::V5) };
    rules.add_rule(PathBeneath::new(place, access)).map_err(|error| cannot(&error))
}

fn cannot(error: &RulesetError) -> Failure {
    let text = error.to_string();
    Failure::new(Exit::Other, format!("cannot make a sandbox: {}", in_one_line(&text)))
}

/// The folders of the files that are read anew. A file by itself will not do: whoever changes one mostly puts
/// another in its place.
fn folders_to_read(setup: &Setup, args: &ServeArgs) -> Result<Vec<PathBuf>, Failure> {
    let named = [&args.config, &setup.server.http_token_file].into_iter().flatten();
    let certificates = setup.listeners.iter().flat_map(|listener| listener.settings.tls_files());
    let named: Vec<&PathBuf> = named.chain(certificates).collect();
    // Where a link leads to at the start.
    let behind: Vec<PathBuf> = named.iter().filter_map(|file| fs::canonicalize(file).ok()).collect();
    folders(named.into_iter().chain(&behind).map(PathBuf::as_path))
}

/// The folders in which sockets are made and taken away.
fn folders_to_listen_in(setup: &Setup) -> Result<Vec<PathBuf>, Failure> {
    folders(addresses(setup).filter_map(landline::Address::path).chain(named_control(&setup.server)))
}

fn folders<'a>(files: impl Iterator<Item = &'a Path>) -> Result<Vec<PathBuf>, Failure> {
    files.map(folder).collect()
}

/// The folder of a file, which must not be one that holds more than is meant.
fn folder(file: &Path) -> Result<PathBuf, Failure> {
    let folder = absolute(file).ok().and_then(|path| path.parent().map(Path::to_path_buf));
    let folder = folder.unwrap_or_else(|| "/".into());
    let is = fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone());
    if TOO_MUCH.iter().any(|much| is == Path::new(much)) {
        let (file, folder) = (in_one_line(&file.display()), in_one_line(&is.display()));
        let text = format!("cannot make a sandbox: {file} lies in {folder}, and all of that would be opened");
        return Err(
            Failure::new(Exit::Usage, text).hint("put it into a folder of its own, as in /etc/landline")
        );
    }
    Ok(folder)
}

/// The folders of the libraries that this program has loaded: it may load others for looking up names.
fn libraries() -> impl Iterator<Item = PathBuf> {
    mapped().filter_map(|path| path.parent().map(Path::to_path_buf)).collect::<BTreeSet<_>>().into_iter()
}

/// What the system starts in order to start this program.
fn loaders() -> impl Iterator<Item = PathBuf> {
    mapped().filter(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("ld"))
    })
}

/// The libraries that are mapped.
fn mapped() -> impl Iterator<Item = PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let paths = maps.lines().filter_map(|line| line.find('/').map(|start| PathBuf::from(&line[start..])));
    let is_library = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.contains(".so"))
    };
    paths.filter(is_library).collect::<BTreeSet<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};
    use std::thread;

    use clap::Parser;

    use super::*;
    use crate::args;

    /// What `serve` would be with these flags.
    fn serve(flags: &[&str]) -> ServeArgs {
        let all = ["landline", "serve"].iter().chain(flags);
        match args::Args::try_parse_from(all).unwrap().command {
            args::Command::Serve(serve) => *serve,
            other => panic!("{other:?}"),
        }
    }

    /// Does `work` in a sandbox, if there is any: it is this thread's alone.
    fn sandboxed<T: Send + 'static>(flags: &[&str], work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let args = serve(flags);
        let sandbox = Sandbox::new(&Setup::new(&args).unwrap(), &args, None).ok()?;
        thread::spawn(move || {
            sandbox.enter().unwrap();
            work()
        })
        .join()
        .ok()
    }

    fn start(program: &str) -> Result<bool, ErrorKind> {
        let started = Command::new(program).arg("--list").stdout(Stdio::null()).status();
        started.map(|status| status.success()).map_err(|error| error.kind())
    }

    #[test]
    fn what_is_sandboxed_starts_no_program_but_its_own_and_that_only_to_survive() {
        let programs = || ["/bin/true", "/usr/bin/env", "/proc/self/exe"].map(start);
        let denied = Err(ErrorKind::PermissionDenied);
        if let Some(started) = sandboxed(&["0", "--crash-survival", "on"], programs) {
            assert_eq!(started, [denied, denied, Ok(true)]);
            assert_eq!(sandboxed(&["0", "--crash-survival", "off"], programs), Some([denied; 3]));
        }
        assert_eq!(programs()[0], Ok(true), "another thread is in no sandbox");
    }

    #[test]
    fn what_is_sandboxed_reads_what_it_has_to_and_writes_nothing() {
        let files = || {
            let read = ["/etc/passwd", "/proc/self/status", "/etc/shadow", "/etc/os-release", "/bin/true"];
            let read = read.map(|path| fs::File::open(path).map_err(|error| error.kind()).is_ok());
            let scratch = std::env::temp_dir().join("landline-sandbox-scratch");
            (read, fs::write(scratch, "x").map_err(|error| error.kind()))
        };
        if let Some(done) = sandboxed(&["0", "--control", "none"], files) {
            assert_eq!(done, ([true, true, false, false, false], Err(ErrorKind::PermissionDenied)));
        }
    }

    #[test]
    fn what_is_sandboxed_calls_nobody_but_itself() {
        let [ours, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [ours, other] = [&ours, &other].map(|listener| listener.local_addr().unwrap());
        let address = ours.to_string();
        let called = sandboxed(&[&address, "--control", "none"], move || {
            [ours, other].map(|address| TcpStream::connect(address).map(drop).map_err(|error| error.kind()))
        });
        if let Some(called) = called.filter(|_| version().is_ok_and(|(_, number, _)| number >= 4)) {
            assert_eq!(called, [Ok(()), Err(ErrorKind::PermissionDenied)]);
        }
    }

    #[test]
    fn a_folder_with_other_peoples_secrets_is_not_opened() {
        for path in ["/etc/ctl.sock", "/ctl.sock", "/usr/../etc/ctl.sock"] {
            let args = serve(&["0", "--control", path]);
            let failure = Sandbox::check(&Setup::new(&args).unwrap(), &args).unwrap_err();
            assert!(failure.in_one_line().contains("all of that would be opened"), "{failure:?}");
        }
    }

    #[test]
    fn an_older_kernel_is_said_to_do_less() {
        assert_eq!(words(5), "in a sandbox");
        let said = words(3);
        assert!(said.ends_with("does not restrict orders to devices, calls over TCP"), "{said}");
    }
}
