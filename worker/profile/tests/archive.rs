//! The archive: what is kept, what is refused, and what an archive made by an enemy can do, which is nothing.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use wafleet_profile::archive::{Limits, PackError, UnpackError, pack, unpack};

/// A directory of one test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wafleet-archive-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("made");
        Self(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("not the root")).expect("made");
        fs::write(path, text).expect("written");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Every path below a directory with its text; directories end with a slash.
fn tree(root: &Path) -> Vec<(String, String)> {
    fn walk(root: &Path, path: &Path, into: &mut Vec<(String, String)>) {
        let name = path.strip_prefix(root).expect("below").display().to_string();
        if path.is_dir() {
            into.push((format!("{name}/"), String::new()));
            let mut inside: Vec<_> =
                fs::read_dir(path).expect("read").map(|entry| entry.expect("entry").path()).collect();
            inside.sort();
            inside.iter().for_each(|path| walk(root, path, into));
        } else {
            into.push((name, fs::read_to_string(path).expect("read")));
        }
    }
    let mut all = Vec::new();
    walk(root, root, &mut all);
    all
}

fn profile() -> Scratch {
    let scratch = Scratch::new();
    for (path, text) in [
        ("p/Default/IndexedDB/http_1/000003.log", "keys"),
        ("p/Default/IndexedDB/http_1/LOCK", ""),
        ("p/Default/Local Storage/leveldb/CURRENT", "MANIFEST"),
        ("p/Default/Cookies", "cookies"),
        ("p/Default/Cookies-journal", ""),
        ("p/Default/Cache/f_1", "a large file nobody needs"),
        ("p/Default/Preferences", "{}"),
        ("p/Local State", "{}"),
    ] {
        scratch.write(path, text);
    }
    symlink("host-1", scratch.0.join("p/SingletonLock")).expect("linked");
    symlink("/etc/passwd", scratch.0.join("p/Default/Favicons")).expect("linked");
    scratch
}

#[test]
fn a_profile_comes_back_as_what_a_linked_device_needs_and_for_nobody_else_to_read() {
    let scratch = profile();
    let mut archive = Vec::new();
    let packed = pack(&scratch.0.join("p"), &mut archive, Limits::default()).expect("packed");
    assert_eq!((packed.files, packed.bytes), (5, 19));
    let out = scratch.0.join("out");
    let unpacked = unpack(&archive[..], &out, Limits::default()).expect("unpacked");
    assert_eq!((unpacked.files, unpacked.bytes), (5, 19));
    let expected = [
        ("/", ""),
        ("Default/", ""),
        ("Default/Cookies", "cookies"),
        ("Default/Cookies-journal", ""),
        ("Default/IndexedDB/", ""),
        ("Default/IndexedDB/http_1/", ""),
        ("Default/IndexedDB/http_1/000003.log", "keys"),
        ("Default/IndexedDB/http_1/LOCK", ""),
        ("Default/Local Storage/", ""),
        ("Default/Local Storage/leveldb/", ""),
        ("Default/Local Storage/leveldb/CURRENT", "MANIFEST"),
    ];
    let found = tree(&out);
    assert_eq!(found, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
    for (path, _) in found {
        let mode = fs::metadata(out.join(path.trim_start_matches('/'))).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, if path.ends_with('/') { 0o700 } else { 0o600 }, "{path}");
    }
    let mut again = Vec::new();
    pack(&out, &mut again, Limits::default()).expect("packed");
    assert!(archive == again, "the same profile gives the same archive");
    assert!(matches!(unpack(&archive[..], &out, Limits::default()), Err(UnpackError::Write { .. })), "it exists");
}

#[test]
fn a_profile_that_is_too_large_strange_or_empty_is_not_packed() {
    let scratch = profile();
    let at = |limits| pack(&scratch.0.join("p"), std::io::sink(), limits);
    assert!(matches!(at(Limits { bytes: 18, entries: 100 }), Err(PackError::Bytes { limit: 18 })));
    assert!(matches!(at(Limits { bytes: 19, entries: 9 }), Err(PackError::Entries { limit: 9 })));
    at(Limits { bytes: 19, entries: 10 }).expect("exactly at the limits");
    symlink("/etc/passwd", scratch.0.join("p/Default/IndexedDB/link")).expect("linked");
    let strange = at(Limits::default()).expect_err("a link");
    assert!(
        matches!(&strange, PackError::Strange { path } if path == Path::new("Default/IndexedDB/link")),
        "{strange}"
    );
    let nothing = |path: &str| pack(&scratch.0.join(path), std::io::sink(), Limits::default());
    assert!(matches!(nothing("missing"), Err(PackError::Empty)));
    scratch.write("q/Default/Preferences", "{}");
    assert!(matches!(nothing("q"), Err(PackError::Empty)));
}

type Entry<'a> = (&'a str, tar::EntryType, &'a [u8]);

/// An archive with entries as the enemy wants them: paths go in byte by byte.
fn hostile(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, kind, data) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(data.len() as u64);
        header.set_mode(0o777);
        header.as_ustar_mut().expect("ustar").linkname[..11].copy_from_slice(b"/etc/passwd");
        header.set_cksum();
        archive.append(&header, *data).expect("appended");
    }
    zstd::encode_all(&archive.into_inner().expect("finished")[..], 3).expect("packed")
}

#[test]
fn an_archive_made_by_an_enemy_reaches_nothing_outside() {
    use tar::EntryType as T;
    let default: Entry<'_> = ("Default/", T::Directory, b"");
    let cases: Vec<(&str, Vec<Entry<'_>>)> = vec![
        ("parent", vec![default, ("Default/../../evil", T::Regular, b"x")]),
        ("parent inside", vec![default, ("Default/IndexedDB/../../../evil", T::Regular, b"x")]),
        ("absolute", vec![("/tmp/wafleet-evil", T::Regular, b"x")]),
        ("elsewhere", vec![("evil", T::Regular, b"x")]),
        ("not on the list", vec![default, ("Default/Preferences", T::Regular, b"x")]),
        ("a lock", vec![("SingletonLock", T::Symlink, b"")]),
        ("symlink", vec![default, ("Default/IndexedDB", T::Symlink, b"")]),
        ("symlink at a file's place", vec![default, ("Default/Cookies", T::Symlink, b"")]),
        ("hard link", vec![default, ("Default/Cookies", T::Link, b"")]),
        ("character device", vec![default, ("Default/Cookies", T::Char, b"")]),
        ("block device", vec![default, ("Default/Cookies", T::Block, b"")]),
        ("pipe", vec![default, ("Default/Cookies", T::Fifo, b"")]),
        ("sparse file", vec![default, ("Default/Cookies", T::GNUSparse, b"")]),
        ("long name", vec![("Default/Cookies", T::GNULongName, b"/tmp/wafleet-evil\0"), ("x", T::Regular, b"x")]),
        ("extended header", vec![("Default/Cookies", T::XHeader, b"25 path=/tmp/wafleet-evil\n")]),
        ("directory as a file", vec![default, ("Default/Cookies", T::Directory, b"")]),
        ("passage as a file", vec![("Default", T::Regular, b"x")]),
        (
            "the same file twice",
            vec![default, ("Default/Cookies", T::Regular, b"x"), ("Default/Cookies", T::Regular, b"y")],
        ),
        ("the same directory twice", vec![default, default]),
        ("a file before its directory", vec![("Default/IndexedDB/x", T::Regular, b"x")]),
    ];
    for (what, entries) in cases {
        let scratch = Scratch::new();
        let error = unpack(&hostile(&entries)[..], &scratch.0.join("out"), Limits::default()).expect_err(what);
        assert!(matches!(error, UnpackError::Forbidden { .. } | UnpackError::Write { .. }), "{what}: {error:?}");
        assert_eq!(fs::read_dir(&scratch.0).expect("read").count(), 1, "{what}");
        assert!(!Path::new("/tmp/wafleet-evil").exists(), "{what}");
    }
}

#[test]
fn an_archive_larger_than_its_limits_is_stopped_while_it_is_small() {
    use tar::EntryType as T;
    let scratch = Scratch::new();
    let mut count = 0;
    let mut refusal = |archive: &[u8], limits| {
        count += 1;
        let out = scratch.0.join(count.to_string());
        let error = unpack(archive, &out, limits).expect_err("refused");
        let written: u64 = tree(&out).iter().map(|(_, text)| text.len() as u64).sum();
        assert!(written <= 40_000_000, "{written} bytes were written");
        error
    };
    let small = Limits { bytes: 10, entries: 3 };
    let files = |n: usize| -> Vec<u8> {
        let names: Vec<String> = (0..n).map(|n| format!("Default/Cookies{n}")).collect();
        let mut entries: Vec<Entry<'_>> = vec![("Default/", T::Directory, b"")];
        entries.extend(names.iter().map(|name| (name.as_str(), T::Regular, &b"12345"[..])));
        hostile(&entries)
    };
    unpack(&files(2)[..], &scratch.0.join("fits"), small).expect("exactly at the limits");
    assert!(matches!(refusal(&files(3), Limits { bytes: 15, ..small }), UnpackError::Entries { limit: 3 }));
    assert!(matches!(refusal(&files(3), Limits { entries: 9, ..small }), UnpackError::Bytes { limit: 10 }));
    let zeroes = vec![0; 90_000_000];
    let bomb = hostile(&[("Default/", T::Directory, b""), ("Default/Cookies", T::Regular, &zeroes)]);
    assert!(matches!(refusal(&bomb, Limits::default()), UnpackError::Ratio), "{} bytes of bomb", bomb.len());
    // An entry that claims more than there is.
    let mut header = tar::Header::new_ustar();
    header.set_path("Default").expect("short");
    header.set_entry_type(T::Directory);
    header.set_cksum();
    let mut claims = header.as_bytes().to_vec();
    header.set_path("Default/Cookies").expect("short");
    header.set_entry_type(T::Regular);
    header.set_size(u64::MAX / 2);
    header.set_cksum();
    claims.extend_from_slice(header.as_bytes());
    let claims = zstd::encode_all(&claims[..], 3).expect("packed");
    let error = refusal(&claims, Limits::default());
    assert!(matches!(error, UnpackError::Bytes { .. } | UnpackError::Read(_)), "{error:?}");
}

#[test]
fn an_archive_that_is_cut_changed_or_followed_by_something_is_refused() {
    let scratch = profile();
    let mut archive = Vec::new();
    pack(&scratch.0.join("p"), &mut archive, Limits::default()).expect("packed");
    let mut count = 0;
    let mut refused = |archive: &[u8], what: &str| {
        count += 1;
        let out = scratch.0.join(format!("out{count}"));
        unpack(archive, &out, Limits::default()).expect_err(what)
    };
    for cut in 0..archive.len() {
        refused(&archive[..cut], &format!("cut to {cut}"));
    }
    assert!(matches!(refused(&[&archive[..], b"x"].concat(), "a byte more"), UnpackError::Trailing));
    assert!(matches!(refused(&[&archive[..], &archive].concat(), "twice"), UnpackError::Trailing));
    let mut inside = zstd::decode_all(&archive[..]).expect("plain");
    inside.write_all(b"hidden").expect("written");
    let inside = zstd::encode_all(&inside[..], 3).expect("packed");
    assert!(matches!(refused(&inside, "hidden after the end"), UnpackError::Trailing));
    assert!(matches!(refused(b"not an archive", "noise"), UnpackError::Read(_)));
}
