//! From settings to a server: at the start, and again at each reload.

use std::sync::Arc;

use landline::error::{Error, Outcome};
use landline::frame::Framing;
use landline::{Address, Echo, Excess, Monitor, Server, Serving, Upper, framed};

use super::holder;
use super::survival::LastGood;
use crate::args::ServeArgs;
use crate::exit::Failure;
use crate::settings::{ExcessName, ListenerSettings, ServerSettings, ServiceName};
use crate::setup::{Listener, Setup};
use crate::units;

/// Listens everywhere, before anybody is served. The first of them is to be what the whole server is.
pub(super) fn listen(
    setup: &Setup,
    bind: impl Fn(&Address) -> Result<Server, Error>,
) -> Result<Vec<Server>, Failure> {
    setup.listeners.iter().map(|listener| listen_on(&listener.address, &bind)).collect()
}

/// Listens at one address.
pub(super) fn listen_on(
    address: &Address,
    bind: impl Fn(&Address) -> Result<Server, Error>,
) -> Result<Server, Failure> {
    bind(address).map_err(|error| cannot_listen(error, address))
}

/// One server of all that listens.
pub(super) fn assemble(setup: &Setup, listening: Vec<Server>) -> Result<Serving, Failure> {
    let mut whole: Option<Serving> = None;
    for (server, Listener { settings, .. }) in listening.into_iter().zip(&setup.listeners) {
        let server = with_server_settings(server, &setup.server);
        let serving = serve(with_listener_settings(server, settings)?, settings);
        whole = Some(match whole {
            Some(whole) => whole.and(serving),
            None => serving,
        });
    }
    whole.ok_or_else(|| Failure::new(crate::exit::Exit::Usage, "there is no listener"))
}

/// What the server is to be from now on.
pub(super) fn anew(
    args: &ServeArgs,
    before: &ServerSettings,
    monitor: &Monitor,
    last_good: &Arc<LastGood>,
) -> Outcome<Serving> {
    let setup = Setup::with(args, last_good.made()).map_err(|failure| failure.in_one_line())?;
    let fixed = [
        ("control", setup.server.control != before.control),
        ("http", setup.server.http != before.http),
        ("http_token_file", setup.server.http_token_file != before.http_token_file),
        ("crash_survival", setup.server.crash_survival != before.crash_survival),
        ("watchdog_timeout", setup.server.watchdog_timeout != before.watchdog_timeout),
        ("core_dumps", setup.server.core_dumps != before.core_dumps),
        ("log_format", setup.server.log_format != before.log_format),
        ("user", setup.server.user != before.user),
        ("group", setup.server.group != before.group),
        ("sandbox", setup.server.sandbox != before.sandbox),
    ];
    if let Some((name, _)) = fixed.iter().find(|(_, changed)| *changed) {
        return Err(format!("{name} can't be changed while the server runs").into());
    }
    let serving = || {
        let certificates = super::certificates(&setup)?;
        let bundle = certificates.bundle.clone();
        let listening = listen(&setup, |address| monitor.bind(address))?;
        let serving = assemble(&setup, certificates.apply(listening, last_good))?;
        last_good.read(bundle);
        Ok(serving)
    };
    serving().map_err(|failure: Failure| failure.in_one_line().into())
}

/// Chosen here and not within a connection: a handler behind a pointer costs each of them an allocation.
fn serve(server: Server, settings: &ListenerSettings) -> Serving {
    let framing = settings.framing.unwrap_or(Framing::Raw);
    match service(settings) {
        ServiceName::Upper => server.serve(framed(framing, Upper)),
        ServiceName::Echo => server.serve(framed(framing, Echo)),
    }
}

pub(super) fn service(settings: &ListenerSettings) -> ServiceName {
    settings.service.unwrap_or(ServiceName::Upper)
}

fn with_server_settings(server: Server, settings: &ServerSettings) -> Server {
    let server = set(server, settings.threads, Server::threads);
    let server = set(server, settings.max_connections, Server::max_connections);
    let server = set(server, settings.max_connections_per_ip, Server::max_connections_per_ip);
    let server = set(server, settings.max_accept_rate, Server::max_accept_rate);
    let server = set(server, settings.max_handshakes, Server::max_handshakes);
    let server = set(server, settings.idle_reclaim, Server::idle_reclaim);
    let server = set(server, settings.drain_delay.map(Option::unwrap_or_default), Server::drain_delay);
    set(server, settings.drain_timeout, Server::drain_timeout)
}

fn with_listener_settings(server: Server, settings: &ListenerSettings) -> Result<Server, Failure> {
    let server = settings.allow.iter().fold(server, |server, network| server.allow(*network));
    let server = settings.deny.iter().fold(server, |server, network| server.deny(*network));
    let server = settings.proxy_from.iter().fold(server, |server, network| server.proxy_from(*network));
    let excess = settings.excess.map(|excess| match excess {
        ExcessName::Say => Excess::Say,
        ExcessName::Wait => Excess::Wait,
        ExcessName::Close => Excess::Close,
        ExcessName::Reset => Excess::Reset,
    });
    let server = set(server, excess, Server::excess);
    let server = set(server, settings.handshake_timeout, Server::handshake_timeout);
    let server = set(server, settings.idle_timeout, Server::idle_timeout);
    let server = set(server, settings.max_connection_time, Server::max_connection_time);
    let server = set(server, settings.max_connection_age, Server::max_connection_age);
    let server = set(server, settings.min_receive_rate.map(Some), Server::min_receive_rate);
    let server = set(server, settings.message_timeout, Server::message_timeout);
    let server = set(server, settings.write_timeout, Server::write_timeout);
    let server = set(server, settings.max_message, Server::max_message);
    let server = set(server, settings.max_unsent, Server::max_unsent);
    let server = set(server, settings.backlog, Server::backlog);
    let server = set(server, settings.keepalive_idle, Server::keepalive_idle);
    let server = set(server, settings.keepalive_interval, Server::keepalive_interval);
    let server = set(server, settings.keepalive_probes, Server::keepalive_probes);
    let server = set(server, settings.user_timeout, Server::user_timeout);
    let server = set(server, settings.unix_mode, Server::unix_mode);
    let owner = settings.unix_owner.as_deref().map(units::resolve_owner).transpose();
    let owner = owner.map_err(|cause| Failure::new(crate::exit::Exit::Usage, cause))?;
    Ok(set(server, owner, |server, (user, group)| server.unix_owner(user, group)))
}

/// What was not said keeps the library's default.
fn set<T>(server: Server, said: Option<T>, set: impl FnOnce(Server, T) -> Server) -> Server {
    match said {
        Some(value) => set(server, value),
        None => server,
    }
}

/// An address that can't be listened on, with what may be done about it.
pub(super) fn cannot_listen(error: Error, address: &Address) -> Failure {
    let hint = if error.is_address_in_use() {
        Some(match address.path().map_or_else(|| holder::of_port(address.port()), |_| None) {
            Some(holder) => format!("{holder} listens there; stop it, or choose another port"),
            None if address.path().is_some() => {
                "another program listens there; stop it, or choose another path".to_owned()
            }
            None => "another program listens there; stop it, or choose another port".to_owned(),
        })
    } else if error.is_resolve() {
        Some("check the spelling; ':PORT' listens on every address of this machine".to_owned())
    } else if !error.is_listen() {
        None
    } else if address.path().is_some() {
        Some("its folder must exist, and be yours to write in".to_owned())
    } else if address.systemd().is_some() {
        Some(
            "a socket unit of systemd opens it, with FileDescriptorName= and Service= or the service's name"
                .to_owned(),
        )
    } else if address.descriptor().is_some() {
        Some("whoever starts the program has to leave a listening socket open under this number".to_owned())
    } else if error.is_permission() {
        Some("ports this low take a privilege; choose one from 1024 on".to_owned())
    } else {
        Some("the address must be one of this machine's; ':PORT' stands for all of them".to_owned())
    };
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
