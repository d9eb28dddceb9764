use std::time::Duration;

use super::*;

fn fault(text: &str) -> (Option<usize>, String, String) {
    match parse(text) {
        Err(Fault { line, cause, hint }) => (line, cause, hint.unwrap_or_default()),
        Ok(config) => panic!("{text:?} is in order: {config:?}"),
    }
}

#[test]
fn settings_above_the_listeners_are_kept_apart_from_theirs() {
    let config = parse(
        "max_connections = 10000\nidle_timeout = '5m'\n\n[[listener]]\naddress = ':8081'\nframing = 'line'\n\
         [[listener]]\naddress = 9000\nidle_timeout = 'none'\n",
    )
    .unwrap();
    assert_eq!(config.server.max_connections, Some(10_000));
    assert_eq!(config.defaults.idle_timeout, Some(Some(Duration::from_secs(300))));
    let [first, second] = &config.listeners[..] else { panic!("{config:?}") };
    assert_eq!((first.line, &*first.address.to_string()), (4, ":8081"));
    assert_eq!((second.line, &*second.address.to_string()), (7, "127.0.0.1:9000"));
    assert_eq!((first.settings.idle_timeout, second.settings.idle_timeout), (None, Some(None)));
}

#[test]
fn listeners_may_be_written_in_line_too() {
    let config = parse("listener = [{ address = ':1' },\n{ address = ':2' }]").unwrap();
    assert_eq!(config.listeners.iter().map(|listener| listener.line).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn each_fault_has_its_line_its_key_its_cause_and_a_way_out() {
    for (text, line, cause, hint) in [
        ("threads = 2\nidle_timeot = '5m'", 2, "no setting is called 'idle_timeot'", "mean 'idle_timeout'?"),
        ("\n\nidle-timeout = '5m'", 3, "no setting is called 'idle-timeout'", "mean 'idle_timeout'?"),
        ("Threads = 1", 1, "no setting is called 'Threads'", "mean 'threads'?"),
        ("colour = 1", 1, "no setting is called 'colour'", "landline serve --help"),
        ("[server]\nthreads = 1", 1, "no setting is called 'server'", "landline serve --help"),
        ("[[listeners]]\naddress = ':1'", 1, "no setting is called 'listeners'", "mean '[[listener]]'?"),
        ("address = ':1'", 1, "no setting is called 'address'", "below a line [[listener]]"),
        ("[[listener]]\nadress = ':1'", 2, "no setting is called 'adress'", "mean 'address'?"),
        ("[listener]\naddress = ':1'", 1, "in [[listener]], and not in [listener]", "there can be several"),
        ("listener.address = ':1'", 1, "in [[listener]], and not in [listener]", "there can be several"),
        (
            "[[listener]]\naddress = ':1'\nthreads = 2",
            3,
            "'threads' is for the whole server",
            "above the first",
        ),
        (
            "[[listener]]\n\n[[listener]]\naddress = ':1'",
            1,
            "this listener has no address",
            "address = \":8081\"",
        ),
        ("listener = 5", 1, "a listener is a table", "[[listener]]"),
        ("listener = [5]", 1, "a listener is a table", "[[listener]]"),
        ("threads = 1\nthreads = 2", 2, "'threads' is there already", ""),
        ("[listener]\n[[listener]]\naddress = ':1'", 2, "'listener' is there already", "two brackets"),
        (
            "[[listener]]\naddress = 8081\n[[listener]]\naddress = '127.0.0.1:8081'",
            3,
            "127.0.0.1:8081 is the address of the listener in line 1 already",
            "an address of its own",
        ),
        ("threads = \n", 1, "this is not TOML", "a line is NAME = VALUE"),
    ] {
        says(text, line, cause, hint);
    }
}

/// Checks what is said of a text.
fn says(text: &str, line: usize, cause: &str, hint: &str) {
    let (found, said, way_out) = fault(text);
    assert_eq!(found, Some(line), "{text:?}: {said}");
    assert!(said.contains(cause), "{text:?}: {said}");
    assert!(way_out.contains(hint), "{text:?}: {said}: {way_out}");
}

#[test]
fn a_value_that_will_not_do_is_told_what_would() {
    for (text, line, cause) in [
        ("idle_timeout = 5", 1, "idle_timeout can't be 5: a duration is a number and a unit"),
        ("idle_timeout = true", 1, "idle_timeout can't be true: true or false won't do: a duration is"),
        ("drain_timeout = 'none'", 1, "drain_timeout can't be 'none': a duration is"),
        ("max_connections = -1", 1, "max_connections can't be -1: a count is a number"),
        ("max_connections = 1.5", 1, "max_connections can't be 1.5: a fraction won't do: a count is"),
        ("max_connections.x = 1", 1, "a table or a date won't do: a count is a number"),
        ("max_message = '64K'", 1, "max_message can't be '64K': a size is bytes"),
        ("service = 'lower'", 1, "service can't be 'lower': it is one of upper, echo"),
        ("framing = []", 1, "framing can't be []: a list won't do: a framing is one of raw, line, length"),
        ("allow = ['10.0.0.0/8',\n'10.0.0/8']", 2, "allow: cannot read the network '10.0.0/8'"),
        ("allow = true", 1, "allow can't be true: "),
        ("http = 'unix:/x'", 1, "http can't be 'unix:/x': HTTP is told at PORT"),
        ("unix_mode = 0o660", 1, "a number without quotes won't do: a mode is three octal digits"),
        ("unix_owner = 'nosuch-user'", 1, "no user is called 'nosuch-user'"),
        ("keepalive_idle = '500ms'", 1, "whole seconds"),
        ("control = true", 1, "a path is text"),
        ("control = ''", 1, "a path is text"),
        ("log_format = 1979-05-27", 1, "it is one of text, json"),
        ("[[listener]]\naddress = 'nowhere'", 2, "address: cannot read the address 'nowhere'"),
        ("[[listener]]\naddress = true", 2, "address: cannot read the address 'true': it has no port"),
        (
            "idle_timeout = 5m",
            1,
            "this is not TOML: string values must be quoted, expected literal string: 5m",
        ),
        ("a = 1\n[[listener", 2, "this is not TOML"),
        ("unix_mode = 0660", 1, "this is not TOML"),
    ] {
        says(text, line, cause, "");
    }
}

#[test]
fn a_file_without_a_listener_opens_no_port() {
    for text in ["\n", "# nothing yet\n", "threads = 2", "listener = []"] {
        let (line, cause, hint) = fault(text);
        assert_eq!((line, &*cause), (None, "there is no listener"));
        assert_eq!(hint, "the smallest is two lines: [[listener]] and address = \":8081\"");
    }
}

#[test]
fn a_port_that_the_system_chooses_may_be_asked_for_twice() {
    assert_eq!(parse("[[listener]]\naddress = 0\n[[listener]]\naddress = 0").unwrap().listeners.len(), 2);
}

#[test]
fn the_first_fault_in_the_file_is_the_one_that_is_said() {
    assert_eq!(fault("zzz = 1\naaa = 1").0, Some(1));
}

#[test]
fn no_text_of_a_file_ends_a_line_or_reaches_the_terminal_raw() {
    let config = "service = \"\\u001b[31m\\nlandline: error: all is well\"\n[[listener]]\naddress = 1";
    for text in [
        config,
        "\"a\\nb\\u001b[2J\" = 1",
        "[[listener]]\naddress = \"\\n\\u202e:1\"",
        "threads = '\u{9b}2J'",
    ] {
        let failure = parse(text).unwrap_err().of(Path::new("a\nb.toml"));
        let said = failure.text();
        assert!(!said.contains(|letter: char| letter.is_control() || letter == '\u{202e}'), "{said:?}");
        assert!(said.starts_with("a\\nb.toml: line "), "{said}");
    }
}

#[test]
fn a_file_that_nests_or_repeats_without_an_end_is_read_in_time() {
    let deep = "[".repeat(100_000);
    assert!(fault(&format!("threads = {deep}")).1.contains("this is not TOML"));
    assert!(fault(&"a.".repeat(100_000)).1.contains("this is not TOML"));
    let many: Vec<String> = (1..=20_000).map(|port| format!("[[listener]]\naddress = {port}\n")).collect();
    assert_eq!(parse(&many.concat()).unwrap().listeners.len(), 20_000);
}

#[test]
fn bytes_that_are_no_text_are_found_by_their_line() {
    let Err(fault) = text(b"threads = 1\n# \xff\n") else { panic!() };
    assert_eq!((fault.line, &*fault.cause), (Some(2), "there are bytes that are not UTF-8"));
    assert!(text(b"").is_err());
}

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/config.md")).unwrap()
}

#[test]
fn the_examples_of_the_docs_are_in_order() {
    let page = page();
    let examples = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let listeners = examples.map(|example| parse(example).unwrap().listeners.len());
    assert_eq!(listeners.collect::<Vec<_>>(), [3, 1, 1, 1]);
}

#[test]
fn the_docs_list_every_key_and_where_it_belongs() {
    let page = page();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let rows = rows.map(|(key, rest)| (key.to_owned(), rest.split(" |").next().unwrap()));
    let server = ServerSettings::names().into_iter().map(|name| (name, "server"));
    let listener = ListenerSettings::names().into_iter().map(|name| (name, "listener"));
    assert_eq!(rows.collect::<Vec<_>>(), server.chain(listener).collect::<Vec<_>>());
}
