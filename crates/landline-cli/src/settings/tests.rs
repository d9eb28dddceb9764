use clap::{CommandFactory, Parser};
use landline::{Config, Policy};

use super::*;
use crate::args;

/// A value that every key takes, for those that take no number.
const VALUES: [(&str, &str); 21] = [
    ("tls_self_signed", "on"),
    ("tls_min_version", "1.3"),
    ("tls_client_auth", "optional"),
    ("idle_reclaim", "5m"),
    ("control", "none"),
    ("http", "9100"),
    ("crash_survival", "on"),
    ("core_dumps", "on"),
    ("log_format", "json"),
    ("service", "echo"),
    ("framing", "line"),
    ("excess", "close"),
    ("allow", "10.0.0.0/8"),
    ("deny", "10.0.0.0/8"),
    ("proxy_from", "10.0.0.0/8"),
    ("unix_mode", "0660"),
    ("unix_owner", "1:2"),
    ("backlog", "7"),
    ("user", "1:2"),
    ("group", "2"),
    ("sandbox", "on"),
];

fn value(name: &str) -> &'static str {
    let is_time = name.ends_with("_timeout")
        || name.ends_with("_delay")
        || ["keepalive_idle", "keepalive_interval", "max_connection_time", "max_connection_age"]
            .contains(&name);
    let listed = VALUES.iter().find(|(listed, _)| *listed == name).map(|(_, value)| *value);
    listed.unwrap_or(if is_time { "2s" } else { "7" })
}

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    server: ServerSettings,
    #[command(flatten)]
    listener: ListenerSettings,
}

fn by_flag(name: &str) -> Flags {
    let flag = format!("--{}={}", name.replace('_', "-"), value(name));
    Flags::try_parse_from(["landline", &flag]).unwrap_or_else(|error| panic!("{error}"))
}

fn by_key<T: serde::de::DeserializeOwned>(name: &str) -> T {
    toml::from_str(&format!("{name} = '{}'", value(name))).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_flag_is_a_key_and_says_the_same_as_one() {
    for name in ServerSettings::names() {
        let flags = by_flag(&name);
        assert_ne!(flags.server, ServerSettings::default(), "{name}");
        assert_eq!(flags.server, by_key(&name), "{name}");
    }
    for name in ListenerSettings::names() {
        let flags = by_flag(&name);
        assert_ne!(flags.listener, ListenerSettings::default(), "{name}");
        assert_eq!(flags.listener, by_key(&name), "{name}");
    }
}

#[test]
fn every_key_is_a_flag() {
    // serde names all that it takes when it is given what it does not.
    let keys = |error: toml::de::Error| -> Vec<String> {
        let (_, listed) = error.message().split_once("expected one of ").unwrap();
        listed.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
    };
    assert_eq!(keys(toml::from_str::<ServerSettings>("x = 1").unwrap_err()), ServerSettings::names());
    assert_eq!(keys(toml::from_str::<ListenerSettings>("x = 1").unwrap_err()), ListenerSettings::names());
}

#[test]
fn what_was_said_first_stays_and_networks_add_up() {
    for name in ServerSettings::names() {
        let said: ServerSettings = by_key(&name);
        assert_eq!(said.clone().or(ServerSettings::default()), said, "{name}");
        assert_eq!(ServerSettings::default().or(said.clone()), said, "{name}");
    }
    for name in ListenerSettings::names() {
        let said: ListenerSettings = by_key(&name);
        assert_eq!(said.clone().or(ListenerSettings::default()), said, "{name}");
        assert_eq!(ListenerSettings::default().or(said.clone()), said, "{name}");
    }
    let first = toml::from_str::<ListenerSettings>("deny = '10.0.0.1'\nidle_timeout = 'none'").unwrap();
    let second = toml::from_str::<ListenerSettings>("deny = '10.0.0.2'\nidle_timeout = '5m'").unwrap();
    let both = first.or(second);
    assert_eq!(both.deny.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.1/32", "10.0.0.2/32"]);
    assert_eq!(both.idle_timeout, Some(None));
}

#[test]
fn numbers_need_no_quotes_where_the_flag_takes_them_bare() {
    assert_eq!(toml::from_str::<ServerSettings>("max_connections = 500").unwrap().max_connections, Some(500));
    assert_eq!(toml::from_str::<ListenerSettings>("max_message = 65536").unwrap().max_message, Some(65536));
    assert_eq!(toml::from_str::<ListenerSettings>("allow = ['::1', '10.0.0.0/8']").unwrap().allow.len(), 2);
    for wrong in ["unix_mode = 660", "unix_mode = 0o660", "idle_timeout = 5", "max_unsent = 1.5", "allow = 1"]
    {
        assert!(toml::from_str::<ListenerSettings>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_help_names_the_defaults_of_the_library() {
    let mut command = args::Args::command();
    let serve = command.find_subcommand_mut("serve").unwrap();
    let help = |flag: &str| {
        let argument = serve.get_arguments().find(|argument| argument.get_long() == Some(flag));
        argument.and_then(clap::Arg::get_help).unwrap_or_else(|| panic!("--{flag}")).to_string()
    };
    let (default, policy) = (Config::default(), Policy::default());
    let time = |limit: Limit| match limit.map(|time| time.as_secs()) {
        None => "none".to_owned(),
        Some(seconds) if seconds > 60 => format!("{}m", seconds / 60),
        Some(seconds) => format!("{seconds}s"),
    };
    for (flag, words) in [
        ("idle-timeout", time(policy.idle_timeout)),
        ("idle-reclaim", time(default.idle_reclaim)),
        ("max-connection-time", time(policy.max_connection_time)),
        ("max-connection-age", time(policy.max_connection_age)),
        ("message-timeout", time(policy.message_timeout)),
        ("write-timeout", time(policy.write_timeout)),
        ("drain-delay", time(Some(default.drain_delay).filter(|delay| !delay.is_zero()))),
        ("unix-mode", format!("{:04o}", policy.unix_mode)),
        ("drain-timeout", time(Some(default.drain_timeout))),
        ("keepalive-idle", time(Some(policy.keepalive_idle))),
        ("keepalive-interval", time(Some(policy.keepalive_interval))),
        ("user-timeout", time(Some(policy.user_timeout))),
        ("keepalive-probes", policy.keepalive_probes.to_string()),
        ("backlog", policy.backlog.to_string()),
        ("max-message", format!("{}MiB", policy.max_message >> 20)),
        ("max-unsent", format!("{}KiB", policy.max_unsent >> 10)),
        ("excess", format!("{:?}", policy.excess).to_lowercase()),
    ] {
        let help = help(flag);
        assert!(help.ends_with(&format!("[default: {words}]")), "--{flag}: {help}, and not {words}");
    }
}
