//! A session's directory: made before the start, guarded after a bad end.
//!
//! ```text
//! <session>/profile/        Chromium's user-data dir
//!           tmp/            its working directory and TMPDIR; emptied at each start, but for
//!           tmp/cache/      the disk cache
//!           aside/<ms>/     IndexedDB as it was after a bad end, the newest few
//!           chromium.log    what it wrote to stderr, bounded
//!           unclean         there while a browser runs, and after it until its end is known to be good
//! ```

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Flavor, LaunchOptions};

/// The three links by which a Chromium says that it has a profile open. They survive a kill, name
/// host and process, and make a start on another host fail; the lease is what says who owns a profile.
const LOCKS: [&str; 3] = ["SingletonLock", "SingletonSocket", "SingletonCookie"];

/// Generations of IndexedDB that are kept aside. More than one, because a start after the first
/// copy may already have lost what the next copy then saves.
const KEPT_ASIDE: usize = 3;

impl LaunchOptions {
    pub(super) fn profile_dir(&self) -> PathBuf {
        self.session_dir.join("profile")
    }

    pub(super) fn tmp_dir(&self) -> PathBuf {
        self.session_dir.join("tmp")
    }

    pub(super) fn cache_dir(&self) -> PathBuf {
        self.tmp_dir().join("cache")
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.session_dir.join("chromium.log")
    }
}

/// An error together with the path that it is about.
pub(super) type PathError = (PathBuf, io::Error);

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, PathError> {
    result.map_err(|error| (path.to_owned(), error))
}

/// Makes the directories, saves what a bad end may have damaged, removes locks and left-overs.
///
/// The order matters: the copy is complete before the sign of the bad end goes away.
pub(super) fn prepare(options: &LaunchOptions, now: SystemTime) -> Result<Mark, PathError> {
    let (profile, tmp) = (options.profile_dir(), options.tmp_dir());
    for dir in [&options.session_dir, &profile, &tmp] {
        private_dir(dir)?;
    }
    if ended_badly(&options.session_dir) {
        set_aside(&options.session_dir, now)?;
    }
    for lock in LOCKS {
        remove(&profile.join(lock))?;
    }
    for entry in at(&tmp, fs::read_dir(&tmp))? {
        let entry = at(&tmp, entry)?;
        if entry.file_name() != OsStr::new("cache") {
            remove(&entry.path())?;
        }
    }
    let mark =
        Mark { path: options.session_dir.join(MARK), text: format!("{} {}", running(options.flavor), millis(now)) };
    at(&mark.path, fs::write(&mark.path, &mark.text))?;
    Ok(mark)
}

/// In the session's directory: what is known of the last browser's end.
const MARK: &str = "unclean";

/// What the mark says from the start on. If the worker dies, nobody is there to see the end.
fn running(flavor: Flavor) -> &'static str {
    match flavor {
        // Ends in good order when its worker dies, and then removes its lock.
        Flavor::Chromium => "running with a lock since",
        // Has no lock that could tell.
        Flavor::HeadlessShell => "running since",
    }
}

/// The mark of one run. A later run's mark is not touched by it.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    text: String,
}

impl Mark {
    /// Notes that the browser ended in good order, or that it did not.
    pub(super) fn note(&self, clean: bool) -> io::Result<()> {
        if fs::read_to_string(&self.path)? != self.text {
            return Ok(());
        }
        if clean { fs::remove_file(&self.path) } else { fs::write(&self.path, "ended badly") }
    }
}

/// Notes of whatever run was last that it ended badly.
pub(super) fn mark_unclean(session_dir: &Path) -> io::Result<()> {
    fs::write(session_dir.join(MARK), "ended badly")
}

/// Whether the last browser may have lost something: as the mark says, or because the lock was
/// left, which a Chromium that ends in order removes.
pub(super) fn ended_badly(session_dir: &Path) -> bool {
    let lock_left = session_dir.join("profile").join(LOCKS[0]).symlink_metadata().is_ok();
    match fs::read_to_string(session_dir.join(MARK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => lock_left,
        Ok(mark) if mark.starts_with(running(Flavor::Chromium)) => lock_left,
        _ => true,
    }
}

/// Copies IndexedDB: Chromium deletes a database that it finds damaged, and a kill under heavy
/// writing was measured to damage it in about half of the cases.
fn set_aside(session_dir: &Path, now: SystemTime) -> Result<(), PathError> {
    let source = session_dir.join("profile/Default/IndexedDB");
    if !source.exists() {
        return Ok(());
    }
    let aside = session_dir.join("aside");
    private_dir(&aside)?;
    let generation = aside.join(format!("{:014}", millis(now)));
    let partial = aside.join("partial");
    remove(&partial)?;
    copy_tree(&source, &partial.join("IndexedDB"))?;
    remove(&generation)?;
    at(&generation, fs::rename(&partial, &generation))?;
    prune_aside(&aside)
}

fn millis(now: SystemTime) -> u128 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

fn prune_aside(aside: &Path) -> Result<(), PathError> {
    let mut generations = Vec::new();
    for entry in at(aside, fs::read_dir(aside))? {
        generations.push(at(aside, entry)?.path());
    }
    generations.sort();
    let old = generations.len().saturating_sub(KEPT_ASIDE);
    generations.iter().take(old).try_for_each(|path| remove(path))
}

fn private_dir(path: &Path) -> Result<(), PathError> {
    let mut builder = fs::DirBuilder::new();
    at(path, builder.recursive(true).mode(0o700).create(path))?;
    // It may have been there before, with another mode.
    at(path, fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
}

/// Removes a file, a link (not what it points to) or a whole directory; a missing one is fine.
fn remove(path: &Path) -> Result<(), PathError> {
    let result = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => at(path, result),
    }
}

/// Copies files and directories; LevelDB has nothing else, and links are not followed.
fn copy_tree(from: &Path, to: &Path) -> Result<(), PathError> {
    private_dir(to)?;
    for entry in at(from, fs::read_dir(from))? {
        let entry = at(from, entry)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = at(&source, entry.file_type())?;
        if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else if kind.is_file() {
            at(&source, fs::copy(&source, &target))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::super::Sandbox;
    use super::*;

    struct Session(LaunchOptions);

    impl Session {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("wafleet-directory-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            Session(LaunchOptions {
                executable: "/chromium".into(),
                flavor: Flavor::Chromium,
                sandbox: Sandbox::Off,
                session_dir: dir,
                extra_args: Vec::new(),
            })
        }

        fn prepare(&self, second: u64) -> Mark {
            prepare(&self.0, UNIX_EPOCH + Duration::from_secs(second)).expect("prepared")
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.session_dir.join(path);
            fs::create_dir_all(path.parent().expect("not the root")).expect("made");
            fs::write(path, text).expect("written");
        }

        fn lock(&self) {
            for lock in LOCKS {
                symlink("host-1234", self.0.profile_dir().join(lock)).expect("linked");
            }
        }

        fn aside(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(self.0.session_dir.join("aside"))
                .map(|dir| dir.map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8")).collect())
                .unwrap_or_default();
            names.sort();
            names
        }
    }

    impl Drop for Session {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0.session_dir);
        }
    }

    #[test]
    fn directories_are_private_even_when_they_were_not() {
        let session = Session::new("private");
        fs::create_dir_all(session.0.profile_dir()).expect("made");
        session.prepare(1);
        for dir in [&session.0.session_dir, &session.0.profile_dir(), &session.0.tmp_dir()] {
            let mode = fs::metadata(dir).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{dir:?}");
        }
    }

    #[test]
    fn a_lock_that_was_left_means_a_copy_and_then_is_gone() {
        let session = Session::new("locks");
        session.prepare(1);
        session.write("profile/Default/IndexedDB/site/000003.log", "records");
        session.prepare(2);
        assert!(session.aside().is_empty(), "a good end needs no copy");
        session.lock();
        assert!(ended_badly(&session.0.session_dir));
        session.prepare(3);
        assert!(!ended_badly(&session.0.session_dir));
        assert_eq!(session.aside(), ["00000000003000"]);
        let copy = "aside/00000000003000/IndexedDB/site/000003.log";
        let copy = fs::read_to_string(session.0.session_dir.join(copy)).expect("copied");
        assert_eq!(copy, "records");
    }

    #[test]
    fn without_a_lock_only_a_known_end_is_a_good_one() {
        let mut session = Session::new("shell");
        session.0.flavor = Flavor::HeadlessShell;
        let first = session.prepare(1);
        session.write("profile/Default/IndexedDB/x", "x");
        assert!(ended_badly(&session.0.session_dir));
        first.note(true).expect("noted");
        assert!(!ended_badly(&session.0.session_dir));
        let second = session.prepare(2);
        assert!(session.aside().is_empty());
        first.note(true).expect("of another run");
        assert!(ended_badly(&session.0.session_dir));
        second.note(false).expect("noted");
        session.prepare(3);
        assert_eq!(session.aside().len(), 1);
    }

    #[test]
    fn a_mark_means_a_copy_and_only_the_newest_copies_stay() {
        let session = Session::new("marks");
        session.prepare(1);
        session.write("profile/Default/IndexedDB/x", "x");
        for second in 2..8 {
            mark_unclean(&session.0.session_dir).expect("marked");
            session.prepare(second);
        }
        assert_eq!(session.aside(), ["00000000005000", "00000000006000", "00000000007000"]);
    }

    #[test]
    fn the_temporary_directory_is_emptied_but_for_the_cache() {
        let session = Session::new("tmp");
        session.prepare(1);
        session.write("tmp/org.chromium.Chromium.abc/SingletonSocket", "");
        session.write("tmp/cache/Default/index", "cached");
        session.prepare(2);
        let left: Vec<_> =
            fs::read_dir(session.0.tmp_dir()).expect("there").map(|e| e.expect("an entry").file_name()).collect();
        assert_eq!(left, ["cache"]);
    }
}
