//! Rust source without what is not code.

/// The source with comments and literals blanked out; every line stays where it is.
///
/// Rules look here for words, so that a comment may speak of `unsafe` and a test may hold a bad sample.
pub(crate) fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let before = code.chars().next_back();
        let (taken, left) = match not_code(rest, before) {
            Some(length) => rest.split_at(length),
            None => rest.split_at(first.len_utf8()),
        };
        if taken.len() == first.len_utf8() {
            code.push(first);
        } else {
            code.extend(taken.chars().map(|c| if c == '\n' { c } else { ' ' }));
        }
        rest = left;
    }
    code
}

/// Whether a character can be part of a name.
pub(crate) fn in_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the comment or literal that `rest` starts with, always two bytes at least.
fn not_code(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if let Some(text) = rest.strip_prefix('"') {
        return Some(1 + up_to_quote(text, '"'));
    }
    if let Some(text) = rest.strip_prefix('\'') {
        // Otherwise it is a lifetime or a label.
        let mut ahead = text.chars();
        let is_character = ahead.next() == Some('\\') || ahead.next() == Some('\'');
        return is_character.then(|| 1 + up_to_quote(text, '\''));
    }
    if before.is_some_and(in_a_name) { None } else { raw_string(rest) }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let pair = rest.as_bytes().get(at..at + 2);
        match pair {
            Some(b"/*") => depth += 1,
            Some(b"*/") => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length up to and with the closing quote, over escaped ones.
fn up_to_quote(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let marked = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let text = marked.trim_start_matches('#');
    let end = format!("\"{}", "#".repeat(marked.len() - text.len()));
    let text = text.strip_prefix('"')?;
    let start = rest.len() - text.len();
    Some(text.find(&end).map_or(rest.len(), |at| start + at + end.len()))
}

#[test]
fn comments_and_literals_are_blanked_and_code_is_kept() {
    let samples = [
        ("a // b", "a     "),
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        ("a /* b\n */ c", "a     \n    c"),
        (r#"f("a\"b") + c"#, "f(      ) + c"),
        (r##"f(r#"a"b"#) + c"##, "f(        ) + c"),
        (r#"f(br"\") + c"#, "f(     ) + c"),
        ("f('\"') + c", "f(   ) + c"),
        (r"f('\'') + c", "f(    ) + c"),
        ("f('é', b)", "f(   , b)"),
        ("fn f<'a>(b: &'a str)", "fn f<'a>(b: &'a str)"),
        ("r#type + r", "r#type + r"),
        ("\"no end", "       "),
    ];
    for (source, code) in samples {
        assert_eq!(code_only(source), code, "{source}");
    }
}
