//! What of a profile is kept, as a compressed archive: tar and zstd, both as streams.
//!
//! Kept is what a linked device needs: of a profile of 33 MB, 4 MB, and a browser that is started on them is logged in
//! with all its messages. Caches, histories, preferences and locks stay where they are.

mod pack;
mod prune;
mod unpack;

use std::path::{Component, Path};

pub use pack::{PackError, Packed, pack};
pub use prune::{Prune, prune, size};
pub use unpack::{UnpackError, Unpacked, unpack};

/// Bounds of an archive. The same in both directions, so that what was packed can be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files and directories.
    pub entries: u64,
}

impl Default for Limits {
    /// 100 MB, which is twenty times a usual profile, in 20,000 files and directories.
    fn default() -> Self {
        Self { bytes: 100_000_000, entries: 20_000 }
    }
}

/// Directories that are kept with all that is in them.
const KEPT_TREES: [&str; 2] = ["Default/IndexedDB", "Default/Local Storage"];
/// Files that are kept: the cookies and SQLite's journals of them, which begin with the same name.
const KEPT_FILES: &str = "Cookies";
/// How deep IndexedDB nests its blobs, with room to spare.
const MAX_DEPTH: usize = 16;

/// What may stand at a path of the archive, relative to the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A directory that holds kept things among others.
    Passage,
    /// A directory or file below a kept directory, or that directory.
    Tree,
    /// A kept file.
    File,
}

/// `None` for everything that is not on the list, and for every path that is not plain: absolute, with `..` or `.`, too
/// deep, or no UTF-8.
fn place(path: &Path) -> Option<Place> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            _ => return None,
        }
    }
    if parts.len() > MAX_DEPTH || parts.iter().any(|part| part.contains('\0')) {
        return None;
    }
    let text = parts.join("/");
    if path.to_str()?.trim_end_matches('/') != text {
        return None; // `a//b`, `a/./b`: one directory has one name
    }
    let below = |tree: &str| text == tree || text.strip_prefix(tree).is_some_and(|rest| rest.starts_with('/'));
    match parts[..] {
        ["Default"] => Some(Place::Passage),
        ["Default", name] if name.starts_with(KEPT_FILES) => Some(Place::File),
        _ => KEPT_TREES.into_iter().any(below).then_some(Place::Tree),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_linked_device_needs_has_a_place() {
        let cases = [
            ("Default", Some(Place::Passage)),
            ("Default/", Some(Place::Passage)),
            ("Default/IndexedDB", Some(Place::Tree)),
            ("Default/IndexedDB/https_web.whatsapp.com_0.indexeddb.leveldb/000003.log", Some(Place::Tree)),
            ("Default/Local Storage/leveldb/CURRENT", Some(Place::Tree)),
            ("Default/Cookies", Some(Place::File)),
            ("Default/Cookies-journal", Some(Place::File)),
            ("Default/Cookies/x", None),
            ("Default/IndexedDBs/x", None),
            ("Default/Cache/x", None),
            ("Default/Preferences", None),
            ("IndexedDB/x", None),
            ("SingletonLock", None),
            ("Local State", None),
            ("", None),
            (".", None),
            ("/Default/IndexedDB/x", None),
            ("Default/IndexedDB/../../x", None),
            ("Default/IndexedDB/./x", None),
            ("Default//IndexedDB/x", None),
            ("../Default/IndexedDB", None),
            ("Default/IndexedDB/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15", None),
        ];
        for (path, expected) in cases {
            assert_eq!(place(Path::new(path)), expected, "{path:?}");
        }
    }
}
