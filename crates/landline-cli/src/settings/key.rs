//! How the value of a key is read: as the text that its flag takes, by the flag's own parser.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use landline::frame::Framing;
use landline::{Address, Network};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::units::{self, Limit};

type Parser<T> = fn(&str) -> Result<T, String>;

pub(super) fn count<'de, D: Deserializer<'de>>(value: D) -> Result<Option<usize>, D::Error> {
    read(value, units::count)
}

pub(super) fn small_count<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u32>, D::Error> {
    read(value, units::small_count)
}

pub(super) fn probes<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u32>, D::Error> {
    read(value, units::probes)
}

pub(super) fn size<'de, D: Deserializer<'de>>(value: D) -> Result<Option<usize>, D::Error> {
    read(value, units::size)
}

pub(super) fn per_second<'de, D: Deserializer<'de>>(value: D) -> Result<Option<NonZeroU32>, D::Error> {
    read(value, units::per_second)
}

pub(super) fn bytes_per_second<'de, D: Deserializer<'de>>(value: D) -> Result<Option<NonZeroU32>, D::Error> {
    read(value, units::bytes_per_second)
}

pub(super) fn duration<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    read(value, units::duration)
}

pub(super) fn seconds<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    read(value, units::seconds)
}

pub(super) fn milliseconds<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    read(value, units::milliseconds)
}

pub(super) fn limit<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Limit>, D::Error> {
    read(value, units::limit)
}

pub(super) fn http<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Address>, D::Error> {
    read(value, units::http)
}

pub(super) fn owner<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    read(value, units::owner)
}

pub(super) fn user<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    read(value, units::user)
}

pub(super) fn group<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    read(value, units::group)
}

/// Only in quotes: TOML has numbers in octal of its own, and would take `660` for a decimal one.
pub(super) fn mode<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u32>, D::Error> {
    value.deserialize_any(Text { parse: units::mode, is_number_taken: false }).map(Some)
}

pub(super) fn path<'de, D: Deserializer<'de>>(value: D) -> Result<Option<PathBuf>, D::Error> {
    value.deserialize_any(Text { parse: units::path, is_number_taken: false }).map(Some)
}

pub(super) fn framing<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Framing>, D::Error> {
    read(value, |text| text.parse().map_err(|error: landline::frame::UnknownFraming| error.to_string()))
}

/// One of the names that a flag takes.
pub(super) fn name<'de, D: Deserializer<'de>, T: ValueEnum>(value: D) -> Result<Option<T>, D::Error> {
    read(value, |text| {
        T::from_str(text, false).map_err(|_| {
            let values = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
            let names: Vec<String> = values.map(|value| value.get_name().to_owned()).collect();
            format!("it is one of {}", names.join(", "))
        })
    })
}

/// A list of networks, or one that stands alone.
pub(super) fn networks<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<Network>, D::Error> {
    value.deserialize_any(List { parse: units::network, what: "a list of networks, as in [\"10.0.0.0/8\"]" })
}

/// A list of paths, or one that stands alone.
pub(super) fn paths<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<PathBuf>, D::Error> {
    value.deserialize_any(List { parse: units::path, what: "a list of paths, as in [\"chain.pem\"]" })
}

/// A list of protocols, or one that stands alone.
pub(super) fn protocols<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<String>, D::Error> {
    value.deserialize_any(List { parse: units::protocol, what: "a list of protocols, as in [\"http/1.1\"]" })
}

fn read<'de, D: Deserializer<'de>, T>(value: D, parse: Parser<T>) -> Result<Option<T>, D::Error> {
    value.deserialize_any(Text { parse, is_number_taken: true }).map(Some)
}

/// Takes text, and whole numbers as the text they would be.
struct Text<T> {
    parse: Parser<T>,
    is_number_taken: bool,
}

impl<T> Text<T> {
    /// What can't be text is told what the parser tells those who say nothing.
    fn refuse<E: Error>(&self, what: &str) -> Result<T, E> {
        match (self.parse)("") {
            Err(forms) => Err(E::custom(format!("{what} won't do: {forms}"))),
            Ok(_) => Err(E::custom(format!("{what} won't do"))),
        }
    }

    fn number<E: Error>(&self, number: impl fmt::Display) -> Result<T, E> {
        if self.is_number_taken {
            self.visit(&number.to_string())
        } else {
            self.refuse("a number without quotes")
        }
    }

    fn visit<E: Error>(&self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}

impl<'de, T> Visitor<'de> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        self.visit(text)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.number(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.number(number)
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<T, E> {
        self.number(number)
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<T, E> {
        self.number(number)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
        self.refuse("a fraction")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<T, E> {
        self.refuse("true or false")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        self.refuse("a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        // A date comes as a map too.
        self.refuse("a table or a date")
    }
}

/// Takes a list of texts, or one text.
struct List<T> {
    parse: Parser<T>,
    what: &'static str,
}

/// One text of a list.
struct One<T>(Parser<T>);

impl<'de, T> DeserializeSeed<'de> for One<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<T, D::Error> {
        value.deserialize_any(Text { parse: self.0, is_number_taken: false })
    }
}

impl<'de, T> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        (self.parse)(text).map(|value| vec![value]).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(One(self.parse))? {
            values.push(value);
        }
        Ok(values)
    }
}
