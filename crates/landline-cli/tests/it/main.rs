//! The program, run as people run it, against servers and callers as people write them.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is how to fail, in helpers too")]

#[cfg(target_os = "linux")]
mod balancer;
mod bench;
#[cfg(target_os = "linux")]
mod bench_ports;
#[cfg(target_os = "linux")]
mod call_editing;
mod call_once;
mod call_openssl;
mod call_outcomes;
mod call_pipe;
mod call_prompt;
mod call_reach;
#[cfg(target_os = "linux")]
mod call_servers;
mod call_table;
mod call_tls;
mod call_watch;
mod certificates;
mod reference;
#[cfg(target_os = "linux")]
mod screen;
mod serve_admission;
mod serve_calls;
mod serve_config;
mod serve_control;
mod serve_faults;
mod serve_full;
mod serve_hostile;
mod serve_http;
mod serve_listeners;
mod serve_log;
#[cfg(target_os = "linux")]
mod serve_parting;
#[cfg(target_os = "linux")]
mod serve_privilege;
mod serve_prometheus;
mod serve_proxied;
#[cfg(target_os = "linux")]
mod serve_sandbox;
mod serve_sslyze;
mod serve_start;
#[cfg(target_os = "linux")]
#[cfg(feature = "fault-points")]
mod serve_steps;
mod serve_stop;
mod serve_survival;
#[cfg(target_os = "linux")]
mod serve_systemd;
#[cfg(target_os = "linux")]
mod serve_takeover;
mod serve_terminal;
mod serve_tls;
mod serve_tls_faults;
mod serve_trace;
mod serve_tutorial;
#[cfg(target_os = "linux")]
mod serve_units;
#[cfg(target_os = "linux")]
mod serve_upgrade;
#[cfg(target_os = "linux")]
mod serve_user_refused;
#[cfg(target_os = "linux")]
mod serve_watchdog;
mod serving;
mod support;
mod terminal;
