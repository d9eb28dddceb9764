//! The docs, held to the code.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use landline::event::{Named, PeerAddr, Refusal, StepKind, Via};
use landline::{CloseReason, Config, Event, ListenAddr, MAX_CONNECTIONS, Policy};

fn page(name: &str) -> String {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    let path = Path::new(&package).join("../../docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands under a heading, up to the next of its level.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).expect("the section is there");
    rest.split("\n## ").next().unwrap()
}

/// The cells of each row of a table, heads not included; code without its backticks.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let lines = table.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let rows = lines.map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect());
    let rows: Vec<Vec<&str>> = rows.collect();
    let ruler = rows.iter().position(|row| row[0].starts_with("---")).expect("a table has a head");
    rows[ruler + 1..].to_vec()
}

/// One event of each kind, as the docs show it.
fn samples() -> [Event; 20] {
    let address = ListenAddr::Ip("127.0.0.1:8081".parse().unwrap());
    let peer = PeerAddr::Ip("127.0.0.1:53122".parse().unwrap());
    let proxy = PeerAddr::Ip("10.0.0.1:3456".parse().unwrap());
    [
        Event::Listening { address: address.clone() },
        Event::ListenerClosed { address: address.clone() },
        Event::Reloaded { listeners: 2, max_connections: MAX_CONNECTIONS },
        Event::ReloadFailed { cause: "cannot reload: two of its listeners have one address".into() },
        Event::CertificatesReloaded { address: address.clone() },
        Event::CertificatesRefused {
            address,
            cause: "cannot use key.pem: there is no private key in it".into(),
        },
        Event::Started { max_connections: MAX_CONNECTIONS, lowered: false, threads: 2 },
        Event::WorkerRestarted {
            signal: Some(9),
            watchdog: true,
            blamed: [7].into(),
            gap: Duration::from_micros(3100),
            restarts: 4,
        },
        Event::Upgraded { gap: Duration::from_micros(14_800), upgrades: 2 },
        Event::UpgradeFailed { cause: "/usr/bin/landline: it ended with code 1".into() },
        Event::Parted { open: 2, timeout: Duration::from_secs(10) },
        Event::BacklogLowered { asked: 4096, allowed: 128 },
        Event::Resumed { resumed: 12, lost: 1 },
        Event::Connected { id: 1, peer, via: Some(Via::new(proxy, Named::Client)), open: 1 },
        Event::Closed {
            id: 1,
            peer,
            reason: CloseReason::HandlerFailed,
            detail: Some("no such key".into()),
            messages: 3,
            bytes_in: 17,
            bytes_out: 12,
            lasted: Duration::from_millis(2900),
        },
        Event::Refused { peer, reason: Refusal::Busy },
        Event::AcceptFailed { cause: "connection aborted".into() },
        Event::ResourcesExhausted { cause: "too many open files".into(), refused: 12 },
        Event::DrainStarted { open: 2, busy: 1, timeout: Duration::from_secs(10) },
        Event::Drained { finished: 1, cut: 1, took: Duration::from_secs(10) },
    ]
}

/// The section of each event: its name and what stands there.
fn events(page: &str) -> Vec<(&str, &str)> {
    let sections = section(page, "Every event").split("\n### `").skip(1);
    sections.map(|section| section.split_once('`').expect("a name in backticks")).collect()
}

#[test]
fn every_event_has_a_section_and_nothing_else_has() {
    let page = page("events.md");
    let names: Vec<&str> = events(&page).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, Event::NAMES);
}

#[test]
fn every_event_reads_as_the_docs_show_it() {
    let page = page("events.md");
    for ((name, text), sample) in events(&page).into_iter().zip(samples()) {
        assert_eq!(name, sample.name());
        let shown = text.lines().find_map(|line| line.strip_prefix("Text: `")?.strip_suffix('`'));
        assert_eq!(shown, Some(&*sample.to_string()), "{name}");
    }
}

#[cfg(feature = "log")]
#[test]
fn every_event_has_the_name_and_the_fields_in_json_that_the_docs_list() {
    let page = page("events.md");
    for ((name, text), sample) in events(&page).into_iter().zip(samples()) {
        let json = serde_json::to_value(&sample).unwrap();
        assert_eq!(json["event"], name);
        let mut fields: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        fields.retain(|field| *field != "event");
        let mut listed: Vec<&str> = rows(text).into_iter().map(|row| row[0]).collect();
        fields.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, fields, "{name}");
    }
}

#[test]
fn every_step_of_a_socket_is_listed_and_nothing_else_is() {
    let page = page("events.md");
    let listed: Vec<&str> = rows(section(&page, "Steps of a socket")).into_iter().map(|row| row[0]).collect();
    assert_eq!(listed, StepKind::NAMES);
}

#[test]
fn every_close_reason_is_listed_with_its_words_and_nothing_else_is() {
    let page = page("events.md");
    let listed = rows(section(&page, "Close reasons"));
    let listed: Vec<(String, &str)> = listed.iter().map(|row| (row[0].to_owned(), row[1])).collect();
    let reasons: Vec<(String, &str)> =
        CloseReason::ALL.map(|reason| (snake_case(&format!("{reason:?}")), reason.words())).into();
    assert_eq!(listed, reasons);
}

#[cfg(feature = "log")]
#[test]
fn a_close_reason_has_the_name_in_json_that_the_docs_list() {
    for reason in CloseReason::ALL {
        assert_eq!(serde_json::to_value(reason).unwrap(), snake_case(&format!("{reason:?}")));
    }
}

#[test]
fn reasons_and_refusals_have_the_names_that_the_docs_list() {
    for reason in CloseReason::ALL {
        assert_eq!(reason.name(), snake_case(&format!("{reason:?}")));
    }
    for refusal in Refusal::ALL {
        assert_eq!(refusal.name(), snake_case(&format!("{refusal:?}")));
    }
}

/// All that metrics tell, of a server that runs.
#[cfg(feature = "metrics")]
fn metrics() -> String {
    let server = landline::Server::bind("127.0.0.1:0").unwrap();
    let metrics = landline::event::Metrics::new().server(server.monitor()).log_lines_dropped(|| 0);
    let running = server.serve(landline::framed(landline::Framing::Raw, landline::Echo)).start().unwrap();
    let text = metrics.encode_text();
    drop(running);
    text
}

#[cfg(feature = "metrics")]
#[test]
fn every_metric_is_listed_with_its_type_and_its_meaning_and_nothing_else_is() {
    let page = page("metrics.md");
    let listed: Vec<(String, String, String)> = rows(section(&page, "Every metric"))
        .iter()
        .map(|row| (row[0].to_owned(), row[1].to_owned(), row[3].to_owned()))
        .collect();
    let text = metrics();
    let describe = |start: &'static str| text.lines().filter_map(move |line| line.strip_prefix(start));
    let told: Vec<(String, String, String)> = std::iter::zip(describe("# TYPE "), describe("# HELP "))
        .map(|(typed, help)| {
            let ((name, kind), (_, words)) = (typed.split_once(' ').unwrap(), help.split_once(' ').unwrap());
            (name.to_owned(), kind.to_owned(), words.to_owned())
        })
        .collect();
    assert_eq!(listed, told);
}

#[cfg(feature = "metrics")]
#[test]
fn every_label_of_a_metric_is_listed() {
    let page = page("metrics.md");
    let text = metrics();
    for row in rows(section(&page, "Every metric")) {
        let label = text.lines().find_map(|line| line.strip_prefix(row[0])?.strip_prefix('{'));
        assert_eq!(row[2], label.map_or("", |label| label.split('=').next().unwrap()), "{}", row[0]);
    }
}

#[test]
fn every_default_is_what_the_docs_say() {
    let page = page("defaults.md");
    let listed = |heading: &str| -> BTreeMap<String, String> {
        rows(section(&page, heading)).iter().map(|row| (row[0].to_owned(), row[1].to_owned())).collect()
    };
    assert_eq!(listed("Of the whole server"), defaults(&format!("{:?}", Config::default())));
    assert_eq!(listed("Of a listener"), defaults(&format!("{:?}", Policy::default())));
    #[cfg(all(feature = "takeover", target_os = "linux"))]
    assert_eq!(
        listed("Of a server that goes on when its process is killed"),
        defaults(&format!("{:?}", landline::takeover::Keeping::new()))
    );
}

/// The fields of a struct's debug form, each with its value in words.
fn defaults(text: &str) -> BTreeMap<String, String> {
    let (_, fields) = text.split_once(" { ").unwrap();
    let fields = fields.strip_suffix(" }").unwrap().trim_end_matches(", ..").replace("(None, None)", "None");
    let fields = fields.split(", ").map(|field| field.split_once(": ").unwrap());
    fields.map(|(name, value)| (name.to_owned(), in_words(name, value))).collect()
}

/// A default as the docs write it, from its debug form.
fn in_words(name: &str, value: &str) -> String {
    let value = value.strip_prefix("Some(").and_then(|value| value.strip_suffix(')')).unwrap_or(value);
    match (name, value) {
        ("max_connections", "None") => {
            let (thousands, rest) = (MAX_CONNECTIONS / 1000, MAX_CONNECTIONS % 1000);
            format!("{thousands},{rest:03}, or what the descriptor limit holds")
        }
        ("threads", _) => "one per core".to_owned(),
        ("allow", "[]") => "everybody".to_owned(),
        ("deny", "[]") => "nobody".to_owned(),
        ("unix_mode", bits) => format!("{:04o}", bits.parse::<u32>().unwrap()),
        ("unix_owner", _) => "unchanged".to_owned(),
        ("proxy_from", "[]") | (_, "0ns") => "none".to_owned(),
        (_, "false") => "off".to_owned(),
        ("excess", variant) => variant.to_lowercase(),
        ("max_message" | "max_unsent", bytes) => match bytes.parse::<usize>().unwrap() >> 10 {
            kib if kib % 1024 == 0 => format!("{} MiB", kib >> 10),
            kib => format!("{kib} KiB"),
        },
        (_, "None") => "none".to_owned(),
        (_, time) if time.ends_with('s') => time.replace('s', " s"),
        (_, count) => count.to_owned(),
    }
}

/// `PeerClosed` as `peer_closed`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
