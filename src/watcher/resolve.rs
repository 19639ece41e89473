//! Where a symbolic link leads, and on which paths that depends. Follows links step by step, as the kernel would,
//! so that a change anywhere along the way can be told to concern it. Lists no directory and remembers nothing.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::path::{Component, Path, PathBuf};

use super::names::LeftOut;

/// The kernel's own limit (ELOOP).
const MAX_STEPS: usize = 40;
/// Names on the way to one target, those that come out of links included.
const MAX_COMPONENTS: usize = 4096;

/// Where a link leads.
#[derive(Debug)]
pub(super) struct Resolved {
    /// Every path in the root that was looked at on the way, relative to it; the link itself is not among them.
    pub(super) through: Vec<PathBuf>,
    /// The end of the way, relative to the root, with no links in it: nothing, if there is none, or it is outside,
    /// or the way goes through a name that is left out.
    pub(super) end: Option<(PathBuf, Metadata)>,
}

/// Follows the link at `link`, a path below `root` that has no other links in it. `root` is canonical.
pub(super) fn resolve(root: &Path, link: &Path, left_out: &LeftOut) -> Resolved {
    let mut through = Vec::new();
    let end = walk(root, link, left_out, &mut through);
    Resolved { through, end }
}

fn walk(
    root: &Path,
    link: &Path,
    left_out: &LeftOut,
    through: &mut Vec<PathBuf>,
) -> Option<(PathBuf, Metadata)> {
    // What `at` names has been resolved; `ahead` is still to come.
    let mut at = root.join(link.parent()?);
    let mut metadata = None;
    let mut ahead = VecDeque::from([link.file_name()?.to_owned()]);
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            at.pop();
            metadata = None;
            continue;
        }
        let here = at.join(&name);
        if let Ok(inside) = here.strip_prefix(root)
            && !inside.as_os_str().is_empty()
            && inside != link
        {
            through.push(inside.to_owned());
            if left_out.leaves_out(inside) {
                return None;
            }
        }
        let found = std::fs::symlink_metadata(&here).ok()?;
        if !found.is_symlink() {
            at = here;
            metadata = Some(found);
            continue;
        }
        let target = std::fs::read_link(&here).ok()?;
        links += 1;
        push_front(&mut ahead, &target);
        if links > MAX_STEPS || ahead.len() > MAX_COMPONENTS {
            return None;
        }
        if target.is_absolute() {
            at = PathBuf::from("/");
            metadata = None;
        }
    }
    let metadata = match metadata {
        Some(metadata) => metadata,
        // The way ended in `..` or at the top.
        None => std::fs::symlink_metadata(&at).ok()?,
    };
    let end = at.strip_prefix(root).ok()?.to_owned();
    Some((end, metadata))
}

/// The components of a path, other than those that lead nowhere else.
fn push_front(ahead: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => ahead.push_front(name.to_owned()),
            Component::ParentDir => ahead.push_front("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    struct Place {
        _dir: tempfile::TempDir,
        root: PathBuf,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().canonicalize().expect("it exists").join("root");
        fs::create_dir_all(root.join("a/b")).expect("made");
        fs::write(root.join("a/b/file"), "x").expect("written");
        fs::write(root.join("../outside"), "x").expect("written");
        Place { _dir: dir, root }
    }

    fn left_out() -> LeftOut {
        LeftOut::new(&["*.part".parse().expect("a pattern")]).expect("a set")
    }

    fn end(place: &Place, target: impl AsRef<Path>) -> Option<PathBuf> {
        let link = place.root.join("a/link");
        let _ = fs::remove_file(&link);
        symlink(target, &link).expect("linked");
        resolve(&place.root, Path::new("a/link"), &left_out()).end.map(|(end, _)| end)
    }

    #[test]
    fn follows_relative_and_absolute_links_inside() {
        let place = place();
        assert_eq!(end(&place, "b/file"), Some("a/b/file".into()));
        assert_eq!(end(&place, "../a/./b/../b/file"), Some("a/b/file".into()));
        assert_eq!(end(&place, place.root.join("a/b/file")), Some("a/b/file".into()));
        assert_eq!(end(&place, "../../root/a/b/file"), Some("a/b/file".into()));
        assert_eq!(end(&place, ".."), Some("".into()));
    }

    #[test]
    fn refuses_what_leads_outside() {
        let place = place();
        assert_eq!(end(&place, "../../outside"), None);
        assert_eq!(end(&place, "/etc/passwd"), None);
        assert_eq!(end(&place, "/"), None);
        assert_eq!(end(&place, "../../../../../../../../../.."), None);
    }

    #[test]
    fn refuses_loops_and_dangling_links() {
        let place = place();
        assert_eq!(end(&place, "link"), None);
        assert_eq!(end(&place, "b/none"), None);
        assert_eq!(end(&place, "b/file/none"), None);
    }

    #[test]
    fn refuses_ways_through_names_that_are_left_out() {
        let place = place();
        for name in [".hidden", "d.part"] {
            fs::create_dir(place.root.join("a").join(name)).expect("made");
            symlink("../b/file", place.root.join("a").join(name).join("hop")).expect("linked");
            assert_eq!(end(&place, Path::new(name).join("hop")), None);
        }
    }

    #[test]
    fn names_all_it_depends_on() {
        let place = place();
        symlink("b", place.root.join("a/hop")).expect("linked");
        symlink("hop/none", place.root.join("a/link")).expect("linked");
        let resolved = resolve(&place.root, Path::new("a/link"), &left_out());
        let through: Vec<PathBuf> = ["a/hop", "a/b", "a/b/none"].iter().map(PathBuf::from).collect();
        assert_eq!(resolved.through, through);
        assert!(resolved.end.is_none());
    }
}
