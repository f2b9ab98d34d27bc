//! What of a profile may go while no browser runs on it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Place, place};

/// Compiled scripts and what the site's service worker keeps: never saved, but a start with them takes a quarter less of
/// the processor and a twentieth of the requests.
const CACHES: [&str; 2] = ["Default/Code Cache", "Default/Service Worker"];

/// How much is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// What is neither kept in an archive nor of use to the next start: histories, preferences, graphics caches, components.
    Useless,
    /// Everything that is not kept in an archive.
    All,
}

/// Takes away what is not needed; returns how many bytes that were. What an archive keeps is never touched. No browser may
/// run on the profile.
///
/// # Errors
/// Something cannot be read or deleted; the rest is still there.
pub fn prune(profile: &Path, prune: Prune) -> io::Result<u64> {
    let mut freed = 0;
    let mut passages = vec![PathBuf::new()];
    while let Some(passage) = passages.pop() {
        for entry in fs::read_dir(profile.join(&passage))? {
            let entry = entry?;
            let path = passage.join(entry.file_name());
            let cache = prune == Prune::Useless && CACHES.iter().any(|cache| path == Path::new(cache));
            match place(&path) {
                Some(Place::Passage) if entry.file_type()?.is_dir() => passages.push(path),
                Some(_) => {}
                None if cache => {}
                None => {
                    freed += size(&entry.path())?;
                    if entry.file_type()?.is_dir() {
                        fs::remove_dir_all(entry.path())?;
                    } else {
                        fs::remove_file(entry.path())?;
                    }
                }
            }
        }
    }
    Ok(freed)
}

/// Bytes of all files below a path, links not followed; 0 for a path that is not there.
///
/// # Errors
/// A directory cannot be read.
pub fn size(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            meta => meta?,
        };
        if meta.is_dir() {
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        } else {
            bytes += meta.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_go_before_anything_that_a_linked_device_needs() {
        let profile = std::env::temp_dir().join(format!("wafleet-prune-{}", std::process::id()));
        let _ = fs::remove_dir_all(&profile);
        let kept = ["Default/IndexedDB/site/1.ldb", "Default/Local Storage/leveldb/CURRENT", "Default/Cookies"];
        let caches = ["Default/Code Cache/js/1", "Default/Service Worker/CacheStorage/1"];
        let useless = ["Default/History", "Default/GPUCache/1", "Local State", "component_crx_cache/1"];
        for path in kept.iter().chain(&caches).chain(&useless) {
            let path = profile.join(path);
            fs::create_dir_all(path.parent().expect("not the root")).expect("made");
            fs::write(path, "12345").expect("written");
        }
        std::os::unix::fs::symlink("host-1", profile.join("SingletonLock")).expect("linked");
        let there = |paths: &[&str]| paths.iter().filter(|path| profile.join(path).exists()).count();
        assert_eq!(size(&profile).expect("read"), 9 * 5 + 6);

        assert_eq!(prune(&profile, Prune::Useless).expect("pruned"), 4 * 5 + 6);
        assert_eq!((there(&kept), there(&caches), there(&useless)), (3, 2, 0));
        assert!(profile.join("SingletonLock").symlink_metadata().is_err());
        assert_eq!(prune(&profile, Prune::All).expect("pruned"), 2 * 5);
        assert_eq!((there(&kept), there(&caches)), (3, 0));
        assert_eq!(prune(&profile, Prune::All).expect("pruned"), 0);
        assert_eq!(size(&profile.join("nothing")).expect("read"), 0);
        fs::remove_dir_all(profile).expect("removed");
    }
}
