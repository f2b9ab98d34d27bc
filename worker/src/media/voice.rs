//! A sound that shall be a voice message and is not one: converted to Opus in Ogg by `ffmpeg`, where that is installed.
//!
//! The program is given one file, the reader for what that file's first bytes say it is (so that a list of other files is
//! never taken for a sound), no way into a network, no environment and no input. What it writes is bounded as it comes, and
//! it is killed when it takes too long or when nobody waits for it any more.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::file::{Received, Receiving};
use super::sniff::sniff;
use super::{MediaError, refused};

/// How long one conversion may take: ffmpeg makes a minute of sound in about a second.
const CONVERTED_WITHIN: Duration = Duration::from_secs(30);
/// Conversions of one worker at once; each takes a processor.
const AT_ONCE: usize = 2;
/// Bytes of one allocation of ffmpeg's, which a hostile file could ask for.
const LARGEST_ALLOCATION: &str = "67108864";
/// What is read of it at once.
const PIECE: usize = 64 * 1024;

/// The program, and how many of it may run.
#[derive(Debug, Clone)]
pub struct Converter {
    program: PathBuf,
    within: Duration,
    at_once: Arc<Semaphore>,
}

impl Converter {
    /// Converts by this program, if it is there when it is needed.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self { program, within: CONVERTED_WITHIN, at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// A voice message of what is in the file, at most `limit` bytes of it.
    ///
    /// # Errors
    /// [`MediaError::Refused`]: the file holds no sound that can be told, or the program is not there.
    pub(super) async fn convert(&self, sound: &Received, dir: &Path, limit: u64) -> Result<Received, MediaError> {
        let reader = sniff(&sound.head).and_then(reader_of);
        let reader =
            reader.ok_or_else(|| refused("a voice message must be a sound, and the file is none that is known"))?;
        if !self.program.is_file() {
            return Err(refused(
                "a voice message must be Opus in an Ogg file: this worker has no ffmpeg that could make one of it",
            ));
        }
        let _permit = self.at_once.acquire().await.map_err(|_| refused("the worker ends"))?;
        let mut child = self
            .command(reader, sound.file.path(), limit)
            .spawn()
            .map_err(|_| refused("a voice message must be Opus in an Ogg file: ffmpeg could not be started"))?;
        // Whoever drops this, because the message's time is over too, ends the program: it is killed by its id.
        let converting = async {
            let mut stdout = child.stdout.take().ok_or_else(|| refused("ffmpeg wrote nothing"))?;
            let mut receiving = Receiving::begin(dir, limit).await?;
            let mut piece = vec![0; PIECE];
            loop {
                match stdout.read(&mut piece).await? {
                    0 => break,
                    read => receiving.add(&piece[..read]).await?,
                }
            }
            let ended = child.wait().await?;
            if !ended.success() {
                return Err(refused("the sound could not be read, so no voice message can be made of it"));
            }
            receiving.end().await
        };
        match tokio::time::timeout(self.within, converting).await {
            Ok(converted) => converted,
            Err(_) => {
                let secs = self.within.as_secs();
                Err(refused(format!("the sound could not be made a voice message within {secs} s")))
            }
        }
    }

    fn command(&self, reader: &str, sound: &Path, limit: u64) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-nostdin", "-hide_banner", "-loglevel", "error", "-max_alloc", LARGEST_ALLOCATION]);
        command.args(["-timelimit", &self.within.as_secs().max(1).to_string()]);
        command.args(["-protocol_whitelist", "file,pipe", "-f", reader, "-i"]).arg(sound);
        // WhatsApp's own voice messages are of one channel; what else the file holds stays behind.
        command.args(["-map", "0:a:0", "-map_metadata", "-1", "-vn", "-sn", "-dn", "-threads", "1"]);
        command.args(["-ac", "1", "-ar", "48000", "-c:a", "libopus", "-b:a", "32k", "-application", "voip"]);
        command.args(["-fs", &limit.saturating_add(1).to_string(), "-f", "ogg", "pipe:1"]);
        command.env_clear().current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }
}

/// ffmpeg's reader for a type of file that holds a sound.
fn reader_of(mime: &str) -> Option<&'static str> {
    Some(match mime {
        "audio/mpeg" => "mp3",
        "audio/wav" => "wav",
        "audio/mp4" | "video/mp4" | "video/3gpp" | "video/quicktime" => "mov",
        "audio/aac" => "aac",
        "audio/amr" => "amr",
        "audio/flac" => "flac",
        "audio/ogg" => "ogg",
        "video/webm" => "matroska",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A second of a tone, as a WAV file.
    fn tone() -> Vec<u8> {
        let samples: Vec<u8> = (0..8_000_u32)
            .flat_map(|at| {
                let sample = (f64::from(at) * 440.0 * std::f64::consts::TAU / 8_000.0).sin() * 12_000.0;
                (sample as i16).to_le_bytes()
            })
            .collect();
        let length = samples.len() as u32;
        let mut wav = b"RIFF".to_vec();
        wav.extend_from_slice(&(36 + length).to_le_bytes());
        wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
        wav.extend_from_slice(&8_000_u32.to_le_bytes());
        wav.extend_from_slice(&16_000_u32.to_le_bytes());
        wav.extend_from_slice(b"\x02\0\x10\0data");
        wav.extend_from_slice(&length.to_le_bytes());
        wav.extend_from_slice(&samples);
        wav
    }

    async fn received(dir: &Path, bytes: &[u8]) -> Received {
        let mut receiving = Receiving::begin(dir, 1_000_000).await.expect("a file");
        receiving.add(bytes).await.expect("room");
        receiving.end().await.expect("a file")
    }

    fn scratch() -> PathBuf {
        std::env::temp_dir().join(format!("wafleet-voice-test-{:016x}", rand::random::<u64>()))
    }

    fn why(result: Result<Received, MediaError>) -> String {
        match result {
            Err(MediaError::Refused(why)) => why,
            Err(other) => format!("{other:?}"),
            Ok(converted) => format!("converted to {} bytes", converted.size),
        }
    }

    #[tokio::test]
    async fn a_tone_becomes_a_voice_message_and_what_is_no_sound_does_not() {
        let (dir, ffmpeg) = (scratch(), PathBuf::from("/usr/bin/ffmpeg"));
        if !ffmpeg.is_file() {
            eprintln!("skipped: ffmpeg is not installed on this machine");
            return;
        }
        let converter = Converter::new(ffmpeg);
        let sound = received(&dir, &tone()).await;
        let voice = converter.convert(&sound, &dir, 100_000).await.expect("converted");
        assert_eq!(sniff(&voice.head), Some("audio/ogg; codecs=opus"));
        assert!(voice.size > 500 && voice.size < 16_000, "{} bytes", voice.size);
        assert!(why(converter.convert(&sound, &dir, 100).await).contains("larger than 100 bytes"));

        // The beginning of a sound and nothing behind it; and lists that would make a reader open other files.
        let list = format!("#EXTM3U\n#EXTINF:1,\nfile://{}\n", sound.file.path().display());
        for (bytes, expected) in [
            (&tone()[..20], "could not be read"),
            (b"ID3\x04 and nothing more".as_slice(), "could not be read"),
            (list.as_bytes(), "none that is known"),
            (b"ffconcat version 1.0\nfile '/etc/hostname'\n".as_slice(), "none that is known"),
            (b"%PDF-1.7".as_slice(), "none that is known"),
        ] {
            let why = why(converter.convert(&received(&dir, bytes).await, &dir, 100_000).await);
            assert!(why.contains(expected), "{}: {why}", String::from_utf8_lossy(&bytes[..8]));
        }
        drop((sound, voice));
        assert_eq!(std::fs::read_dir(&dir).expect("the directory").count(), 0, "nothing is left behind");
        std::fs::remove_dir(dir).expect("empty");
    }

    #[tokio::test]
    async fn without_the_program_the_reason_is_said_and_one_that_hangs_is_killed() {
        let dir = scratch();
        let sound = received(&dir, &tone()).await;
        let missing = Converter::new(dir.join("no-such-program"));
        assert!(why(missing.convert(&sound, &dir, 100_000).await).contains("has no ffmpeg"));

        let program = dir.join("hangs");
        let pid_file = dir.join("pid");
        let script = format!("#!/bin/sh\necho $$ > {}\nexec /bin/sleep 600\n", pid_file.display());
        std::fs::write(&program, script).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("may run");
        let within = Duration::from_secs(2);
        let hangs = Converter { within, ..Converter::new(program) };
        assert!(why(hangs.convert(&sound, &dir, 100_000).await).contains("within 2 s"));
        let pid = std::fs::read_to_string(pid_file).expect("it ran");
        let stat = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
        let runs = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        for _ in 0..200 {
            if !runs() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!runs(), "it is still there");
        drop(sound);
        std::fs::remove_dir_all(dir).expect("deleted");
    }
}
