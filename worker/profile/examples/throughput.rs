//! How fast profiles are packed and sealed, against the bare primitives, and how much memory it takes.
//!
//! ```sh
//! cargo run --release -p wafleet-profile --example throughput
//! ```

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Instant;

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use sha2::Sha256;
use wafleet_profile::archive::{Limits, pack, unpack};
use wafleet_profile::container::{Binding, CHUNK, Chunks, Header, Keys, Opener, Sealer};
use wafleet_profile::keys::{Ring, SessionKey};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scratch = std::env::temp_dir().join(format!("wafleet-throughput-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let result = [10, 100].into_iter().try_for_each(|megabytes| measure(&scratch, megabytes));
    fs::remove_dir_all(&scratch)?;
    result
}

fn measure(scratch: &Path, megabytes: usize) -> Result<(), Box<dyn std::error::Error>> {
    let rng = &mut StdRng::seed_from_u64(1);
    let profile = scratch.join(format!("profile-{megabytes}"));
    make_profile(&profile, megabytes, rng)?;
    // Sealed first of all and read from a file, so that the peak of memory is that of the stream.
    let secret = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let ring = Ring::parse(&format!(r#"{{"keys":[{{"id":"a","secret":"{secret}"}}]}}"#))?;
    let session = SessionKey::generate(rng);
    let keys = Keys { ring: &ring, session: &session };
    let binding = Binding { workspace: 1, session: "s", generation: 1, fence: 1 };
    let limits = Limits { bytes: 200_000_000, ..Limits::default() };
    println!("\n{megabytes} MB of profile");

    let file = scratch.join(format!("sealed-{megabytes}"));
    let mut out = io::BufWriter::new(fs::File::create(&file)?);
    let began = Instant::now();
    let (header, mut sealer) = Sealer::new(keys, &binding, rand::rng(), |chunk: Vec<u8>| out.write_all(&chunk));
    let packed = pack(&profile, &mut sealer, limits)?;
    let chunks = sealer.finish()?;
    out.flush()?;
    drop(out);
    let sealed = fs::metadata(&file)?.len();
    line("pack + seal", packed.bytes, began);
    println!(
        "  {:>9.1} MB sealed in {chunks} chunks and a header of {} bytes",
        sealed as f64 / 1e6,
        header.to_bytes().len()
    );

    let restored = scratch.join(format!("restored-{megabytes}"));
    let header = Header::parse(&header.to_bytes())?;
    let began = Instant::now();
    let opener = Opener::new(&header, keys, &binding, Chunks::new(io::BufReader::new(fs::File::open(&file)?)))?;
    unpack(opener, &restored, limits)?;
    line("open + unpack + fsync", packed.bytes, began);
    println!("  {:>9.1} MB peak of memory so far", peak_memory()?);

    // The container alone, on bytes that do not pack.
    let bytes = megabytes * 1_000_000;
    let mut noise = vec![0; CHUNK];
    rng.fill_bytes(&mut noise);
    let mut kept = Vec::new();
    let began = Instant::now();
    let (header, mut sealer) = Sealer::new(keys, &binding, rand::rng(), |chunk| {
        kept.push(chunk);
        Ok(())
    });
    for _ in 0..bytes / CHUNK {
        sealer.write_all(&noise)?;
    }
    sealer.finish()?;
    line("seal alone", bytes as u64, began);
    let began = Instant::now();
    let mut opener = Opener::new(&header, keys, &binding, kept.drain(..).map(Ok))?;
    let mut buffer = vec![0; CHUNK];
    while opener.read(&mut buffer)? > 0 {}
    line("open alone", bytes as u64, began);

    let began = Instant::now();
    let mut block = noise.clone();
    block.resize(CHUNK + 16, 0);
    for _ in 0..bytes / CHUNK {
        let cipher = cbc::Encryptor::<Aes256>::new(&[1; 32].into(), &[2; 16].into());
        cipher.encrypt_padded::<Pkcs7>(&mut block, CHUNK)?;
    }
    line("AES-256-CBC, bare", bytes as u64, began);
    let began = Instant::now();
    let mut mac = Hmac::<Sha256>::new_from_slice(&[1; 32])?;
    for _ in 0..bytes / CHUNK {
        mac.update(&noise);
    }
    mac.finalize();
    line("HMAC-SHA-256, bare", bytes as u64, began);
    let began = Instant::now();
    pack(&profile, io::sink(), limits)?;
    line("tar + zstd, bare", packed.bytes, began);
    Ok(())
}

fn line(what: &str, bytes: u64, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    println!("  {:>9.0} MB/s  {what} ({seconds:.2} s)", bytes as f64 / 1e6 / seconds);
}

/// Files of 2 MB as LevelDB writes them, of which about a third is text that packs and the rest does not.
fn make_profile(profile: &Path, megabytes: usize, rng: &mut StdRng) -> io::Result<()> {
    let tables = profile.join("Default/IndexedDB/site.leveldb");
    fs::create_dir_all(&tables)?;
    for file in 0..megabytes / 2 {
        let mut table = Vec::with_capacity(2_100_000);
        while table.len() < 2_000_000 {
            let mut key = [0; 64];
            rng.fill_bytes(&mut key);
            table.extend_from_slice(
                format!("message-{}-{{\"ack\":3,\"type\":\"chat\"}}", rng.random::<u16>()).as_bytes(),
            );
            table.extend_from_slice(&key);
        }
        fs::write(tables.join(format!("{file:06}.ldb")), table)?;
    }
    fs::write(profile.join("Default/Cookies"), vec![0; 20_000])
}

/// `VmHWM` of this process.
fn peak_memory() -> io::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1000.0)
}
