use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use ulid::Ulid;

use super::*;

const LIMIT: u64 = 1 << 30;

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("wafleet-spool-{}", Ulid::from_parts(0, rand::random())));
        std::fs::create_dir(&path).expect("made");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // whatever is left is in the directory for temporary files
    }
}

fn ring() -> Arc<Ring> {
    let key = serde_json::json!({"id": "k", "secret": STANDARD.encode([7; 32])});
    Arc::new(Ring::parse(&serde_json::json!({ "keys": [key] }).to_string()).expect("a ring"))
}

fn text(plain: &[u8]) -> Option<String> {
    String::from_utf8(plain.to_vec()).ok()
}

/// What the next process finds below `root`.
fn found(root: &Path) -> Vec<String> {
    let left = leftovers(root, &ring(), &mut BTreeSet::new(), text).expect("the root can be listed");
    left.into_iter().flat_map(|left| left.open).map(|(_, _, text)| text).collect()
}

/// A killed process leaves its files and holds its lock no longer.
fn kill(spool: Spool, root: &Path) -> Scratch {
    let copy = Scratch::new();
    for folder in std::fs::read_dir(root).expect("listed").flatten() {
        let to = copy.path().join(folder.file_name());
        std::fs::create_dir(&to).expect("made");
        for file in std::fs::read_dir(folder.path()).expect("listed").flatten() {
            std::fs::copy(file.path(), to.join(file.file_name())).expect("copied");
        }
    }
    drop(spool);
    copy
}

#[test]
fn what_was_not_struck_off_is_found_in_order_and_nobody_can_read_it() {
    let root = Scratch::new();
    let mut spool = Spool::create(root.path(), ring(), LIMIT).expect("created");
    let handles: Vec<Handle> = (0..10).map(|n| spool.append(format!("secret {n}").as_bytes()).expect("fits")).collect();
    for index in [0, 1, 4, 9] {
        spool.strike(handles[index]);
    }
    assert_eq!(spool.read(handles[5]).ok().as_deref(), Some(&b"secret 5"[..]));
    assert!(found(root.path()).is_empty(), "a living process is adopted");
    let after = kill(spool, root.path());
    for file in segment::files(&folders(after.path())[0]).expect("listed") {
        let bytes = std::fs::read(file).expect("read");
        assert!(!bytes.windows(6).any(|window| window == b"secret"), "readable at rest");
    }
    assert_eq!(found(after.path()), ["secret 2", "secret 3", "secret 5", "secret 6", "secret 7", "secret 8"]);
}

fn folders(root: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(root).expect("listed").flatten().map(|entry| entry.path()).collect()
}

#[test]
fn a_process_that_ends_with_nothing_open_leaves_nothing() {
    let root = Scratch::new();
    let mut spool = Spool::create(root.path(), ring(), LIMIT).expect("created");
    let handle = spool.append(b"one").expect("fits");
    spool.strike(handle);
    drop(spool);
    assert!(folders(root.path()).is_empty());
}

#[test]
fn an_adopted_folder_goes_when_all_of_it_is_struck_off() {
    let root = Scratch::new();
    let mut first = Spool::create(root.path(), ring(), LIMIT).expect("created");
    for n in 0..3 {
        first.append(format!("event {n}").as_bytes()).expect("fits");
    }
    let after = kill(first, root.path());
    let mut second = Spool::create(after.path(), ring(), LIMIT).expect("created");
    let mut known = BTreeSet::new();
    let mut left = leftovers(after.path(), &ring(), &mut known, text).expect("listed");
    let adopted = second.adopt(left.remove(0));
    assert!(found(after.path()).is_empty(), "adopted twice");
    assert_eq!(adopted.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["event 0", "event 1", "event 2"]);
    for (handle, text) in &adopted {
        assert_eq!(second.read(*handle).ok().as_deref(), Some(text.as_bytes()));
        second.strike(*handle);
    }
    drop(second);
    assert!(folders(after.path()).is_empty());
}

#[test]
fn segments_go_as_they_are_finished_and_one_open_event_keeps_no_others() {
    let root = Scratch::new();
    let mut spool = Spool::create(root.path(), ring(), LIMIT).expect("created");
    let event = vec![b'x'; 8 * 1024];
    let stuck = spool.append(b"stuck").expect("fits");
    for _ in 0..1_000 {
        let handle = spool.append(&event).expect("fits");
        spool.strike(handle);
        spool.compact().expect("fits");
    }
    let newer = spool.append(b"newer").expect("fits");
    assert!(spool.bytes() < 3 * SEGMENT_MOST, "{} bytes for two events", spool.bytes());
    assert_eq!(spool.read(stuck).ok().as_deref(), Some(&b"stuck"[..]));
    assert_eq!(spool.read(newer).ok().as_deref(), Some(&b"newer"[..]));
    let after = kill(spool, root.path());
    assert_eq!(found(after.path()), ["stuck", "newer"], "the order is that of the events");
}

#[test]
fn another_ring_reads_nothing_and_deletes_nothing() {
    let root = Scratch::new();
    let mut spool = Spool::create(root.path(), ring(), LIMIT).expect("created");
    spool.append(b"kept").expect("fits");
    let after = kill(spool, root.path());
    let other = serde_json::json!({"id": "other", "secret": STANDARD.encode([8; 32])});
    let other = Ring::parse(&serde_json::json!({ "keys": [other] }).to_string()).expect("a ring");
    let mut known = BTreeSet::new();
    let left = leftovers(after.path(), &other, &mut known, text).expect("listed");
    assert!(left.iter().all(|left| left.open.is_empty()));
    drop(left);
    assert_eq!(known.len(), 1, "it is complained of once");
    assert_eq!(found(after.path()), ["kept"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Killed at any byte of what it wrote: what was written whole before is found, in order, and nothing else.
    #[test]
    fn a_crash_at_any_byte_loses_nothing_that_was_written_before_it(
        sizes in proptest::collection::vec(0_usize..400, 1..12),
        struck in proptest::collection::vec(any::<bool>(), 12),
        cut in any::<prop::sample::Index>(),
    ) {
        let root = Scratch::new();
        let mut spool = Spool::create(root.path(), ring(), LIMIT).expect("created");
        let mut whole = Vec::new(); // the length of the file once record n is in it
        for (n, size) in sizes.iter().enumerate() {
            let handle = spool.append(format!("{n} {}", "x".repeat(*size)).as_bytes()).expect("fits");
            whole.push(spool.bytes());
            if struck[n] && n + 1 < sizes.len() {
                spool.strike(handle);
            }
        }
        let after = kill(spool, root.path());
        let file = segment::files(&folders(after.path())[0]).expect("listed").remove(0);
        let length = cut.index(usize::try_from(whole[sizes.len() - 1]).expect("small") + 1) as u64;
        std::fs::OpenOptions::new().write(true).open(&file).and_then(|file| file.set_len(length)).expect("cut");
        let expected: Vec<String> = (0..sizes.len())
            .filter(|n| whole[*n] <= length && !(struck[*n] && n + 1 < sizes.len()))
            .map(|n| format!("{n} {}", "x".repeat(sizes[n])))
            .collect();
        prop_assert_eq!(found(after.path()), expected);
    }

    /// Any byte flipped: what is found is what was written, without the record that was hit.
    #[test]
    fn a_damaged_byte_never_becomes_an_event(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let root = Scratch::new();
        let mut spool = Spool::create(root.path(), ring(), LIMIT).expect("created");
        for n in 0..5 {
            spool.append(format!("event {n}").as_bytes()).expect("fits");
        }
        let after = kill(spool, root.path());
        let file = segment::files(&folders(after.path())[0]).expect("listed").remove(0);
        let mut bytes = std::fs::read(&file).expect("read");
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        std::fs::write(&file, bytes).expect("written");
        let found = found(after.path());
        let written: Vec<String> = (0..5).map(|n| format!("event {n}")).collect();
        prop_assert!(found.iter().all(|event| written.contains(event)), "{:?}", found);
        prop_assert!(found.is_sorted());
    }
}
