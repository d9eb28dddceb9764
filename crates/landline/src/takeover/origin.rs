//! Where this program lies, so that another one can be looked for there.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The path by which this program was started, as long as it leads to it: a link that is to lead to another
/// program later is not resolved. Otherwise the path that the system knows.
pub(super) fn of_program() -> PathBuf {
    let known = without_mark(env::current_exe().unwrap_or_default());
    let typed = env::args_os().next().unwrap_or_default();
    let here = env::current_dir().unwrap_or_default();
    let paths = env::var_os("PATH").unwrap_or_default();
    candidates(&typed, &here, &paths).into_iter().find(|path| is_same(path, &known)).unwrap_or(known)
}

/// The path of a program whose file has been replaced since: the kernel marks it.
fn without_mark(known: PathBuf) -> PathBuf {
    let marked = known.as_os_str().as_encoded_bytes().strip_suffix(b" (deleted)");
    match marked.filter(|_| !known.exists()) {
        Some(path) => PathBuf::from(OsStr::from_bytes(path)),
        None => known,
    }
}

/// Where a shell would have found it.
fn candidates(typed: &OsStr, here: &Path, paths: &OsStr) -> Vec<PathBuf> {
    if typed.as_encoded_bytes().contains(&b'/') {
        return vec![here.join(typed)];
    }
    env::split_paths(paths).map(|folder| here.join(folder).join(typed)).collect()
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|about| (about.dev(), about.ino())).ok();
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_with_a_slash_is_taken_from_here_and_the_rest_looked_up() {
        let here = Path::new("/home/me");
        let found = |typed: &str| candidates(typed.as_ref(), here, OsStr::new("/bin:tools"));
        assert_eq!(found("./it"), [Path::new("/home/me/./it")]);
        assert_eq!(found("/opt/it"), [Path::new("/opt/it")]);
        assert_eq!(found("it"), [Path::new("/bin/it"), Path::new("/home/me/tools/it")]);
    }

    #[test]
    fn a_file_that_was_replaced_is_looked_for_where_it_was() {
        let path = |text: &str| without_mark(PathBuf::from(text));
        assert_eq!(path("/gone/it (deleted)"), Path::new("/gone/it"));
        assert_eq!(path("/gone/it"), Path::new("/gone/it"));
        let marked = env::temp_dir().join(format!("landline-{} (deleted)", std::process::id()));
        fs::write(&marked, "there is one of this name").unwrap();
        assert_eq!(without_mark(marked.clone()), marked);
        fs::remove_file(&marked).unwrap();
    }

    #[test]
    fn this_program_is_found() {
        assert!(is_same(&of_program(), &env::current_exe().unwrap()));
    }
}
