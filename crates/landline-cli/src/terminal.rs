//! What the terminal can show.

use landline::event::Charset;

/// The characters that a terminal in this locale shows.
pub(crate) fn charset() -> Charset {
    if names_utf8(|name| std::env::var(name).ok()) { Charset::Utf8 } else { Charset::Ascii }
}

fn names_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}
