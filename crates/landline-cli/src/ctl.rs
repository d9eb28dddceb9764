//! `landline ctl`: look at a running server, and steer it.

mod upgrade;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::args::{CtlArgs, CtlCommand, SortKey};
use crate::control::{Status, client, place};
use crate::exit::{Exit, Failure};

/// Does one thing and ends.
pub(crate) fn run(args: &CtlArgs) -> Result<(), Failure> {
    let socket = match &args.control {
        Some(path) => path.clone(),
        None => find()?,
    };
    match &args.command {
        CtlCommand::Status { json } => {
            let status: Value = client::get(&socket, "/status")?;
            print(&if *json { pretty(&status) } else { describe(&status)? })
        }
        CtlCommand::List { json, sort, state } => {
            let mut connections: Vec<Value> = client::get(&socket, "/connections")?;
            if let Some(state) = state {
                connections.retain(|connection| connection["state"] == state.as_str());
            }
            order(&mut connections, *sort);
            print(&if *json { pretty(&Value::Array(connections)) } else { table(&connections) })
        }
        CtlCommand::Show { id } => print(&pretty(&client::get(&socket, &format!("/connections/{id}"))?)),
        CtlCommand::Close { id } => client::post(&socket, &format!("/connections/{id}/close")),
        CtlCommand::Drain => client::post(&socket, "/drain"),
        CtlCommand::Reload => client::post(&socket, "/reload"),
        CtlCommand::Upgrade { binary, timeout } => {
            print(&upgrade::run(&socket, binary.as_deref(), *timeout)?)
        }
    }
}

/// The control socket of the only server that runs.
fn find() -> Result<PathBuf, Failure> {
    let mut live = place::live();
    match (live.pop(), live.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(Failure::new(Exit::Connect, "found no running server of this user")
            .hint("start one with 'landline serve', or name its socket with --control")),
        (Some(last), _) => {
            live.push(last);
            let paths: Vec<String> = live.iter().map(|path| path.display().to_string()).collect();
            Err(Failure::new(Exit::Usage, format!("found {} running servers", paths.len()))
                .hint(format!("choose one with --control: {}", paths.join(", "))))
        }
    }
}

fn describe(status: &Value) -> Result<String, Failure> {
    let status: Status = serde_json::from_value(status.clone())
        .map_err(|error| Failure::new(Exit::Other, format!("cannot read the status: {error}")))?;
    let uptime = humantime::format_duration(Duration::from_secs(status.uptime_ms / 1000));
    let program = format!("landline {} (pid {})", status.version, status.pid);
    let open = status.open;
    let (upgrades, draining) = (upgrade::describe(&status), upgrade::draining(&status));
    if status.addresses.is_empty() {
        return Ok(format!(
            "{program} takes no callers\nup {uptime} - {open} still open{upgrades}{draining}"
        ));
    }
    let addresses = status.addresses.join(", ");
    let max = status.max_connections;
    Ok(format!("{program} on {addresses}\nup {uptime} - {open} of {max} connections{upgrades}{draining}"))
}

fn order(connections: &mut [Value], sort: SortKey) {
    let (field, descending) = match sort {
        SortKey::Id => ("id", false),
        SortKey::Age => ("age_ms", true),
        SortKey::Idle => ("in_state_ms", true),
        SortKey::Messages => ("messages", true),
        SortKey::In => ("bytes_in", true),
        SortKey::Out => ("bytes_out", true),
        SortKey::Unsent => ("unsent", true),
    };
    let key = |connection: &Value| connection[field].as_f64().unwrap_or_default();
    connections.sort_by(|one, other| key(one).total_cmp(&key(other)));
    if descending {
        connections.reverse();
    }
}

fn table(connections: &[Value]) -> String {
    let mut table = format!(
        "{:>8}  {:<24} {:<10} {:>8} {:>8} {:>10} {:>12} {:>12} {:>8} {:>9} {:>6}",
        "ID", "PEER", "STATE", "AGE", "IDLE", "MESSAGES", "IN", "OUT", "UNSENT", "RTT", "RESENT"
    );
    for connection in connections {
        let number = |field: &str| connection[field].as_u64().unwrap_or_default();
        let text = |field: &str| connection[field].as_str().unwrap_or_default();
        let seconds =
            |field: &str| format!("{:.0}s", connection[field].as_f64().unwrap_or_default() / 1000.0);
        // Writing to a string can't fail.
        let _ = write!(
            table,
            "\n{:>8}  {:<24} {:<10} {:>8} {:>8} {:>10} {:>12} {:>12} {:>8} {:>9} {:>6}",
            number("id"),
            text("peer"),
            text("state"),
            seconds("age_ms"),
            seconds("in_state_ms"),
            number("messages"),
            number("bytes_in"),
            number("bytes_out"),
            number("unsent"),
            connection["round_trip_ms"].as_f64().map_or("-".to_owned(), |ms| format!("{ms:.2}ms")),
            number("retransmits"),
        );
    }
    table
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn print(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").or_else(|error| Failure::of_stdout(&error))
}
