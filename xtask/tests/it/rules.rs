//! The rules: each takes text and returns what is wrong with it, one finding a line.

use crate::code::{code_only, in_a_name};

/// A file has at most so many lines.
pub(crate) fn too_long(text: &str, lines_max: usize) -> Vec<String> {
    let lines = text.lines().count();
    if lines <= lines_max { Vec::new() } else { vec![format!("{lines} lines, {lines_max} at most")] }
}

/// No lint is switched off without a word why.
pub(crate) fn allows_without_reason(source: &str) -> Vec<String> {
    let code = code_only(source);
    let attributes = words(&code, "allow").filter(|&at| {
        let before = &code[..at];
        before.ends_with("#[") || before.ends_with("#![")
    });
    let bare = attributes.filter(|&at| {
        let attribute = code[at..].split(']').next().unwrap_or_default();
        words(attribute, "reason").next().is_none()
    });
    bare.map(|at| format!("line {}: an allow without a reason", line(&code, at))).collect()
}

/// Nothing is left to be done, and nothing left over from looking for a fault.
pub(crate) fn leftovers(source: &str) -> Vec<String> {
    let code = code_only(source);
    let mut findings = Vec::new();
    for name in ["todo", "unimplemented", "dbg"] {
        let calls = words(&code, name).filter(|at| code[at + name.len()..].starts_with('!'));
        findings.extend(calls.map(|at| format!("line {}: {name}!", line(&code, at))));
    }
    findings
}

/// The code has no `unsafe`.
pub(crate) fn unsafe_code(source: &str) -> Vec<String> {
    let code = code_only(source);
    words(&code, "unsafe").map(|at| format!("line {}: unsafe", line(&code, at))).collect()
}

/// A heading of the changelog names the version.
pub(crate) fn version_not_in_changelog(changelog: &str, version: &str) -> Vec<String> {
    let mut headings = changelog.lines().filter(|line| line.starts_with("## "));
    let named = headings.any(|heading| {
        heading.split(|c: char| c.is_whitespace() || "[]()".contains(c)).any(|word| word == version)
    });
    if named { Vec::new() } else { vec![format!("no heading names version {version}")] }
}

/// The files that a page links to, as the page writes them: no addresses of the web, no anchors.
pub(crate) fn relative_links(page: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_fence = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            // Every second piece lies between backticks.
            let text: String = line.split('`').step_by(2).collect();
            let inline = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
            links.extend(inline.map(str::to_owned));
            let definition = text.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
            links.extend(definition.map(|(_, target)| target.trim().to_owned()));
        }
    }
    links.retain(|link| !link.contains("://") && !link.starts_with("mailto:"));
    let files = links.iter().filter_map(|link| link.split('#').next());
    files.filter(|file| !file.is_empty()).map(str::to_owned).collect()
}

/// Where a word stands by itself, not as a part of a longer name.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(in_a_name) && !after.is_some_and(in_a_name)
    })
}

fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[test]
fn a_file_of_one_line_too_many_is_found() {
    assert_eq!(too_long("a\nb\n", 2), [""; 0]);
    assert_eq!(too_long("a\nb\nc\n", 2), ["3 lines, 2 at most"]);
}

#[test]
fn a_bare_allow_is_found_and_one_with_a_reason_is_not() {
    let bare = "\n#[allow(dead_code)]\nfn f() {}\n#![allow(\n    unused,\n)]";
    assert_eq!(
        allows_without_reason(bare),
        ["line 2: an allow without a reason", "line 4: an allow without a reason"]
    );
    let fine =
        "#[allow(dead_code, reason = \"later\")]\nfn allow(x: X) { // #[allow(dead_code)]\n allow(x) }";
    assert_eq!(allows_without_reason(fine), [""; 0]);
}

#[test]
fn a_leftover_macro_is_found_and_its_name_in_a_comment_is_not() {
    assert_eq!(leftovers("fn f() {\n todo!() }"), ["line 2: todo!"]);
    assert_eq!(leftovers("unimplemented!(\"x\")"), ["line 1: unimplemented!"]);
    assert_eq!(leftovers("let x = dbg!(y);"), ["line 1: dbg!"]);
    assert_eq!(leftovers("// todo!()\nlet todo = \"dbg!(x)\"; my_todo!()"), [""; 0]);
}

#[test]
fn unsafe_in_code_is_found_and_in_a_comment_or_a_longer_name_is_not() {
    assert_eq!(unsafe_code("fn f() {\n unsafe { g() } }"), ["line 2: unsafe"]);
    assert_eq!(unsafe_code("// unsafe\n#![deny(unsafe_code)]\nlet s = \"unsafe\";"), [""; 0]);
}

#[test]
fn a_changelog_that_stops_short_of_the_version_is_found() {
    assert_eq!(version_not_in_changelog("## 0.1.0\n", "0.1.0"), [""; 0]);
    assert_eq!(version_not_in_changelog("## [0.1.0] (unreleased)\n", "0.1.0"), [""; 0]);
    for stale in ["## 0.0.9\n", "## 0.1.0-rc.1\n", "was 0.1.0 once\n", ""] {
        assert_eq!(version_not_in_changelog(stale, "0.1.0").len(), 1, "{stale:?}");
    }
}

#[test]
fn every_link_to_a_file_is_found_and_nothing_else() {
    let page = "[a](A.md), [b](docs/b.md#part \"title\") and [web](https://example.com) [here](#part)\n\
        [c]: c.md\n`[d](d.md)`\n```\n[e](e.md)\n```\n![f](f.svg) [mail](mailto:a@example.com)";
    assert_eq!(relative_links(page), ["A.md", "docs/b.md", "c.md", "f.svg"]);
}
