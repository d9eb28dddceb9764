//! What the terminal can show.

use std::borrow::Cow;

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

/// Our own words in a character set.
pub(crate) fn words(text: &str, charset: Charset) -> Cow<'_, str> {
    match charset {
        Charset::Utf8 => Cow::Borrowed(text),
        Charset::Ascii => {
            Cow::Owned(text.replace('\u{b7}', "-").replace('\u{2191}', "Up:").replace('\u{2192}', "Right"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        let locale = |all: &'static str, ctype: &'static str, lang: &'static str| {
            let values = [("LC_ALL", all), ("LC_CTYPE", ctype), ("LANG", lang)];
            names_utf8(|name| {
                values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(locale("", "", "de_DE.UTF-8"));
        assert!(locale("C.utf8", "", "C"));
        assert!(!locale("C", "en_US.UTF-8", "en_US.UTF-8"));
        assert!(!names_utf8(|_| None));
    }

    #[test]
    fn our_own_words_have_an_ascii_form() {
        let banner = "0.2ms \u{b7} \u{2191} history";
        assert_eq!(words(banner, Charset::Ascii), "0.2ms - Up: history");
        assert_eq!(words(banner, Charset::Utf8), banner);
    }
}
