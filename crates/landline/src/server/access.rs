//! Who may call at all: rules by network. Pure.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::error::{Error, Kind};

/// A network: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let single = || text.parse::<IpAddr>().map(IpNet::from);
        match text.parse::<IpNet>().or_else(|_| single()) {
            Ok(network) => Ok(Self(network.trunc())),
            Err(_) => Err(Error::new(
                Kind::Config,
                format!("cannot read the network '{}'", text.escape_debug()),
                "a network is an address, or an address and the length of its prefix, as in 10.0.0.0/8",
            )),
        }
    }
}

impl Network {
    /// Whether this address is of it.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Rules by network. Of those that match an address the one with the longest prefix decides, and of two alike
/// the one that denies. Without a match everybody may call, unless there is a rule that allows: then nobody
/// else may.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    rules: Vec<(Network, bool)>,
}

impl Access {
    pub(crate) fn new(allow: &[Network], deny: &[Network]) -> Self {
        let allowed = allow.iter().map(|network| (*network, true));
        Self { rules: allowed.chain(deny.iter().map(|network| (*network, false))).collect() }
    }

    /// Whether somebody with this address may call. Who has no address is on this machine.
    pub(crate) fn admits(&self, peer: Option<IpAddr>) -> bool {
        let Some(peer) = peer else { return true };
        let matching = self.rules.iter().filter(|(network, _)| network.contains(peer));
        // `false < true`, so among rules alike the minimum of `allowed` wins by being turned round.
        let decisive = matching.max_by_key(|(network, allowed)| (network.0.prefix_len(), !allowed));
        match decisive {
            Some((_, allowed)) => *allowed,
            None => !self.rules.iter().any(|(_, allowed)| *allowed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(rules: &[(&str, bool)]) -> Access {
        Access {
            rules: rules.iter().map(|(network, allowed)| (network.parse().unwrap(), *allowed)).collect(),
        }
    }

    fn admits(access: &Access, peer: &str) -> bool {
        access.admits(Some(peer.parse().unwrap()))
    }

    #[test]
    fn without_rules_everybody_may_call() {
        assert!(admits(&access(&[]), "203.0.113.9"));
    }

    #[test]
    fn the_longest_prefix_decides_whatever_the_order() {
        for rules in [
            [("10.0.0.0/8", true), ("10.1.0.0/16", false), ("10.1.2.3", true)],
            [("10.1.2.3", true), ("10.1.0.0/16", false), ("10.0.0.0/8", true)],
        ] {
            let access = access(&rules);
            assert!(admits(&access, "10.9.9.9"));
            assert!(!admits(&access, "10.1.9.9"));
            assert!(admits(&access, "10.1.2.3"));
        }
    }

    #[test]
    fn a_tie_denies_and_one_rule_that_allows_shuts_everybody_else_out() {
        assert!(!admits(&access(&[("10.0.0.0/8", true), ("10.0.0.0/8", false)]), "10.0.0.1"));
        assert!(!admits(&access(&[("10.0.0.0/8", true)]), "192.0.2.1"));
        assert!(admits(&access(&[("10.0.0.0/8", false)]), "192.0.2.1"));
        assert!(!admits(&access(&[("10.0.0.0/8", true)]), "2001:db8::1"));
    }

    #[test]
    fn what_is_no_network_is_refused_with_an_example() {
        for text in ["", "10.0.0.0/33", "example.com", "10.0.0"] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.is_config() && error.to_string().contains("10.0.0.0/8"), "{error}");
        }
    }
}
