//! Files that messages carry: fetched within bounds before anything is recorded, sent once, whatever kind they are.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use wafleet_imitation::{Departure, Options, Phone, Written};
use wafleet_protocol::command::{Command, Content, Media, MessageSend};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{CommandResult, Event, MediaFailure, MediaOutcome, MessageMedia, Outcome, SessionStatus};
use wafleet_protocol::id::MessageId;
use wafleet_protocol::lane::Lane;
use wafleet_tests::file_server::{Answer, FileServer};
use wafleet_tests::fleet::{HOST_KEY, Order, PATIENCE, Posted, Target, Worker, new_command_id};
use wafleet_tests::object_store::ObjectStore;
use wafleet_tests::proxy::{Hold, Proxy};
use wafleet_tests::stage::Stage;

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";
/// One pixel each.
pub(crate) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const WEBP: &str = "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==";

pub(crate) fn bytes(base64: &str) -> Result<Vec<u8>> {
    Ok(STANDARD.decode(base64)?)
}

/// The beginning of a voice message, as far as anybody here looks.
fn opus() -> Vec<u8> {
    let mut ogg = b"OggS".to_vec();
    ogg.resize(28, 0);
    ogg.extend_from_slice(b"OpusHead and then nobody listens");
    ogg
}

struct Set {
    stage: Stage,
    store: ObjectStore,
    files: FileServer,
    worker: Worker,
    anna: Phone,
    target: Target,
}

impl Set {
    /// A linked session on a worker that may fetch files from 127.0.0.1 and from nowhere else on this machine.
    async fn up() -> Result<Self> {
        let stage = Stage::set(Options::default()).await?;
        let store = ObjectStore::start(&stage.fleet.scratch().join("store")).await?;
        let files = FileServer::start(Ipv4Addr::LOCALHOST).await?;
        let target = Target::new("s1")?;
        let anna = stage.site.phone(ANNA, "Anna");
        stage.site.phone(BERT, "Bert");
        let worker = store.used_by(stage.worker("w1")).env("WAFLEET_MEDIA_HTTP", "on");
        let mut worker = worker.env("WAFLEET_MEDIA_ALLOWED_NETWORKS", "127.0.0.1/32").spawn()?;
        worker.wait_until_ready().await?;
        stage.link(&target, &anna).await?;
        Ok(Self { stage, store, files, worker, anna, target })
    }

    /// Bert sends a file; gives the id of his message.
    fn receive(&self, kind: &str, mime: &str, file: &[u8]) -> String {
        let content = self.stage.site.upload(kind, mime, file);
        self.anna.receive(BERT, "Bert", &Written::new(kind, "", content))
    }

    /// Waits until it is told what became of the file of a message.
    async fn media(&self, id: &str) -> Result<MessageMedia> {
        let find = |event: &Event| match event {
            Event::MessageMedia(told) if told.id == id => Some(told.clone()),
            _ => None,
        };
        let journal = self.stage.host.events();
        journal.wait_from(0, &format!("the file of {id}"), 2 * PATIENCE, |envelope| find(&envelope.event)).await
    }

    /// The key of a file that is kept, which must be this one.
    async fn kept(&self, id: &str, mime: &str, file: &[u8]) -> Result<String> {
        let told = self.media(id).await?;
        let MediaOutcome::Available { object, mime: is, size, sha256, .. } = told.outcome else { bail!("{told:?}") };
        let hash: String = Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(is == mime && size == file.len() as u64 && sha256 == hash, "{is} {size} {sha256}");
        ensure!(std::fs::read(self.store.file(&object))? == file, "another file is in the store");
        Ok(object)
    }

    async fn given_up(&self, id: &str) -> Result<MediaFailure> {
        match self.media(id).await?.outcome {
            MediaOutcome::Failed { reason } => Ok(reason),
            MediaOutcome::Available { object, .. } => bail!("{object} is kept"),
        }
    }

    /// Sends a medium; gives its result and what left, if anything did.
    async fn send(&self, content: Content) -> Result<(CommandResult, Option<Departure>)> {
        let command = Command::MessageSend(MessageSend::new(BERT.parse()?, content));
        let id = new_command_id()?;
        let order = Order::now(&command, Lane::Normal);
        let letter = self.stage.host.letter_by(HOST_KEY, &self.target, &id, &command, &order)?;
        ensure!(self.stage.host.post(&letter).await? == Posted::Routed);
        let Event::CommandResult(result) = self.stage.host.final_envelope(0, &id).await?.event else {
            bail!("no result")
        };
        let message_id = MessageId::for_command(&id, &self.target.session).to_string();
        let mut left: Vec<_> = self.stage.site.sent().into_iter().filter(|left| left.id == message_id).collect();
        ensure!(left.len() <= 1 && left.iter().all(|left| left.copies() == 1), "{left:?}");
        Ok((result, left.pop()))
    }

    /// Sends a medium and expects it to leave as this kind of WhatsApp's with this file.
    async fn leaves(&self, content: Content, kind: &str, file: &[u8]) -> Result<Departure> {
        let (result, left) = self.send(content).await?;
        ensure!(result.outcome == Outcome::Succeeded, "{kind}: {result:?}");
        let left = left.with_context(|| format!("{kind} did not leave"))?;
        ensure!(left.kind == kind, "{left:?}");
        let arrived = self.stage.site.file_of(kind, &left.content).context("the file cannot be decrypted")?;
        ensure!(arrived == file, "{kind}: {} bytes, not {}", arrived.len(), file.len());
        Ok(left)
    }

    /// Sends a medium and expects it to be refused for good, and nothing of it to leave.
    async fn refused(&self, content: Content) -> Result<String> {
        let (result, left) = self.send(content.clone()).await?;
        let error = result.error.context("an error")?;
        let refused = result.outcome == Outcome::Failed && error.code == ErrorCode::MediaRefused;
        ensure!(refused && left.is_none(), "{content:?}: {error:?} {left:?}");
        Ok(error.message)
    }
}

fn at(url: &str) -> Result<Media> {
    Ok(Media::at(url.parse()?))
}

pub(crate) fn inline(file: &[u8]) -> Result<Media> {
    Ok(Media {
        url: None,
        object: None,
        inline: Some(STANDARD.encode(file).try_into()?),
        ..at("https://example.com/")?
    })
}

fn object(key: &str) -> Result<Media> {
    Ok(Media { url: None, object: Some(key.parse()?), inline: None, ..at("https://example.com/")? })
}

#[tokio::test]
async fn every_medium_leaves_once_with_its_file() -> Result<()> {
    let set = Set::up().await?;
    let png = bytes(PNG)?;
    set.files.set("/photo.png", Answer::File("image/png", png.clone().into()));
    set.files.set("/near", Answer::Redirect("/photo.png".into()));
    let far = set.files.set("/far", Answer::Redirect("/near".into()));
    let left = set
        .leaves(Content::Image(Media { caption: Some("a *picture*".try_into()?), ..at(&far)? }), "image", &png)
        .await?;
    ensure!(left.content["caption"] == "a *picture*" && left.content["mimetype"] == "image/png", "{left:?}");

    let pdf: Vec<u8> = b"%PDF-1.7 ".iter().copied().chain((0..3_000_000u32).map(|n| (n % 251) as u8)).collect();
    set.store.put("media/1/orders/offer-17", &pdf)?;
    let filename = "Angebot 17.pdf".to_owned();
    let document =
        Content::Document(Media { filename: Some(filename.try_into()?), ..object("media/1/orders/offer-17")? });
    let left = set.leaves(document, "document", &pdf).await?;
    ensure!(left.content["filename"] == "Angebot 17.pdf" && left.content["mimetype"] == "application/pdf", "{left:?}");

    let left = set.leaves(Content::Voice(inline(&opus())?), "ptt", &opus()).await?;
    ensure!(left.content["mimetype"] == "audio/ogg; codecs=opus", "{left:?}");
    let mp3 = b"ID3\x04 a song";
    set.leaves(Content::Audio(inline(mp3)?), "audio", mp3).await?;
    let mp4 = b"\0\0\0\x18ftypisom a film";
    set.leaves(Content::Video(inline(mp4)?), "video", mp4).await?;
    set.leaves(Content::VideoNote(inline(mp4)?), "ptv", mp4).await?;
    set.leaves(Content::Sticker(inline(&bytes(WEBP)?)?), "sticker", &bytes(WEBP)?).await?;

    let media = set.stage.fleet.scratch().join("media");
    ensure!(std::fs::read_dir(&media)?.count() == 0, "files were left in {}", media.display());
    set.stage.site.stop().await;
    Ok(())
}

/// A second of silence, as a WAV file.
fn silence() -> Vec<u8> {
    let mut wav =
        b"RIFF\xA4\x3E\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1F\0\0\x80\x3E\0\0\x02\0\x10\0data\x80\x3E\0\0".to_vec();
    wav.resize(44 + 16_000, 0);
    wav
}

#[tokio::test]
async fn a_sound_of_another_kind_leaves_as_a_voice_message() -> Result<()> {
    if !std::path::Path::new("/usr/bin/ffmpeg").exists() {
        eprintln!("NOT TESTED: ffmpeg is not installed on this machine");
        return Ok(());
    }
    let set = Set::up().await?;
    let (result, left) = set.send(Content::Voice(inline(&silence())?)).await?;
    ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    let left = left.context("it did not leave")?;
    ensure!(left.kind == "ptt" && left.content["mimetype"] == "audio/ogg; codecs=opus", "{left:?}");
    let file = set.stage.site.file_of("ptt", &left.content).context("the file cannot be decrypted")?;
    ensure!(file.starts_with(b"OggS") && file[28..].starts_with(b"OpusHead"), "{} bytes of something else", file.len());
    let said = set.refused(Content::Voice(Media { mime: Some("audio/mpeg".parse()?), ..inline(&silence())? })).await?;
    ensure!(said.contains("not what the command says"), "{said}");
    let media = set.stage.fleet.scratch().join("media");
    ensure!(std::fs::read_dir(&media)?.count() == 0, "files were left in {}", media.display());
    set.stage.site.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_file_that_must_not_or_cannot_be_had_is_a_definite_failure() -> Result<()> {
    let set = Set::up().await?;
    let png = bytes(PNG)?;
    // Another address of this machine, which the operator has not allowed: nothing may be asked there.
    let inner = FileServer::start(Ipv4Addr::new(127, 0, 0, 2)).await?;
    let secret = inner.set("/secret.png", Answer::File("image/png", png.clone().into()));
    let to = |path: &str, target: &str| set.files.set(path, Answer::Redirect(target.to_owned()));
    to("/loop", "/loop");
    for (url, why) in [
        (secret.clone(), "open internet"),
        (to("/inward", &secret), "open internet"),
        (to("/metadata", "http://169.254.169.254/latest/meta-data/"), "open internet"),
        (to("/mapped", "http://[::ffff:127.0.0.1]/"), "open internet"),
        (to("/disk", "file:///etc/passwd"), "other than https"),
        (set.files.set("/loop", Answer::Redirect("/loop".into())), "more than 3"),
        (set.files.set("/gone", Answer::Status(410, 9, "", png.clone().into())), "410"),
        (set.files.set("/packed", Answer::Packed(png.clone().into())), "packed"),
        (set.files.set("/empty", Answer::File("image/png", Vec::<u8>::new().into())), "empty"),
        (set.files.set("/page.png", Answer::File("image/png", "<html>no</html>".into())), "text/html"),
        (set.files.set("/endless", Answer::Endless(png.clone().into())), "larger than 16000000"),
    ] {
        let said = set.refused(Content::Image(at(&url)?)).await?;
        ensure!(said.contains(why), "{url}: {said}");
        ensure!(!said.contains("127.0.0"), "the address is in {said}");
    }
    ensure!(inner.asked().is_empty(), "{:?}", inner.asked());
    ensure!(set.files.asked().iter().filter(|path| *path == "/loop").count() == 4);

    let said = set.refused(Content::Voice(inline(b"ID3 a song")?)).await?;
    ensure!(said.contains("voice message"), "{said}");
    set.store.put("media/2/theirs.png", &png)?;
    let said = set.refused(Content::Image(object("media/2/theirs.png")?)).await?;
    ensure!(said.contains("another workspace"), "{said}");
    let said = set.refused(Content::Image(object("media/1/none.png")?)).await?;
    ensure!(said.contains("no such object"), "{said}");
    let attempts = "SELECT COUNT(*) FROM wafleet_commands WHERE type = 'message.send' AND message_key IS NOT NULL";
    let attempts: i64 = sqlx::query_scalar(attempts).fetch_one(set.stage.fleet.database().pool()).await?;
    ensure!(attempts == 0, "{attempts} refused file(s) were recorded as attempts");
    // This one the page refuses, after the attempt was recorded and before anything was sent.
    let said = set.refused(Content::Image(inline(&png[..20])?)).await?;
    ensure!(said.contains("no picture"), "{said}");
    set.stage.site.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_busy_and_an_upload_that_fails_delay_a_medium_and_double_nothing() -> Result<()> {
    let set = Set::up().await?;
    let png = bytes(PNG)?;
    let busy = set.files.set("/busy.png", Answer::Status(503, 1, "image/png", png.clone().into()));
    set.leaves(Content::Image(at(&busy)?), "image", &png).await?;
    ensure!(set.files.asked().len() == 2);
    set.stage.site.faults(|faults| faults.refuse_uploads = Some(500));
    let sending = set.leaves(Content::Document(inline(b"a;b;c")?), "document", b"a;b;c");
    let mend = async {
        set.stage.site.wait_for_refused_upload(PATIENCE).await?;
        set.stage.site.faults(|faults| faults.refuse_uploads = None);
        Ok::<_, anyhow::Error>(())
    };
    let (left, mended) = tokio::join!(sending, mend);
    mended?;
    ensure!(left?.content["mimetype"] == "application/octet-stream");
    set.stage.site.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_file_of_a_received_message_is_kept_told_sent_on_and_deleted_in_its_time() -> Result<()> {
    let mut set = Set::up().await?;
    let png = bytes(PNG)?;
    let large: Vec<u8> = b"%PDF-1.7 ".iter().copied().chain((0..16_000_000u32).map(|n| (n % 251) as u8)).collect();
    let picture = set.receive("image", "image/png", &png);
    let document = set.receive("document", "application/pdf", &large);
    let object = set.kept(&picture, "image/png", &png).await?;
    ensure!(object.starts_with("media/1/s1/"), "{object}");
    set.kept(&document, "application/pdf", &large).await?;
    let entries = set.stage.host.events().entries();
    let at = |wanted: fn(&Event) -> Option<&str>, id: &str| {
        entries.iter().position(|entry| wanted(&entry.envelope.event) == Some(id)).context("an event")
    };
    let received: fn(&Event) -> Option<&str> = |event| match event {
        Event::MessageReceived(message) if message.has_media => Some(&message.id),
        _ => None,
    };
    let media: fn(&Event) -> Option<&str> =
        |event| if let Event::MessageMedia(told) = event { Some(&told.id) } else { None };
    for id in [&picture, &document] {
        ensure!(at(received, id)? < at(media, id)?, "the file of {id} was told before the message");
    }
    set.leaves(Content::Image(self::object(&object)?), "image", &png).await?;

    // What WhatsApp does not have, and what is larger than anybody wants.
    let asked = set.stage.site.media_asked();
    let mut content = set.stage.site.upload("video", "video/mp4", b"a film");
    content["size"] = 200_000_000.into();
    let huge = set.anna.receive(BERT, "Bert", &Written::new("video", "", content));
    ensure!(set.given_up(&huge).await? == MediaFailure::TooLarge && set.stage.site.media_asked() == asked);
    set.stage.site.faults(|faults| faults.refuse_downloads = Some(410));
    let gone = set.receive("image", "image/png", b"another picture");
    ensure!(set.given_up(&gone).await? == MediaFailure::Gone);
    set.stage.site.faults(|faults| faults.refuse_downloads = None);

    // One is deleted when its time is over, the other when the session is erased.
    let pool = set.stage.fleet.database().pool();
    let over = "UPDATE wafleet_media SET expires_at = UTC_TIMESTAMP(3) WHERE kind = 'image'";
    sqlx::query(over).execute(pool).await?;
    let mark = set.stage.host.events().len();
    set.stage.host.send(&set.target, &Command::SessionStop).await?;
    set.stage.host.wait_for_status(mark, &set.target, SessionStatus::Stopped).await?;
    ensure!(set.worker.terminate(PATIENCE).await?.success());
    ensure!(!set.store.file(&object).exists(), "an expired file is still there");
    let kept = |path: &std::path::PathBuf| path.components().any(|part| part.as_os_str() == "media");
    ensure!(set.store.objects()?.iter().filter(|path| kept(path)).count() == 1, "{:?}", set.store.objects()?);
    let erased =
        set.worker.run(&["session", "erase", "s1", "--workspace", "1", "--why", "a test", "--by", "t"]).await?;
    ensure!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
    ensure!(!set.store.objects()?.iter().any(kept), "{:?}", set.store.objects()?);
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM wafleet_media").fetch_one(pool).await?;
    ensure!(rows == 0, "{rows} row(s) are left");
    set.stage.site.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_worker_killed_while_it_keeps_a_file_is_followed_by_one_that_keeps_it() -> Result<()> {
    let mut set = Set::up().await?;
    let png = bytes(PNG)?;
    ensure!(set.worker.terminate(PATIENCE).await?.success());
    let proxy = Proxy::opened(set.store.endpoint()).await?;
    let endpoint = proxy.url(set.store.endpoint())?;
    let mark = set.stage.host.events().len();
    let through = set.store.used_by(set.stage.worker("w2")).env("WAFLEET_OBJECT_STORE_ENDPOINT", endpoint);
    let mut second = through.spawn()?;
    set.stage.host.wait_for_status(mark, &set.target, SessionStatus::Connected).await?;
    let held = proxy.trip_at("partNumber=1", Hold::Request);
    let picture = set.receive("image", "image/png", &png);
    held.tripped(PATIENCE).await?;
    ensure!(set.store.uploads() == 1);
    second.kill()?;
    drop(second);
    let mut third = set.store.used_by(set.stage.worker("w3")).spawn()?;
    set.kept(&picture, "image/png", &png).await?;
    ensure!(set.store.uploads() == 0, "the upload that was cut short is still there");
    ensure!(third.terminate(PATIENCE).await?.success());
    set.stage.site.stop().await;
    Ok(())
}

#[tokio::test]
async fn without_a_store_it_is_said_that_files_are_not_kept() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let target = Target::new("s1")?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    stage.link(&target, &anna).await?;
    for file in [&b"one"[..], b"two"] {
        let content = stage.site.upload("document", "text/plain", file);
        let id = anna.receive(BERT, "Bert", &Written::new("document", "", content));
        let find = |event: &Event| match event {
            Event::MessageMedia(told) if told.id == id => Some(told.outcome.clone()),
            _ => None,
        };
        let told = stage.host.events().wait_from(0, "its file", PATIENCE, |envelope| find(&envelope.event)).await?;
        ensure!(told == MediaOutcome::Failed { reason: MediaFailure::NoObjectStore }, "{told:?}");
    }
    ensure!(worker.output()?.matches("received media are not kept").count() == 1);
    ensure!(stage.site.media_asked() == 0);
    stage.site.stop().await;
    Ok(())
}
