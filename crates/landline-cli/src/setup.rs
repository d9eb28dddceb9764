//! What `serve` is to do: the command line and the file, made one.

use std::path::Path;

use landline::Address;

use crate::args::ServeArgs;
use crate::bundle::Bundle;
use crate::config::{self, Config, ConfiguredListener, Fault};
use crate::exit::{Exit, Failure};
use crate::serve::tls;
use crate::settings::{ExcessName, ListenerSettings, ServerSettings};

/// What `serve` is to do.
#[derive(Debug, PartialEq)]
pub(crate) struct Setup {
    pub(crate) server: ServerSettings,
    /// At least one.
    pub(crate) listeners: Vec<Listener>,
    /// What is known of the files that it names: the configuration, if there is one, and what another process
    /// has read of the others.
    pub(crate) known: Bundle,
}

/// An address and what holds there.
#[derive(Debug, PartialEq)]
pub(crate) struct Listener {
    pub(crate) address: Address,
    pub(crate) settings: ListenerSettings,
}

impl Setup {
    /// What the flags say, and the file if there is one.
    pub(crate) fn new(args: &ServeArgs) -> Result<Self, Failure> {
        Self::with(args, Bundle::default())
    }

    /// What the flags say, and files of which some were read before.
    pub(crate) fn with(args: &ServeArgs, mut known: Bundle) -> Result<Self, Failure> {
        if let (None, Some(path)) = (&known.config, &args.config) {
            known.config = Some(config::read(path)?);
        }
        let setup = match args.config.as_deref().zip(known.config.as_deref()) {
            Some((path, file)) => Self { known: Bundle::default(), ..Self::with_file(path, file, args)? },
            None => Self {
                known: Bundle::default(),
                server: args.server.clone(),
                listeners: vec![Listener { address: args.address.clone(), settings: args.listener.clone() }],
            },
        };
        if let (None, Some((cause, hint))) = (&args.config, tls::fault(&args.listener)) {
            return Err(Failure::new(Exit::Usage, cause).hint(as_flags(hint)));
        }
        if setup.server.http_token_file.is_some() && setup.server.http.is_none() {
            let text = "a token for HTTP has no meaning where nothing is told over HTTP";
            return Err(Failure::new(Exit::Usage, text).hint("say with --http where to tell it"));
        }
        Ok(Self { known, ..setup })
    }

    fn with_file(path: &Path, file: &[u8], args: &ServeArgs) -> Result<Self, Failure> {
        let config = config::check(path, file)?;
        merge(config, &args.server, &args.listener).map_err(|fault| fault.of(path))
    }
}

/// A hint that names keys, for whoever has typed flags.
fn as_flags(hint: &str) -> String {
    let words = hint.split(' ').map(|word| match word.find("tls_") {
        Some(at) => format!("{}--{}", &word[..at], word[at..].replace('_', "-")),
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ").replace(" = \"off\"", "=off")
}

/// What is said of one listener goes before a flag, a flag before what the file says of all.
fn merge(config: Config, server: &ServerSettings, flags: &ListenerSettings) -> Result<Setup, Fault> {
    let server = server.clone().or(config.server);
    let all = flags.clone().or(config.defaults);
    let merge = |ConfiguredListener { line, address, settings }| {
        let settings = settings.or(all.clone());
        check_excess(line, &server, &settings)?;
        if let Some((cause, hint)) = tls::fault(&settings) {
            return Err(Fault::new(line, cause).hint(hint));
        }
        Ok(Listener { address, settings })
    };
    let listeners = config.listeners.into_iter().map(merge).collect::<Result<_, _>>()?;
    Ok(Setup { server, listeners, known: Bundle::default() })
}

/// Callers can't be left waiting for a verdict that needs to know who they are.
fn check_excess(line: usize, server: &ServerSettings, listener: &ListenerSettings) -> Result<(), Fault> {
    let verdicts = [
        ("allow", !listener.allow.is_empty()),
        ("deny", !listener.deny.is_empty()),
        ("max_connections_per_ip", server.max_connections_per_ip.is_some()),
        ("max_accept_rate", server.max_accept_rate.is_some()),
    ];
    let verdict = verdicts.iter().find(|(_, is_said)| *is_said);
    match verdict.filter(|_| listener.excess == Some(ExcessName::Wait)) {
        Some((name, _)) => {
            let cause = format!(
                "this listener can't have excess = \"wait\" together with {name}: \
                 callers would have to be accepted before they can be refused"
            );
            Err(Fault::new(line, cause).hint(format!("leave out one of them, excess or {name}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
