//! From the text of a file to its settings. Pure.

use std::collections::HashMap;
use std::ops::Range;

use landline::Address;
use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::{Config, ConfiguredListener, Fault, SMALLEST};
use crate::settings::{ListenerSettings, ServerSettings};
use crate::units;

/// The key under which listeners are told, and the one that only they have.
const LISTENER: &str = "listener";
const ADDRESS: &str = "address";
/// What most who write something else than TOML have left out.
const FORM: &str = "a line is NAME = VALUE, with text in quotes, as in idle_timeout = \"5m\"";

type Key<'t> = Spanned<DeString<'t>>;
type Value<'t> = Spanned<DeValue<'t>>;

/// Reads a whole file, and checks all that can be seen in it alone.
pub(crate) fn parse(text: &str) -> Result<Config, Fault> {
    let source = Source::new(text);
    let table = DeTable::parse(text).map_err(|error| source.syntax(&error))?.into_inner();

    let (mut server, mut defaults, mut listeners) = (DeTable::new(), DeTable::new(), None);
    for (key, value) in in_order(table) {
        let name = key.get_ref().as_ref();
        if name == LISTENER {
            listeners = Some(value);
        } else if has(&source.server_names, name) {
            server.insert(key, value);
        } else if has(&source.listener_names, name) {
            defaults.insert(key, value);
        } else {
            let names = [&source.server_names[..], &source.listener_names, &[LISTENER.to_owned()]].concat();
            return Err(source.unknown(&key, &names));
        }
    }
    let server = source.settings(server)?;
    let defaults = source.settings(defaults)?;
    let tables = source.listeners(listeners)?;
    let listeners: Vec<_> =
        tables.into_iter().map(|table| source.listener(table)).collect::<Result<_, _>>()?;
    check_addresses(&listeners)?;
    Ok(Config { server, defaults, listeners })
}

/// The file, for what is to be said of it.
struct Source<'t> {
    text: &'t str,
    /// Looked up for each listener, of which there may be thousands.
    line_ends: Vec<usize>,
    server_names: Vec<String>,
    listener_names: Vec<String>,
}

impl<'s> Source<'s> {
    fn new(text: &'s str) -> Self {
        Self {
            text,
            line_ends: text.match_indices('\n').map(|(offset, _)| offset).collect(),
            server_names: ServerSettings::names(),
            listener_names: ListenerSettings::names(),
        }
    }

    fn line(&self, offset: usize) -> usize {
        1 + self.line_ends.partition_point(|end| *end < offset)
    }

    /// What stands somewhere in the file, if it is short.
    fn excerpt(&self, span: Range<usize>) -> Option<&str> {
        const LENGTH_MAX: usize = 60;
        self.text.get(span).filter(|text| !text.is_empty() && text.len() <= LENGTH_MAX)
    }

    fn syntax(&self, error: &toml::de::Error) -> Fault {
        let span = error.span().unwrap_or_default();
        let line = self.line(span.start);
        match (error.message(), self.excerpt(span)) {
            ("duplicate key", Some(key)) => {
                let fault = Fault::new(line, format!("'{key}' is there already"));
                let is_table = key == LISTENER;
                if is_table { fault.hint("each listener has two brackets: [[listener]]") } else { fault }
            }
            (message, found) => {
                let found = found.map(|found| format!(": {found}")).unwrap_or_default();
                Fault::new(line, format!("this is not TOML: {message}{found}")).hint(FORM)
            }
        }
    }

    fn unknown(&self, key: &Key<'_>, names: &[String]) -> Fault {
        let name = key.get_ref().as_ref();
        let fault = Fault::new(self.line(key.span().start), format!("no setting is called '{name}'"));
        match nearest(name, names) {
            _ if name == ADDRESS => fault.hint("an address belongs below a line [[listener]]"),
            Some(LISTENER) => fault.hint("did you mean '[[listener]]'?"),
            Some(nearest) => fault.hint(format!("did you mean '{nearest}'?")),
            None => {
                fault.hint("'landline serve --help' lists them, with dashes where a file has underscores")
            }
        }
    }

    /// The tables of the listeners, each with the line it begins on.
    fn listeners<'t>(&self, value: Option<Value<'t>>) -> Result<Vec<(usize, DeTable<'t>)>, Fault> {
        let none = || Fault::new(None, "there is no listener").hint(SMALLEST);
        let value = value.ok_or_else(none)?;
        let line = self.line(value.span().start);
        let tables = match value.into_inner() {
            DeValue::Array(tables) if tables.is_empty() => return Err(none()),
            DeValue::Array(tables) => tables,
            DeValue::Table(_) => {
                let fault = Fault::new(line, "a listener is told in [[listener]], and not in [listener]");
                return Err(fault.hint("with two brackets there can be several"));
            }
            _ => return Err(Fault::new(line, "a listener is a table").hint(SMALLEST)),
        };
        let table = |table: Value<'t>| {
            let line = self.line(table.span().start);
            match table.into_inner() {
                DeValue::Table(table) => Ok((line, table)),
                _ => Err(Fault::new(line, "a listener is a table").hint(SMALLEST)),
            }
        };
        tables.into_iter().map(table).collect()
    }

    fn listener(&self, (line, table): (usize, DeTable<'_>)) -> Result<ConfiguredListener, Fault> {
        let (mut settings, mut address) = (DeTable::new(), None);
        for (key, value) in in_order(table) {
            let name = key.get_ref().as_ref();
            if name == ADDRESS {
                address = Some(self.address(&value)?);
            } else if has(&self.server_names, name) {
                let cause = format!("'{name}' is for the whole server");
                let fault = Fault::new(self.line(key.span().start), cause);
                return Err(fault.hint("it belongs above the first [[listener]]"));
            } else if has(&self.listener_names, name) {
                settings.insert(key, value);
            } else {
                return Err(self.unknown(&key, &[&self.listener_names[..], &[ADDRESS.to_owned()]].concat()));
            }
        }
        let missing = || Fault::new(line, "this listener has no address").hint("say address = \":8081\"");
        let address = address.ok_or_else(missing)?;
        Ok(ConfiguredListener { line, address, settings: self.settings(settings)? })
    }

    fn address(&self, value: &Value<'_>) -> Result<Address, Fault> {
        let span = value.span();
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            // A port, or what the parser will say is no address.
            _ => self.excerpt(span.clone()).unwrap_or_default().to_owned(),
        };
        units::address(&text).map_err(|cause| self.wrong(ADDRESS, span, &cause))
    }

    /// The settings of keys that are all known.
    fn settings<T: DeserializeOwned>(&self, table: DeTable<'_>) -> Result<T, Fault> {
        let places: Vec<_> = table.iter().map(|(key, value)| (key.clone(), value.span())).collect();
        T::deserialize(Spanned::new(0..self.text.len(), table).into_deserializer()).map_err(|error| {
            let span = error.span().unwrap_or_default();
            let holds = |place: &Range<usize>| place.start <= span.start && span.end <= place.end;
            let key = places.iter().find(|(_, place)| holds(place));
            let name = key.map_or("", |(key, _)| key.get_ref().as_ref());
            self.wrong(name, span, error.message())
        })
    }

    fn wrong(&self, name: &str, span: Range<usize>, cause: &str) -> Fault {
        let line = self.line(span.start);
        // Whoever could not read it has named it then.
        let is_named = cause.starts_with("cannot read ");
        match self.excerpt(span).filter(|_| !is_named) {
            Some(value) => Fault::new(line, format!("{name} can't be {value}: {cause}")),
            None => Fault::new(line, format!("{name}: {cause}")),
        }
    }
}

/// The entries of a table as they follow one another in the file, so that the first fault is the one that is
/// said.
fn in_order(table: DeTable<'_>) -> Vec<(Key<'_>, Value<'_>)> {
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn has(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known == name)
}

/// The name that somebody may have meant.
fn nearest<'n>(name: &str, names: &'n [String]) -> Option<&'n str> {
    let meant = name.to_lowercase().replace('-', "_");
    let distance = |known: &str| strsim::damerau_levenshtein(&meant, known);
    let nearest = names.iter().min_by_key(|known| distance(known))?;
    (distance(nearest) <= nearest.len() / 3).then_some(nearest)
}

/// Two listeners can't have one address, unless the system chooses the port.
fn check_addresses(listeners: &[ConfiguredListener]) -> Result<(), Fault> {
    let mut lines = HashMap::new();
    for ConfiguredListener { line, address, .. } in listeners {
        if let Some(first) = lines.insert(address, line).filter(|_| address.port() != 0) {
            let cause = format!("{address} is the address of the listener in line {first} already");
            return Err(Fault::new(*line, cause).hint("each listener has an address of its own"));
        }
    }
    Ok(())
}
