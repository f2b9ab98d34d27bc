//! The session's directory: which profile lies there, and how another takes its place.
//!
//! ```text
//! <session>/profile/     the profile in use
//!           restoring-*/ one that is being unpacked; of no use until it is renamed
//!           replaced/    an older one on its way out
//!           damaged-<ms>/ one that did not work any more, kept for a while without its caches; the newest few
//!           aside/<ms>/  IndexedDB as it was after a bad end of the browser, see there
//!           fence        the fence of the owner that used `profile` last
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use wafleet_profile::archive::{self, Prune};
use wafleet_protocol::id::SessionId;

use crate::database::Newest;

/// Where the next browser's profile comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// The one on the disk is the newest.
    Local,
    /// A snapshot is newer, or the disk has none.
    Restore,
    /// There is none, or the one on the disk belongs to a link that has ended.
    Empty,
}

/// What becomes of the profile that another one replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Old {
    /// It is older, or its link has ended: it goes.
    Replaced,
    /// It is newer and does not work: it is kept.
    SetAside {
        /// Since the Unix epoch.
        at: Duration,
    },
}

const DAMAGED: &str = "damaged-";
const RESTORING: &str = "restoring-";
/// Damaged profiles that are kept, without their caches.
const KEPT_DAMAGED: usize = 2;

/// The directory of a session.
#[derive(Debug, Clone)]
pub(super) struct Place {
    session_dir: PathBuf,
}

impl Place {
    pub(super) fn new(session_dir: &Path) -> Self {
        Self { session_dir: session_dir.to_owned() }
    }

    /// The directory that Chromium uses.
    pub(super) fn profile(&self) -> PathBuf {
        self.session_dir.join("profile")
    }

    /// Compares the disk with the database.
    pub(super) fn choose(&self, newest: Newest) -> io::Result<Choice> {
        let default = self.profile().join("Default");
        let there = default.join("IndexedDB").exists() || default.join("Local Storage").exists();
        Ok(choose(if there { Some(self.marked()?.unwrap_or(0)) } else { None }, newest))
    }

    /// The fence in the directory's mark.
    fn marked(&self) -> io::Result<Option<u64>> {
        match fs::read_to_string(self.mark_file()) {
            // A mark that nobody can read is as old as can be.
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Remembers that the owner with this fence uses the profile from now on.
    pub(super) fn mark(&self, fence: u64) -> io::Result<()> {
        let partial = self.session_dir.join("fence.partial");
        let mut file = File::create(&partial)?;
        file.write_all(fence.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(partial, self.mark_file())?;
        self.sync()
    }

    /// A path for a profile that is to be restored. What earlier tries left is removed; one that was given up may still
    /// be writing, so no path is used twice.
    pub(super) fn fresh(&self) -> io::Result<PathBuf> {
        self.entries(|name| name.starts_with(RESTORING))?.iter().try_for_each(|path| remove(path))?;
        Ok(self.session_dir.join(format!("{RESTORING}{:016x}", rand::random::<u64>())))
    }

    /// Takes away what was not restored to its end.
    pub(super) fn discard(&self, half: &Path) -> io::Result<()> {
        debug_assert!(half.starts_with(&self.session_dir));
        remove(half)
    }

    /// Puts the restored profile in the place of the one that lies there.
    pub(super) fn install(&self, restored: &Path, old: Old) -> io::Result<()> {
        match old {
            Old::Replaced => self.clear()?,
            Old::SetAside { at } => self.set_aside(at)?,
        }
        fs::rename(restored, self.profile())?;
        self.sync()
    }

    /// Whether an owner with a newer fence than this has used the directory.
    pub(super) fn used_since(&self, fence: u64) -> io::Result<bool> {
        Ok(self.marked()?.is_some_and(|mark| mark > fence))
    }

    /// Deletes the whole directory.
    pub(super) fn delete(&self) -> io::Result<()> {
        remove(&self.session_dir)
    }

    /// Takes the profile away, with the mark that a browser left on it.
    pub(super) fn clear(&self) -> io::Result<()> {
        let replaced = self.session_dir.join("replaced");
        remove(&replaced)?;
        match fs::rename(self.profile(), &replaced) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        remove(&self.session_dir.join("unclean"))?;
        remove(&replaced)
    }

    /// Keeps a profile that does not work any more: it is a person's link, and a heuristic deletes none.
    fn set_aside(&self, at: Duration) -> io::Result<()> {
        let profile = self.profile();
        if profile.exists() {
            archive::prune(&profile, Prune::All)?;
            fs::rename(&profile, self.session_dir.join(format!("{DAMAGED}{:014}", at.as_millis())))?;
        }
        let kept = self.entries(|name| name.starts_with(DAMAGED))?; // oldest first
        let old = kept.len().saturating_sub(KEPT_DAMAGED);
        kept.iter().take(old).try_for_each(|path| remove(path))?;
        remove(&self.session_dir.join("unclean"))
    }

    /// Deletes what was set aside before `now - aside`, and what was being unpacked before `now - partial`.
    pub(super) fn sweep(&self, now: Duration, aside: Duration, partial: Duration) -> io::Result<u64> {
        let mut old = Vec::new();
        let set_aside = |path: &Path, prefix: &str| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let millis = name.strip_prefix(prefix).and_then(|millis| millis.parse::<u64>().ok());
            millis.is_some_and(|millis| Duration::from_millis(millis) + aside < now)
        };
        old.extend(self.entries(|name| name.starts_with(DAMAGED))?.into_iter().filter(|path| set_aside(path, DAMAGED)));
        let copies = Self::new(&self.session_dir.join("aside")).entries(|_| true)?;
        old.extend(copies.into_iter().filter(|path| set_aside(path, "")));
        for path in self.entries(|name| name.starts_with(RESTORING) || name.starts_with(super::SCRATCH))? {
            let changed = path.symlink_metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            if changed + partial < now {
                old.push(path);
            }
        }
        old.iter().try_for_each(|path| remove(path))?;
        Ok(old.len() as u64)
    }

    /// Sorted by name.
    fn entries(&self, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.session_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            if wanted(&entry.file_name().to_string_lossy()) {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }

    fn mark_file(&self) -> PathBuf {
        self.session_dir.join("fence")
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.session_dir)?.sync_all()
    }
}

/// The directories of sessions below the root of the profiles: workspace, session, path. What has another form is none.
pub(super) fn sessions_below(root: &Path) -> io::Result<Vec<(u64, SessionId, PathBuf)>> {
    let mut sessions = Vec::new();
    for (name, workspace_dir) in directories(root)? {
        let Ok(workspace) = name.parse::<u64>() else { continue };
        for (name, path) in directories(&workspace_dir)? {
            if let Ok(session) = name.parse::<SessionId>() {
                sessions.push((workspace, session, path));
            }
        }
    }
    Ok(sessions)
}

fn directories(path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let (true, Ok(name)) = (entry.file_type()?.is_dir(), entry.file_name().into_string()) {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

/// `local` is the mark of the profile on the disk, if there is one.
fn choose(local: Option<u64>, newest: Newest) -> Choice {
    // A profile that was last used before the device was unlinked elsewhere holds a link that has ended.
    let local = local.filter(|mark| newest.unlinked.is_none_or(|unlinked| unlinked <= *mark));
    // What is left of an erased session is not used, whoever kept it.
    let local = local.filter(|mark| newest.erased.is_none_or(|erased| erased < *mark));
    match (local, newest.restorable) {
        (None, None) => Choice::Empty,
        (None, Some(_)) => Choice::Restore,
        (Some(mark), Some(saved)) if saved > mark => Choice::Restore,
        (Some(_), _) => Choice::Local,
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_profile_is_chosen_wherever_it_lies() {
        use Choice::{Empty, Local, Restore};
        let cases = [
            ("a new session", None, None, None, Empty),
            ("never saved", Some(1), None, None, Local),
            ("from before snapshots", Some(0), None, None, Local),
            ("saved here", Some(3), Some(3), None, Local),
            ("used here since it was saved", Some(4), Some(3), None, Local),
            ("saved by a newer owner elsewhere", Some(3), Some(5), None, Restore),
            ("another machine", None, Some(5), None, Restore),
            ("without a mark, and saved", Some(0), Some(5), None, Restore),
            ("unlinked here", Some(5), None, Some(5), Local),
            ("unlinked elsewhere since", Some(4), None, Some(5), Empty),
            ("unlinked elsewhere, linked again, saved", Some(4), Some(6), Some(5), Restore),
            ("unlinked elsewhere, linked again here", Some(6), None, Some(5), Local),
            ("unlinked, never here", None, None, Some(5), Empty),
        ];
        for (what, local, restorable, unlinked, expected) in cases {
            assert_eq!(choose(local, Newest { restorable, unlinked, erased: None }), expected, "{what}");
        }
        let erased = Newest { erased: Some(5), ..Newest::default() };
        assert_eq!(choose(Some(5), erased), Empty, "erased since");
        assert_eq!(choose(Some(7), erased), Local, "linked again since");
    }

    #[test]
    fn a_restored_profile_takes_the_place_of_the_old_one_and_of_its_marks() {
        let dir = std::env::temp_dir().join(format!("wafleet-place-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let place = Place::new(&dir);
        let write = |path: &str| {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().expect("not the root")).expect("made");
            fs::write(path, "x").expect("written");
        };
        write("profile/Default/IndexedDB/old");
        write("unclean");
        write("restoring-1/half/way");
        place.mark(3).expect("marked");
        let newer = Newest { restorable: Some(4), ..Newest::default() };
        assert_eq!(place.choose(newer).expect("chosen"), Choice::Restore);
        let restored = place.fresh().expect("free");
        assert!(!restored.exists());
        write(&format!("{}/Default/IndexedDB/new", restored.file_name().expect("a name").to_string_lossy()));
        place.install(&restored, Old::Replaced).expect("installed");
        place.mark(5).expect("marked");
        assert!(dir.join("profile/Default/IndexedDB/new").exists());
        for gone in ["profile/Default/IndexedDB/old", "unclean", "restoring-1", "replaced"] {
            assert!(!dir.join(gone).exists(), "{gone}");
        }
        assert_eq!(place.choose(newer).expect("chosen"), Choice::Local);
        fs::write(dir.join("fence"), "noise").expect("written");
        assert_eq!(place.choose(newer).expect("chosen"), Choice::Restore, "a mark that nobody can read is old");
        fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn a_damaged_profile_is_kept_without_its_caches_and_not_for_ever() {
        let dir = std::env::temp_dir().join(format!("wafleet-aside-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let place = Place::new(&dir);
        let second = Duration::from_secs;
        for at in 1..=3 {
            for path in
                ["profile/Default/IndexedDB/x", "profile/Default/Cache/x", "unclean", "restored/Default/Cookies"]
            {
                let path = dir.join(path);
                fs::create_dir_all(path.parent().expect("not the root")).expect("made");
                fs::write(path, "x").expect("written");
            }
            place.install(&dir.join("restored"), Old::SetAside { at: second(at) }).expect("installed");
        }
        let there = || place.entries(|name| name.starts_with(DAMAGED)).expect("read");
        assert_eq!(there(), ["damaged-00000000002000", "damaged-00000000003000"].map(|name| dir.join(name)));
        assert!(there()[0].join("Default/IndexedDB/x").exists() && !there()[0].join("Default/Cache").exists());
        assert!(dir.join("profile/Default/Cookies").exists() && !dir.join("unclean").exists());

        fs::create_dir_all(dir.join("aside/00000000001000/IndexedDB")).expect("made");
        fs::create_dir_all(dir.join("restoring-1")).expect("made");
        assert_eq!(place.sweep(second(12), second(10), second(10)).expect("swept"), 1, "the copy of IndexedDB");
        let now = crate::world::unix_time();
        assert_eq!(place.sweep(now, now - second(2), second(10)).expect("swept"), 0, "the partial one is young");
        assert_eq!(place.sweep(now + second(60), second(10), second(10)).expect("swept"), 3);
        assert!(there().is_empty() && !dir.join("restoring-1").exists());
        fs::remove_dir_all(dir).expect("removed");
    }
}
