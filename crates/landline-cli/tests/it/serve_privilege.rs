//! `serve --user`: what was started as root serves as somebody else, and stays so whoever is killed.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use nix::unistd::{Group, User};
use rustix::process::{Signal, geteuid, kill_process};

use crate::serve_survival::{is_gone, kill_worker, pid, worker_of};
use crate::serve_upgrade::Place;
use crate::serving::*;
use crate::support::*;

pub(crate) const NOBODY: [&str; 2] = ["--user", "nobody"];
pub(crate) const ON: [&str; 2] = ["--crash-survival", "on"];
pub(crate) const OFF: [&str; 2] = ["--crash-survival", "off"];

/// Whether there are root and the user `nobody`.
pub(crate) fn has_root() -> bool {
    has("root, and the user nobody", geteuid().is_root() && matches!(User::from_name("nobody"), Ok(Some(_))))
}

/// The user and the group of `nobody`.
fn nobody() -> (u32, u32) {
    let nobody = User::from_name("nobody").unwrap().unwrap();
    (nobody.uid.as_raw(), nobody.gid.as_raw())
}

/// An address of this machine with a port for root that nobody else listens on.
pub(crate) fn low_port() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [high, low, ..] = std::process::id().to_le_bytes();
    let hosts = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed));
    let mut free = hosts.map(|host| SocketAddr::from(([127, high, low, host], 81)));
    free.find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

/// A server that says that it is somebody else.
fn serve_as(address: SocketAddr, flags: &[&str]) -> Serving {
    let mut command = landline(["serve", &address.to_string(), "--print-port"]);
    command.args(flags).stderr(Stdio::piped());
    if !flags.contains(&"--control") {
        command.args(["--control", "none"]);
    }
    let mut server = Serving::start(command);
    server.address = address;
    server.says("it runs as ");
    server
}

/// Checks that no thread of a process is anybody else, or can become it.
fn is_all(process: u32, (user, group): (u32, u32), groups: &[u32]) {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let statuses = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).unwrap());
    let all = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    let expected = [
        ("Uid:", all(user)),
        ("Gid:", all(group)),
        ("Groups:", groups.join(" ")),
        ("CapPrm:", "0".repeat(16)),
        ("CapEff:", "0".repeat(16)),
        ("NoNewPrivs:", "1".to_owned()),
    ];
    let mut count = 0;
    for status in statuses {
        for (name, value) in &expected {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            assert_eq!(line, Some(&**value), "{name} of {process}: {status}");
        }
        count += 1;
    }
    assert!(count > 0);
}

fn is_nobody(process: u32) {
    is_all(process, nobody(), &[nobody().1]);
}

/// A caller of lines.
fn asks(caller: &mut Caller) {
    caller.says("hello\n");
    caller.hears("HELLO\n");
}

#[test]
fn a_low_port_is_served_by_processes_of_which_no_thread_is_root() {
    if !has_root() {
        return;
    }
    let server = serve_as(low_port(), &[&NOBODY[..], &ON, &["--http", "0"]].concat());
    server.call().asks("hello");
    is_nobody(server.id());
    is_nobody(worker_of(server.id()));
    server.stop().in_order();
}

#[test]
fn without_a_keeper_no_thread_is_root_either() {
    if !has_root() {
        return;
    }
    let place = Place::new();
    let control = place.path("ctl.sock");
    let flags = [&NOBODY[..], &OFF, &["--http", "0", "--control", &control]].concat();
    let server = serve_as(low_port(), &flags);
    server.call().asks("hello");
    is_nobody(server.id());
    assert_eq!(fs::metadata(control).unwrap().uid(), nobody().0);
    server.stop().in_order();
}

#[test]
fn whoever_says_the_group_is_in_no_other() {
    if !has_root() {
        return;
    }
    let daemon = Group::from_name("daemon").unwrap().unwrap().gid.as_raw();
    for (flags, ids) in [
        (&["--user", "nobody", "--group", "daemon"][..], (nobody().0, daemon)),
        (&["--user", "nobody:daemon"], (nobody().0, daemon)),
        (&["--user", "54321:54322"], (54321, 54322)),
    ] {
        let server = serve_as(([127, 0, 0, 1], 0).into(), flags);
        is_all(server.id(), ids, &[ids.1]);
        is_all(worker_of(server.id()), ids, &[ids.1]);
        server.stop().in_order();
    }
}

#[test]
fn whoever_is_killed_of_the_two_the_server_goes_on_and_is_not_root() {
    if !has_root() {
        return;
    }
    let mut server = serve_as(low_port(), &[&NOBODY[..], &ON, &["--framing", "line"]].concat());
    server.says("if its process is killed");
    let mut caller = server.call();
    asks(&mut caller);
    kill_worker(&mut server);
    asks(&mut caller);
    is_nobody(worker_of(server.id()));
    let heir = worker_of(server.id());
    server.signal(Signal::KILL);
    server.says("restarted after SIGKILL");
    asks(&mut caller);
    let worker = worker_of(heir);
    is_nobody(heir);
    is_nobody(worker);
    // The program was readable when it was started anew; its memory is not for others all the same.
    assert_eq!(fs::metadata(format!("/proc/{heir}/environ")).unwrap().uid(), 0);
    drop(caller);
    kill_process(pid(heir), Signal::TERM).unwrap();
    server.says("stopped: ");
    in_time(move || while !(is_gone(heir) && is_gone(worker)) {}).expect("they end");
}

#[test]
fn another_program_takes_over_and_is_not_root() {
    if !has_root() {
        return;
    }
    let place = Place::new();
    let new = place.copy();
    let control = place.path("ctl.sock");
    let flags = [&NOBODY[..], &ON, &["--framing", "line", "--control", &control]].concat();
    let mut server = serve_as(low_port(), &flags);
    server.says("if its process is killed");
    let mut caller = server.call();
    asks(&mut caller);
    for upgrade in 1..=2 {
        let output = place.ctl(&["upgrade", "--binary", &new]);
        assert_eq!(code(&output), 0, "{output:?}");
        server.says(&format!("upgrade {upgrade}"));
        asks(&mut caller);
        let keeper = worker_of(server.id());
        for process in [server.id(), keeper, worker_of(keeper)] {
            is_nobody(process);
        }
    }
    drop(caller);
    server.stop().in_order();
}

#[test]
fn a_file_that_only_root_can_read_is_read_before_and_not_anew() {
    if !has_root() {
        return;
    }
    let place = Place::new();
    let (config, control) = (place.path("landline.toml"), place.path("ctl.sock"));
    let text = format!("user = 'nobody'\ncontrol = '{control}'\n[[listener]]\naddress = 0\n");
    fs::write(&config, &text).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = landline(["serve", "--config", &config, "--print-port"]);
    command.args(ON).stderr(Stdio::piped());
    let mut server = Serving::start(command);
    server.says("if its process is killed");
    kill_worker(&mut server);
    server.call().asks("hello");
    is_nobody(worker_of(server.id()));
    let output = place.ctl(&["reload"]);
    let said = text_of(&output);
    assert!(said.contains("cannot read the configuration: permission denied"), "{said}");
    assert!(said.contains("a file that the server may read"), "{said}");
    server.says("permission denied");
    let said = text_of(&place.ctl(&["upgrade"]));
    assert!(said.contains("permission denied"), "{said}");
    server.call().asks("hello");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(code(&place.ctl(&["reload"])), 0);
    fs::write(&config, text.replace("nobody", "daemon")).unwrap();
    let said = text_of(&place.ctl(&["reload"]));
    assert!(said.contains("user can't be changed while the server runs"), "{said}");
    server.stop().in_order();
}

pub(crate) fn text_of(output: &Output) -> String {
    assert_ne!(code(output), 0, "{output:?}");
    text(&output.stderr)
}

#[test]
fn a_server_that_is_root_does_not_cease_to_be_by_an_upgrade() {
    if !has_root() {
        return;
    }
    let place = Place::new();
    let (config, control) = (place.path("landline.toml"), place.path("ctl.sock"));
    let text = format!("control = '{control}'\n[[listener]]\naddress = 0\n");
    fs::write(&config, &text).unwrap();
    let mut command = landline(["serve", "--config", &config, "--print-port"]);
    command.args(ON).stderr(Stdio::piped());
    let mut server = Serving::start(command);
    server.says("if its process is killed");
    fs::write(&config, format!("user = 'nobody'\n{text}")).unwrap();
    let said = text_of(&place.ctl(&["upgrade"]));
    assert!(
        said.contains("the user is another by now, and can't be changed while the server runs"),
        "{said}"
    );
    server.call().asks("hello");
    server.stop().in_order();
}

#[test]
fn the_files_of_unix_sockets_are_the_new_users_unless_somebody_elses() {
    if !has_root() {
        return;
    }
    let place = Place::new();
    let (own, others, control) = (place.path("own.sock"), place.path("others.sock"), place.path("ctl.sock"));
    let (config, token) = (place.path("landline.toml"), place.path("token"));
    let text = format!(
        "user = 'nobody'\ncontrol = '{control}'\nhttp = 0\nhttp_token_file = '{token}'\n\
         [[listener]]\naddress = 0\n\
         [[listener]]\naddress = 'unix:{own}'\n\
         [[listener]]\naddress = 'unix:{others}'\nunix_owner = 'daemon:daemon'\nunix_mode = '0660'\n"
    );
    fs::write(&config, text).unwrap();
    fs::write(&token, "atokenofsomelength").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&token, Some(nobody().0), None).unwrap();
    let program = place.copy();
    for survival in [&ON, &OFF] {
        let mut command = landline(["serve", "--config", &config, "--print-port"]);
        command.args(survival).stderr(Stdio::piped());
        let server = Serving::start(command);
        let daemon = User::from_name("daemon").unwrap().unwrap().uid.as_raw();
        let about = |path: &str| fs::metadata(path).map(|about| (about.uid(), about.mode() & 0o777)).unwrap();
        assert_eq!(about(&own), (nobody().0, 0o600));
        assert_eq!(about(&others), (daemon, 0o660));
        assert_eq!(about(&control), (nobody().0, 0o600));
        // Both may ask, root and whoever the server is.
        assert_eq!(place.status()["pid"].as_u64(), Some(server.id().into()));
        let mut ctl = by_nobody(&program);
        ctl.args(["ctl", "--control", &control, "status"]);
        let output = run(ctl, Stdio::null());
        assert_eq!(code(&output), 0, "{output:?}");
        server.stop().in_order();
    }
}

#[test]
fn a_server_has_a_place_for_its_control_socket_where_its_user_can_take_it_away() {
    if !has_root() {
        return;
    }
    let mut command = command(&[&NOBODY[..], &ON].concat());
    // That of whoever starts it is not for whoever serves.
    command.env("XDG_RUNTIME_DIR", "/nonexistent");
    let mut server = Serving::start(command);
    server.says("if its process is killed");
    let folder = format!("/run/landline/{}", nobody().0);
    let socket = format!("{folder}/{}-{}.sock", server.port(), server.id());
    let (about, of_folder) = (fs::metadata(&socket).unwrap(), fs::metadata(&folder).unwrap());
    assert_eq!((about.uid(), of_folder.uid(), of_folder.mode() & 0o777), (nobody().0, nobody().0, 0o700));
    let ctl = landline(["ctl", "--control", &socket, "list"]);
    kill_worker(&mut server);
    let output = run(ctl, Stdio::null());
    assert_eq!(code(&output), 0, "{output:?}");
    server.stop().in_order();
    assert!(!fs::exists(socket).unwrap());
}

#[test]
fn its_memory_is_for_nobody_to_look_into_unless_a_core_dump_is_wanted() {
    if !has_root() {
        return;
    }
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    for (flags, owner) in [(&["--core-dumps", "off"], 0), (&["--core-dumps", "on"], nobody().0)] {
        let server = serve_as(local, &[&NOBODY[..], &ON, flags].concat());
        for process in [server.id(), worker_of(server.id())] {
            assert_eq!(fs::metadata(format!("/proc/{process}/environ")).unwrap().uid(), owner);
        }
        server.stop().in_order();
    }
}

/// A program, run by `nobody`.
pub(crate) fn by_nobody(program: &str) -> Command {
    let mut command = Command::new(program);
    command.uid(nobody().0).gid(nobody().1).env_remove("XDG_RUNTIME_DIR");
    command
}

#[test]
fn capabilities_that_were_to_stay_do_not() {
    let setpriv = Command::new("setpriv").arg("--version").stdout(Stdio::null()).status();
    if !(has_root() && has("setpriv", setpriv.is_ok_and(|status| status.success()))) {
        return;
    }
    for survival in [&ON, &OFF] {
        let server = command(&[&NOBODY[..], survival, &["--control", "none"]].concat());
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--securebits", "+no_setuid_fixup"]).arg(server.get_program()).args(server.get_args());
        setpriv.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
        setpriv.stderr(Stdio::piped());
        let server = Serving::start(setpriv);
        server.call().asks("hello");
        is_nobody(server.id());
        is_nobody(server.serving_id());
        server.stop().in_order();
    }
}
