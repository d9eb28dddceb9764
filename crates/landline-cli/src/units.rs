//! One grammar for durations, counts, sizes, addresses and owners, everywhere in the program.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use landline::Network;
use landline::address::Address;
use nix::unistd::{Group, User};

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

/// A [`count`] of connections that may wait; the kernel has no room for more digits.
pub(crate) fn small_count(text: &str) -> Result<u32, String> {
    at_most(text, i32::MAX.unsigned_abs())
}

/// A [`count`] of questions that the kernel may ask.
pub(crate) fn probes(text: &str) -> Result<u32, String> {
    at_most(text, 127)
}

fn at_most(text: &str, most: u32) -> Result<u32, String> {
    let small = u32::try_from(count(text)?).ok().filter(|count| *count <= most);
    small.ok_or_else(|| format!("it is at most {most}"))
}

/// A [`duration`] that the kernel counts in whole seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(32_767);
    match duration(text)? {
        time if time.subsec_nanos() != 0 => Err("the kernel counts this one in whole seconds".to_owned()),
        time if time > MOST => Err(format!("the kernel counts this one up to {}s", MOST.as_secs())),
        time => Ok(time),
    }
}

/// A [`duration`] that the kernel counts in whole milliseconds.
pub(crate) fn milliseconds(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(24 * 24 * 3600);
    match duration(text)? {
        time if time.subsec_nanos() % 1_000_000 != 0 => {
            Err("the kernel counts this one in whole milliseconds".to_owned())
        }
        time if time > MOST => Err("the kernel counts this one up to 24 days".to_owned()),
        time => Ok(time),
    }
}

/// The name of a protocol in ALPN.
pub(crate) fn protocol(text: &str) -> Result<String, String> {
    match text.len() {
        1..=255 => Ok(text.to_owned()),
        _ => Err("a protocol's name has 1 to 255 bytes".to_owned()),
    }
}

/// The path of a file.
pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("a path is text, and not empty".to_owned()),
        _ => Ok(PathBuf::from(text)),
    }
}

/// `10.0.0.0/8`, `::1`.
pub(crate) fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error: landline::Error| error.to_string())
}

/// Where to listen, or whom to call.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|error: landline::Error| error.to_string())
}

/// The mode of a file: `0660`. Nothing but who may read, write and execute.
pub(crate) fn mode(text: &str) -> Result<u32, String> {
    const FORMS: &str = "a mode is three octal digits with or without a zero before them, in quotes in a file, \
                         as in \"0660\"";
    let digits = text.strip_prefix('0').filter(|rest| rest.len() == 3).unwrap_or(text);
    let is_octal = digits.len() == 3 && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten();
    mode.ok_or_else(|| FORMS.to_owned())
}

/// `USER`, `USER:GROUP` or `:GROUP`, by name or by number. Whether they exist is seen here, so that a wrong
/// name is found before anything has started; the text stays, and is looked up again where it is used.
pub(crate) fn owner(text: &str) -> Result<String, String> {
    resolve_owner(text).map(|_| text.to_owned())
}

/// `USER` or `USER:GROUP`, by name or by number: who a server is to be. Whether they exist is seen when it
/// starts: one that goes on with what another has left need not be able to look them up.
pub(crate) fn user(text: &str) -> Result<String, String> {
    const FORMS: &str = "a user is USER or USER:GROUP, by name or by number";
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let is_one = !user.is_empty() && group.is_none_or(|group| !group.is_empty() && !group.contains(':'));
    if is_one { Ok(text.to_owned()) } else { Err(FORMS.to_owned()) }
}

/// `GROUP`, by name or by number. Whether it exists is seen as with a [`user`].
pub(crate) fn group(text: &str) -> Result<String, String> {
    let is_one = !text.is_empty() && !text.contains(':');
    if is_one { Ok(text.to_owned()) } else { Err("a group is GROUP, by name or by number".to_owned()) }
}

/// The numbers of an [`owner`]'s user and group; of what was not named, none.
pub(crate) fn resolve_owner(text: &str) -> Result<(Option<u32>, Option<u32>), String> {
    const FORMS: &str = "an owner is USER, USER:GROUP or :GROUP, by name or by number";
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    // `chown` takes "user:" for the user's own group, which is easily written by mistake.
    if group.unwrap_or(user).is_empty() || group.is_some_and(|group| group.contains(':')) {
        return Err(FORMS.to_owned());
    }
    let user = (!user.is_empty()).then(|| number_of(user, "user", user_named)).transpose()?;
    let group = group.map(|group| number_of(group, "group", group_named)).transpose()?;
    Ok((user, group))
}

fn user_named(name: &str) -> nix::Result<Option<u32>> {
    Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
}

fn group_named(name: &str) -> nix::Result<Option<u32>> {
    Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
}

/// The number that a name stands for, or the number that it is. Names come first: some are digits.
fn number_of(
    name: &str,
    kind: &str,
    named: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, String> {
    let said = name.escape_debug();
    match named(name) {
        Ok(Some(number)) => Ok(number),
        // The largest number says 'nobody in particular' to the kernel.
        found => match (name.parse::<u32>(), found) {
            (Ok(number), _) if number != u32::MAX => Ok(number),
            (_, Err(error)) => {
                Err(format!("cannot look up the {kind} '{said}': {}", error.desc().to_lowercase()))
            }
            _ => Err(format!("no {kind} is called '{said}'")),
        },
    }
}

/// `9100`, `:9100`, `10.0.0.1:9100`: where HTTP can be told. `localhost` is one address, so that it has one
/// port.
pub(crate) fn http(text: &str) -> Result<Address, String> {
    let address: Address = text.parse().map_err(|error: landline::Error| error.to_string())?;
    if address.path().is_some() || address.is_inherited() {
        return Err("HTTP is told at PORT, :PORT, HOST:PORT or [IPV6]:PORT".to_owned());
    }
    if address.host() == Some("localhost") {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())).into());
    }
    Ok(address)
}

/// Whether only this machine can reach an address. Of names nobody knows before they are resolved.
pub(crate) fn is_loopback(address: &Address) -> bool {
    address.host().and_then(|host| host.parse().ok()).is_some_and(|ip: IpAddr| ip.is_loopback())
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
    fn what_the_kernel_counts_stays_within_what_it_can_count() {
        assert_eq!((small_count("4096"), probes("6")), (Ok(4096), Ok(6)));
        assert!(small_count("3000M").unwrap_err().contains("at most 2147483647"));
        assert!(probes("128").unwrap_err().contains("at most 127"));
        assert_eq!(seconds("1m"), Ok(Duration::from_secs(60)));
        assert!(seconds("1500ms").is_err() && seconds("10h").is_err());
        assert_eq!(milliseconds("1500ms"), Ok(Duration::from_millis(1500)));
        assert!(milliseconds("1us").is_err() && milliseconds("25days").is_err());
    }

    #[test]
    fn a_mode_is_octal_and_says_nothing_but_who_may() {
        assert_eq!((mode("0660"), mode("600"), mode("0777")), (Ok(0o660), Ok(0o600), Ok(0o777)));
        for wrong in ["", "66", "0o660", "4755", "0680", "00660", "+660", "rw"] {
            assert!(mode(wrong).unwrap_err().contains("as in \"0660\""), "{wrong}");
        }
    }

    #[test]
    fn an_owner_is_a_user_a_group_or_both() {
        assert_eq!(resolve_owner("root"), Ok((Some(0), None)));
        assert_eq!(resolve_owner("12345:54321"), Ok((Some(12345), Some(54321))));
        assert_eq!(resolve_owner(":54321"), Ok((None, Some(54321))));
        for wrong in ["", ":", "root:", "root:root:root"] {
            assert!(resolve_owner(wrong).unwrap_err().contains("USER:GROUP"), "{wrong}");
        }
        assert_eq!(owner("no\nbody"), Err("no user is called 'no\\nbody'".to_owned()));
        assert_eq!(owner(":nosuch-group"), Err("no group is called 'nosuch-group'".to_owned()));
        assert!(owner("4294967295").is_err());
    }

    #[test]
    fn a_user_may_come_with_a_group_and_need_not_exist_yet() {
        assert_eq!((user("nosuch"), user("1:2")), (Ok("nosuch".to_owned()), Ok("1:2".to_owned())));
        assert_eq!(group("nosuch"), Ok("nosuch".to_owned()));
        for wrong in ["", ":", ":1", "1:", "1:2:3"] {
            assert!(user(wrong).unwrap_err().contains("USER:GROUP"), "{wrong}");
        }
        assert!(group("").is_err() && group("a:b").is_err());
    }

    #[test]
    fn only_addresses_that_no_other_machine_reaches_are_loopback() {
        assert_eq!(http("9100").unwrap().to_string(), "127.0.0.1:9100");
        assert_eq!(http("localhost:0").unwrap().to_string(), "127.0.0.1:0");
        for local in ["9100", "127.1.2.3:80", "[::1]:9100", "localhost:9100"] {
            assert!(is_loopback(&http(local).unwrap()), "{local}");
        }
        for open in [":9100", "0.0.0.0:9100", "[::]:9100", "10.0.0.1:9100", "example.com:9100"] {
            assert!(!is_loopback(&http(open).unwrap()), "{open}");
        }
        for wrong in ["127.0.0.1", "unix:/run/http.sock", "fd:3"] {
            assert!(http(wrong).is_err(), "{wrong}");
        }
    }
}
