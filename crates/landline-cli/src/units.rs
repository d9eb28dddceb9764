//! One grammar for durations, counts, sizes and addresses of this machine, everywhere in the program.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use landline::address::Address;

/// A time limit, or none.
pub(crate) type Limit = Option<Duration>;

/// `500ms`, `5s`, `2m`, `1h`, `1h30m`; more than zero.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const FORMS: &str = "a duration is a number and a unit, as in 500ms, 5s, 2m or 1h";
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("a duration must be more than zero".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err(FORMS.to_owned()),
    }
}

/// A [`duration`], or `none` for no limit.
pub(crate) fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(None),
        _ => duration(text).map(Some).map_err(|cause| format!("{cause}; 'none' turns the limit off")),
    }
}

/// `250`, `10k`, `2M`: thousands and millions; more than zero.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    const FORMS: &str = "a count is a number, as in 250, 10k or 2M";
    let unit = |unit: &str| match unit {
        "" => Some(1),
        "k" | "K" => Some(1_000),
        "M" | "m" => Some(1_000_000),
        _ => None,
    };
    number(text, unit, FORMS)
}

/// `64KiB`, `1MiB`, `300KB`, `512B` or plain bytes; more than zero.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    const FORMS: &str = "a size is bytes, or a number and a unit, as in 300KB, 64KiB or 1MiB";
    let unit = |unit: &str| match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        _ => None,
    };
    number(text, unit, FORMS)
}

/// A [`count`] per second.
pub(crate) fn per_second(text: &str) -> Result<NonZeroU32, String> {
    rate(count(text)?)
}

/// A [`size`] per second.
pub(crate) fn bytes_per_second(text: &str) -> Result<NonZeroU32, String> {
    rate(size(text)?)
}

fn rate(number: usize) -> Result<NonZeroU32, String> {
    let small = u32::try_from(number).ok().and_then(NonZeroU32::new);
    small.ok_or_else(|| format!("a rate is at most {} per second", u32::MAX))
}

/// `9100`, `127.0.0.1:9100`, `[::1]:9100`, `localhost:9100`: an address that only this machine reaches.
pub(crate) fn loopback(text: &str) -> Result<SocketAddr, String> {
    const OTHERS: &str = "only a loopback address will do: for other machines to ask would take a token, \
                          and that is not there yet";
    let address: Address = text.parse().map_err(|error: landline::Error| error.to_string())?;
    let ip = match address.host() {
        Some("localhost") => Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
        Some(host) => host.parse().ok().filter(IpAddr::is_loopback),
        None => None,
    };
    ip.map(|ip| SocketAddr::from((ip, address.port()))).ok_or_else(|| OTHERS.to_owned())
}

/// Digits, then a unit. No fractions: `1.5MiB` is `1536KiB`.
fn number(text: &str, unit: impl Fn(&str) -> Option<usize>, forms: &str) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    if number.is_empty() {
        return Err(forms.to_owned());
    }
    let factor = unit(suffix.trim_start()).ok_or_else(|| forms.to_owned())?;
    match number.parse::<usize>().ok().and_then(|number| number.checked_mul(factor)) {
        None => Err("the number is too large".to_owned()),
        Some(0) => Err(format!("zero makes no sense here; {forms}")),
        Some(value) => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_a_unit_and_limits_may_be_none() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(limit("2m"), Ok(Some(Duration::from_secs(120))));
        assert_eq!(limit("none"), Ok(None));
        for wrong in ["", "5", "s", "5 parsecs", "-1s", "0s", "none"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(limit("0s").unwrap_err().contains("'none' turns the limit off"));
    }

    #[test]
    fn counts_are_in_thousands_and_sizes_tell_1000_from_1024() {
        assert_eq!((count("250"), count("10k"), count("2M")), (Ok(250), Ok(10_000), Ok(2_000_000)));
        assert_eq!((size("300KB"), size("64KiB"), size("1MiB")), (Ok(300_000), Ok(65_536), Ok(1 << 20)));
        assert_eq!((size("512"), size("512B"), size("1 MiB")), (Ok(512), Ok(512), Ok(1 << 20)));
        for wrong in ["", "k", "10q", "1.5M", "-1", "0", "99999999999999999999"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "KiB", "64K", "1.5MiB", "0KiB", "99999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_addresses_that_no_other_machine_reaches_are_loopback() {
        assert_eq!(loopback("9100"), Ok(SocketAddr::from(([127, 0, 0, 1], 9100))));
        assert_eq!(loopback("localhost:0"), Ok(SocketAddr::from(([127, 0, 0, 1], 0))));
        assert_eq!(loopback("[::1]:9100").map(|address| address.to_string()), Ok("[::1]:9100".to_owned()));
        for wrong in [":9100", "0.0.0.0:9100", "[::]:9100", "10.0.0.1:9100", "example.com:9100"] {
            assert!(loopback(wrong).unwrap_err().contains("a token"), "{wrong}");
        }
        assert!(loopback("127.0.0.1").is_err());
    }
}
