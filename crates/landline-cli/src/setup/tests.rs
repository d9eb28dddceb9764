use std::time::Duration;

use super::*;

fn merged(file: &str, server: &str, flags: &str) -> Result<Setup, Fault> {
    let config = config::parse(file).unwrap_or_else(|fault| panic!("{fault:?}"));
    merge(config, &toml::from_str(server).unwrap(), &toml::from_str(flags).unwrap())
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

#[test]
fn a_listener_goes_before_a_flag_and_a_flag_before_the_top_of_the_file() {
    let file = "idle_timeout = '1m'\nwrite_timeout = '1m'\nmessage_timeout = '1m'\nthreads = 1\nidle_reclaim = '1m'\n\
                [[listener]]\naddress = 1\nidle_timeout = '3m'\n[[listener]]\naddress = 2";
    let setup = merged(file, "threads = 2", "idle_timeout = '2m'\nwrite_timeout = '2m'").unwrap();
    assert_eq!((setup.server.threads, setup.server.idle_reclaim), (Some(2), Some(Some(minutes(1)))));
    let times = |index: usize| {
        let settings = &setup.listeners[index].settings;
        (settings.idle_timeout, settings.write_timeout, settings.message_timeout, settings.max_connection_age)
    };
    assert_eq!(times(0), (Some(Some(minutes(3))), Some(Some(minutes(2))), Some(Some(minutes(1))), None));
    assert_eq!(times(1), (Some(Some(minutes(2))), Some(Some(minutes(2))), Some(Some(minutes(1))), None));
}

#[test]
fn who_is_denied_at_the_top_is_denied_everywhere() {
    let file = "deny = '10.0.0.1'\n[[listener]]\naddress = 1\ndeny = '10.0.0.3'\nallow = '10.0.0.0/8'";
    let setup = merged(file, "", "deny = '10.0.0.2'").unwrap();
    let settings = &setup.listeners[0].settings;
    assert_eq!((settings.deny.len(), settings.allow.len()), (3, 1));
}

#[test]
fn whoever_is_to_wait_can_not_be_judged_too_wherever_that_was_said() {
    let file = "\n[[listener]]\naddress = 1\n[[listener]]\naddress = 2\nexcess = 'wait'";
    assert!(merged(file, "", "").is_ok());
    for (server, flags, name) in [
        ("max_connections_per_ip = 1", "", "max_connections_per_ip"),
        ("max_accept_rate = 1", "", "max_accept_rate"),
        ("", "allow = '::1'", "allow"),
        ("", "deny = '::1'", "deny"),
    ] {
        let fault = format!("{:?}", merged(file, server, flags).unwrap_err());
        assert!(
            fault.contains("line: Some(4)") && fault.contains(&format!("together with {name}:")),
            "{fault}"
        );
    }
}
