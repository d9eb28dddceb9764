//! The workspace, held to the rules.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::rules;

/// A file of the workspace: where it lies, seen from the root, and what it says.
struct File {
    path: PathBuf,
    text: String,
}

/// The workspace of this run; the one it was compiled in may be another that shares the target directory.
fn root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Path::new(&package).parent().expect("xtask lies in the workspace").to_owned()
}

/// Every file with this ending, below the root or only in one directory of it.
fn files(directory: &Path, ending: &str, below: bool) -> Vec<File> {
    let mut found = Vec::new();
    let entries = fs::read_dir(directory).expect("the directory can be read");
    for entry in entries.map(|entry| entry.expect("the entry can be read")) {
        let path = entry.path();
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.');
        if path.is_dir() && below && !hidden && name != "target" {
            found.extend(files(&path, ending, true));
        } else if path.is_file() && path.extension().is_some_and(|found| found == ending) {
            let text = fs::read_to_string(&path).expect("the file is text");
            let path = path.strip_prefix(root()).expect("the walk starts at the root").to_owned();
            found.push(File { path, text });
        }
    }
    found
}

fn sources() -> Vec<File> {
    files(&root(), "rs", true)
}

/// The pages that a reader meets first.
fn pages() -> Vec<File> {
    let mut pages = files(&root(), "md", false);
    let docs = root().join("docs");
    if docs.is_dir() {
        pages.extend(files(&docs, "md", false));
    }
    pages
}

/// Fails with everything that is wrong, not only the first, so that one run is enough to mend it.
fn hold(files: &[File], rule: impl Fn(&File) -> Vec<String>) {
    let name = |file: &File, finding: &String| format!("{}: {finding}", file.path.display());
    let findings: Vec<String> = files
        .iter()
        .flat_map(|file| rule(file).iter().map(|one| name(file, one)).collect::<Vec<_>>())
        .collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// `crates/*/examples/…`
fn is_example(file: &File) -> bool {
    file.path.starts_with("crates") && file.path.iter().nth(2).is_some_and(|name| name == "examples")
}

#[test]
fn the_walk_finds_the_sources_and_the_pages() {
    for known in ["xtask/src/main.rs", "xtask/tests/it/tidy.rs", "crates/landline/src/lib.rs"] {
        assert!(sources().iter().any(|file| file.path == Path::new(known)), "{known}");
    }
    assert!(pages().iter().any(|file| file.path == Path::new("README.md")));
}

#[test]
fn no_source_file_is_over_800_lines() {
    hold(&sources(), |file| rules::too_long(&file.text, 800));
}

#[test]
fn every_example_is_under_60_lines() {
    let examples: Vec<File> = sources().into_iter().filter(is_example).collect();
    hold(&examples, |file| rules::too_long(&file.text, 59));
}

#[test]
fn no_lint_is_allowed_without_a_reason() {
    hold(&sources(), |file| rules::allows_without_reason(&file.text));
}

#[test]
fn no_source_file_has_leftovers() {
    hold(&sources(), |file| rules::leftovers(&file.text));
}

#[test]
fn unsafe_lives_only_in_the_library_s_sys() {
    let mut elsewhere = sources();
    elsewhere.retain(|file| !file.path.starts_with("crates/landline/src/sys"));
    hold(&elsewhere, |file| rules::unsafe_code(&file.text));
}

#[test]
fn the_changelog_knows_the_version() {
    let mut changelog = files(&root(), "md", false);
    changelog.retain(|file| file.path == Path::new("CHANGELOG.md"));
    assert_eq!(changelog.len(), 1, "there is a CHANGELOG.md");
    // All packages of the workspace share one version.
    hold(&changelog, |file| rules::version_not_in_changelog(&file.text, env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_relative_link_of_a_page_leads_to_a_file() {
    hold(&pages(), |file| {
        let directory = root().join(&file.path).parent().expect("a file lies in a directory").to_owned();
        let mut links = rules::relative_links(&file.text);
        links.retain(|link| !directory.join(link).exists());
        links.iter().map(|link| format!("links to {link}, which is not there")).collect()
    });
}
