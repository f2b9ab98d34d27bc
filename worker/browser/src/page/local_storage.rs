//! The files in which Chromium keeps `localStorage`, watched for the moment at which it is written.
//!
//! Chromium writes `localStorage` seconds to minutes after a change. When the last tab of a site is
//! closed it writes at once, about 10 ms later; but if the site is opened again before that, the
//! write is put off as if nothing had happened. So whoever closes a tab to get its data to disk
//! has to wait for the write before he opens the site again.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

/// Where nothing had changed, nothing is written: after this there is nothing to wait for.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// All of a site's changes go out in one write; a second would follow at once.
const STEADY: Duration = Duration::from_millis(60);

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The log files' names and sizes: they grow, and are replaced, by writing only.
type Logs = Vec<(std::ffi::OsString, u64)>;

#[derive(Debug, Clone)]
pub(super) struct LocalStorage {
    directory: PathBuf,
}

impl LocalStorage {
    /// Of the profile in this user-data dir.
    pub(super) fn of(user_data_dir: &std::path::Path) -> Self {
        LocalStorage { directory: user_data_dir.join("Default/Local Storage/leveldb") }
    }

    /// What is on disk now.
    pub(super) fn logs(&self) -> Logs {
        let Ok(entries) = std::fs::read_dir(&self.directory) else {
            return Logs::new();
        };
        let mut logs: Logs = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"))
            .filter_map(|entry| Some((entry.file_name(), entry.metadata().ok()?.len())))
            .collect();
        logs.sort();
        logs
    }

    /// Waits until something was written since `before`; `false` when nothing was.
    pub(super) async fn written_since(&self, before: &Logs) -> bool {
        let begun = Instant::now();
        let mut last = self.logs();
        let mut changed: Option<Instant> = (last != *before).then_some(begun);
        loop {
            if changed.is_some_and(|since| since.elapsed() >= STEADY) {
                return true;
            }
            if begun.elapsed() >= WRITTEN_WITHIN {
                return changed.is_some();
            }
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.logs();
            if now != last {
                last = now;
                changed = Some(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_is_seen_whether_it_came_before_or_comes_later_and_its_absence_too() {
        let dir = std::env::temp_dir().join(format!("wafleet-local-storage-{}", std::process::id()));
        let storage = LocalStorage::of(&dir);
        std::fs::create_dir_all(&storage.directory).expect("made");
        let log = storage.directory.join("000003.log");
        let empty = storage.logs();
        assert!(empty.is_empty());
        std::fs::write(&log, "one").expect("written");
        assert!(storage.written_since(&empty).await);
        let one = storage.logs();
        let later = tokio::spawn({
            let (storage, one) = (storage.clone(), one.clone());
            async move { storage.written_since(&one).await }
        });
        tokio::time::sleep(LOOK_EVERY).await;
        std::fs::write(&log, "one and two").expect("written");
        assert!(later.await.expect("no panic"));
        tokio::time::pause();
        assert!(!storage.written_since(&storage.logs()).await);
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
