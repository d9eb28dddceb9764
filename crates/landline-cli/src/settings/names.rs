//! Values that are one of a few names.

use clap::ValueEnum;

/// A built-in service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServiceName {
    /// The message in upper case
    Upper,
    /// The message as it came
    Echo,
}

/// What happens to callers who are not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExcessName {
    /// They are told `busy` or `denied` in one line
    Say,
    /// They wait until there is a place
    Wait,
    /// They are closed without a word
    Close,
    /// They are reset
    Reset,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsVersionName {
    /// Of 2008
    #[value(name = "1.2")]
    V1_2,
    /// Of 2018
    #[value(name = "1.3")]
    V1_3,
}

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientAuth {
    /// They have to
    Required,
    /// They may
    Optional,
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One object per line, for programs
    Json,
}
