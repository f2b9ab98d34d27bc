//! The container against everything that can be done to one: each attack is refused, and no byte comes out that the
//! sealer did not put in that place.

use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};
use wafleet_profile::container::{Binding, CHUNK, Chunks, Header, Keys, OpenError, Opener, Sealer};
use wafleet_profile::keys::{Ring, SessionKey};

const BINDING: Binding<'static> = Binding { workspace: 7, session: "shop", generation: 3, fence: 12 };

fn ring(keys: &[(&str, u8)]) -> Ring {
    let keys: Vec<_> =
        keys.iter().map(|(id, fill)| serde_json::json!({"id": id, "secret": STANDARD.encode([*fill; 32])})).collect();
    Ring::parse(&serde_json::json!({ "keys": keys }).to_string()).expect("a ring")
}

fn session_key(seed: u64) -> SessionKey {
    SessionKey::generate(&mut StdRng::seed_from_u64(seed))
}

fn plain(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(99).fill_bytes(&mut bytes);
    bytes
}

fn seal(keys: Keys<'_>, binding: &Binding<'_>, plain: &[u8], seed: u64) -> (Header, Vec<Vec<u8>>) {
    let mut chunks = Vec::new();
    let (header, mut sealer) = Sealer::new(keys, binding, StdRng::seed_from_u64(seed), |chunk| {
        chunks.push(chunk);
        Ok(())
    });
    sealer.write_all(plain).expect("sealed");
    sealer.finish().expect("sealed");
    (header, chunks)
}

/// The plain text, or what came out before the refusal and the refusal.
fn open(
    header: &Header,
    keys: Keys<'_>,
    binding: &Binding<'_>,
    chunks: impl IntoIterator<Item = Vec<u8>>,
) -> Result<Vec<u8>, (Vec<u8>, OpenError)> {
    let chunks = chunks.into_iter().map(Ok);
    let mut opener = Opener::new(header, keys, binding, chunks).map_err(|error| (Vec::new(), error))?;
    let mut out = Vec::new();
    match opener.read_to_end(&mut out) {
        Ok(_) => Ok(out),
        Err(error) => {
            assert!(opener.read(&mut [0]).is_err(), "a refused container stays refused");
            assert!(OpenError::of(&error).is_some(), "{error:?}");
            let inner = error.into_inner().expect("it has a reason").downcast::<OpenError>().expect("an OpenError");
            Err((out, *inner))
        }
    }
}

#[test]
fn what_was_sealed_opens_whatever_its_length() {
    let (ring, session) = (ring(&[("a", 1)]), session_key(1));
    let keys = Keys { ring: &ring, session: &session };
    for length in [0, 1, 15, 16, 17, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5] {
        let plain = plain(length);
        let (header, chunks) = seal(keys, &BINDING, &plain, 5);
        assert_eq!(chunks.len(), length.div_ceil(CHUNK).max(1), "{length}");
        let header = Header::parse(&header.to_bytes()).expect("it reads back");
        assert!(open(&header, keys, &BINDING, chunks).expect("it opens") == plain, "{length}");
    }
}

#[test]
fn one_stream_of_bytes_holds_header_and_chunks() {
    let (ring, session) = (ring(&[("a", 1)]), session_key(1));
    let keys = Keys { ring: &ring, session: &session };
    let plain = plain(2 * CHUNK + 77);
    let (header, chunks) = seal(keys, &BINDING, &plain, 5);
    let file = [header.to_bytes(), chunks.concat()].concat();
    let open_file = |mut file: &[u8]| -> Result<Vec<u8>, String> {
        let header = Header::read(&mut file).map_err(|error| error.to_string())?;
        let mut out = Vec::new();
        let opener = Opener::new(&header, keys, &BINDING, Chunks::new(file)).map_err(|error| error.to_string());
        opener?.read_to_end(&mut out).map_err(|error| error.to_string())?;
        Ok(out)
    };
    assert!(open_file(&file).expect("it opens") == plain);
    for cut in [0, 27, 28, 30, header.to_bytes().len() - 1, header.to_bytes().len(), file.len() / 2, file.len() - 1] {
        assert!(open_file(&file[..cut]).is_err(), "cut to {cut} bytes");
    }
    for extra in [&[0][..], &[1, 0, 0, 0, 16], &file] {
        assert!(open_file(&[&file, extra].concat()).is_err(), "{} bytes after the end", extra.len());
    }
}

#[test]
fn every_rearrangement_of_chunks_is_refused_at_the_chunk_it_concerns() {
    let (ring, session) = (ring(&[("a", 1)]), session_key(1));
    let keys = Keys { ring: &ring, session: &session };
    let plain = plain(4 * CHUNK + 100);
    let (header, chunks) = seal(keys, &BINDING, &plain, 5);
    let (_, others) = seal(keys, &BINDING, &plain, 6); // the same snapshot, sealed again
    type Attack = fn(&mut Vec<Vec<u8>>, &[Vec<u8>]);
    let attacks: [(&str, u64, Attack); 15] = [
        ("nothing at all", 0, |c, _| c.clear()),
        ("the last chunk is missing", 4, |c, _| drop(c.pop())),
        ("the first chunk is missing", 0, |c, _| drop(c.remove(0))),
        ("a middle chunk is missing", 2, |c, _| drop(c.remove(2))),
        ("two chunks are swapped", 1, |c, _| c.swap(1, 2)),
        ("a chunk is doubled", 2, |c, _| c.insert(1, c[1].clone())),
        ("the last chunk is doubled", 5, |c, _| c.push(c[4].clone())),
        ("the last chunk comes early", 1, |c, _| {
            let last = c[4].clone();
            c.insert(1, last);
        }),
        ("an empty chunk is appended", 5, |c, _| c.push(Vec::new())),
        ("a chunk of another sealing", 3, |c, others| c[3] = others[3].clone()),
        ("a middle chunk says that it is the last", 1, |c, _| c[1][0] = 1),
        ("the last chunk says that it is not", 4, |c, _| c[4][0] = 0),
        ("the length is another", 2, |c, _| c[2][4] ^= 16),
        ("a chunk is cut short by a block", 1, |c, _| {
            let length = c[1].len() - 16;
            c[1].truncate(length);
        }),
        ("a chunk is longer by a block", 1, |c, _| c[1].extend([0; 16])),
    ];
    for (what, index, attack) in attacks {
        let mut changed = chunks.clone();
        attack(&mut changed, &others);
        let (out, error) = open(&header, keys, &BINDING, changed).expect_err(what);
        assert!(matches!(error, OpenError::Damaged { index: at, .. } if at == index), "{what}: {error}");
        assert!(plain.starts_with(&out), "{what}: bytes came out that were never sealed");
        assert!(out.len() <= usize::try_from(index).expect("small") * CHUNK, "{what}: an unverified chunk came out");
    }
}

#[test]
fn a_snapshot_opens_in_its_own_place_with_both_of_its_keys_only() {
    let (ring_a, session) = (ring(&[("a", 1)]), session_key(1));
    let keys = Keys { ring: &ring_a, session: &session };
    let (header, chunks) = seal(keys, &BINDING, b"credentials", 5);
    let (wrong_secret, other_ring, other_session) = (ring(&[("a", 2)]), ring(&[("b", 1)]), session_key(2));
    let cases = [
        ("another workspace", keys, Binding { workspace: 8, ..BINDING }),
        ("another session", keys, Binding { session: "Shop", ..BINDING }),
        ("another generation", keys, Binding { generation: 2, ..BINDING }),
        ("another fence", keys, Binding { fence: 13, ..BINDING }),
        ("another secret under the same id", Keys { ring: &wrong_secret, session: &session }, BINDING),
        ("another session key", Keys { ring: &ring_a, session: &other_session }, BINDING),
    ];
    for (what, keys, binding) in cases {
        let (out, error) = open(&header, keys, &binding, chunks.clone()).expect_err(what);
        assert!(matches!(&error, OpenError::Refused { key_id } if key_id == "a"), "{what}: {error}");
        assert!(out.is_empty(), "{what}");
    }
    let (_, error) =
        open(&header, Keys { ring: &other_ring, session: &session }, &BINDING, chunks).expect_err("no key");
    assert!(matches!(&error, OpenError::KeyMissing { key_id } if key_id == "a"), "{error}");
}

#[test]
fn a_header_with_any_bit_changed_or_any_byte_missing_is_refused() {
    let (ring, session) = (ring(&[("a", 1)]), session_key(1));
    let keys = Keys { ring: &ring, session: &session };
    let (header, chunks) = seal(keys, &BINDING, b"credentials", 5);
    let bytes = header.to_bytes();
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[position] ^= 1 << bit;
            let opened = Header::parse(&changed).map(|header| open(&header, keys, &BINDING, chunks.clone()));
            assert!(!matches!(opened, Ok(Ok(_))), "byte {position}, bit {bit}");
        }
        assert!(Header::parse(&bytes[..position]).is_err(), "cut to {position}");
    }
    assert!(Header::parse(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn a_new_ring_key_changes_the_wrap_and_nothing_else() {
    let (old, new, both) = (ring(&[("a", 1)]), ring(&[("bb", 2)]), ring(&[("bb", 2), ("a", 1)]));
    let session = session_key(1);
    let with = |ring| Keys { ring, session: &session };
    let plain = plain(CHUNK + 9);
    let (header, chunks) = seal(with(&old), &BINDING, &plain, 5);
    let rng = &mut StdRng::seed_from_u64(8);
    let rewrapped = header.rewrap(with(&both), &BINDING, rng).expect("both keys are there");
    assert_eq!(rewrapped.key_id(), "bb");
    let (before, after) = (header.to_bytes(), rewrapped.to_bytes());
    assert_eq!(before[..28], after[..28]);
    assert_eq!(before[before.len() - 32..], after[after.len() - 32..]);
    for ring in [&new, &both] {
        assert!(open(&rewrapped, with(ring), &BINDING, chunks.clone()).expect("opens") == plain);
    }
    assert!(matches!(open(&rewrapped, with(&old), &BINDING, chunks.clone()), Err((_, OpenError::KeyMissing { .. }))));
    assert!(open(&header, with(&both), &BINDING, chunks).is_ok(), "the old header still opens with both");
    assert!(matches!(header.rewrap(with(&new), &BINDING, rng), Err(OpenError::KeyMissing { .. })));
    let elsewhere = Binding { generation: 9, ..BINDING };
    assert!(matches!(header.rewrap(with(&both), &elsewhere, rng), Err(OpenError::Refused { .. })));
}

/// What version 1 wrote on the day it was made. If this fails, stored snapshots do not open any more.
#[test]
fn version_1_is_what_it_was() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("vectors.json")).expect("JSON");
    for vector in vectors["containers"].as_array().expect("a list") {
        let text = |name: &str| vector[name].as_str().expect(name).to_owned();
        let number = |name: &str| vector[name].as_u64().expect(name);
        let ring = Ring::parse(&vector["ring"].to_string()).expect("a ring");
        let session = text("session");
        let wrapped = STANDARD.decode(text("session_key")).expect("base64");
        let key = SessionKey::unwrap(&ring, number("workspace"), &session, &wrapped).expect("the session key opens");
        let keys = Keys { ring: &ring, session: &key };
        let binding = Binding {
            workspace: number("workspace"),
            session: &session,
            generation: number("generation"),
            fence: number("fence"),
        };
        let plain = plain(usize::try_from(number("plain_bytes")).expect("small"));
        // The seed fixes every random byte, so sealing gives the same bytes again.
        let (header, chunks) = seal(keys, &binding, &plain, number("seed"));
        assert_eq!(STANDARD.encode(header.to_bytes()), text("header"));
        let digest: Vec<String> = Sha256::digest(chunks.concat()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest.concat(), text("chunks_sha256"));
        let header = Header::parse(&STANDARD.decode(text("header")).expect("base64")).expect("a header");
        assert!(open(&header, keys, &binding, chunks).expect("opens") == plain);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_written_in_any_pieces_come_out_as_they_were(
        plain in proptest::collection::vec(any::<u8>(), 0..4096),
        repeat in 1usize..200,
        piece in 1usize..100_000,
    ) {
        let plain = plain.repeat(repeat);
        let (ring, session) = (ring(&[("a", 1)]), session_key(1));
        let keys = Keys { ring: &ring, session: &session };
        let mut chunks = Vec::new();
        let (header, mut sealer) = Sealer::new(keys, &BINDING, StdRng::seed_from_u64(5), |chunk| { chunks.push(chunk); Ok(()) });
        for part in plain.chunks(piece) {
            sealer.write_all(part).expect("sealed");
        }
        sealer.finish().expect("sealed");
        prop_assert!(open(&header, keys, &BINDING, chunks).expect("opens") == plain);
    }

    #[test]
    fn any_bit_flipped_in_any_chunk_is_refused(position in any::<prop::sample::Index>(), bit in 0u8..8, chunk in 0usize..3) {
        let (ring, session) = (ring(&[("a", 1)]), session_key(1));
        let keys = Keys { ring: &ring, session: &session };
        let (header, mut chunks) = seal(keys, &BINDING, &plain(2 * CHUNK + 1), 5);
        let position = position.index(chunks[chunk].len());
        chunks[chunk][position] ^= 1 << bit;
        let (out, error) = open(&header, keys, &BINDING, chunks).expect_err("refused");
        let is_it = matches!(error, OpenError::Damaged { index, .. } if index == chunk as u64);
        prop_assert!(is_it && out.len() == chunk * CHUNK);
    }

    #[test]
    fn bytes_that_are_no_container_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut reader = &bytes[..];
        let _ = Header::read(&mut reader);
        for chunk in Chunks::new(&bytes[..]) {
            prop_assert!(chunk.is_ok());
        }
    }
}
