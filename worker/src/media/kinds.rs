//! Which files can be sent as what.

use wafleet_protocol::command::MediaKind;

use super::sniff::sniff;
use super::{MediaError, refused};

const OPUS: &str = "audio/ogg; codecs=opus";
/// Packed or compound files, whose own type is inside: office documents and the like.
const CONTAINERS: [&str; 3] = ["application/zip", "application/x-ole-storage", "application/gzip"];
/// What is sent when nobody knows better.
const UNKNOWN: &str = "application/octet-stream";

/// What the file is sent as, or why it cannot be sent as this kind. `declared` is the command's word, `told` the server's.
pub(super) fn type_of(
    kind: MediaKind,
    declared: Option<&str>,
    told: Option<&str>,
    head: &[u8],
) -> Result<String, MediaError> {
    let found = sniff(head);
    let essence = found.map(|found| found.split(';').next().unwrap_or(found));
    let wanted: &[&str] = match kind {
        MediaKind::Document => return document(declared, told, essence),
        MediaKind::Image => &["image/jpeg", "image/png", "image/webp"],
        MediaKind::Sticker => &["image/webp"],
        MediaKind::Video | MediaKind::VideoNote => &["video/mp4", "video/3gpp", "video/quicktime"],
        MediaKind::Audio => &["audio/mpeg", "audio/mp4", "audio/aac", "audio/amr", "audio/ogg"],
        MediaKind::Voice => {
            return match found {
                Some(OPUS) if fits(declared, "audio/ogg") => Ok(OPUS.to_owned()),
                _ => Err(refused("a voice message must be Opus in an Ogg file")),
            };
        }
    };
    let is = essence.filter(|essence| wanted.contains(essence));
    let Some(is) = is else {
        let (what, kind) = (essence.unwrap_or("of no known type"), kind.as_str());
        return Err(refused(format!("the file is {what}; {kind} can be {}", wanted.join(", "))));
    };
    if !fits(declared, is) {
        return Err(refused(format!("the file is {is}, and not what the command says it is")));
    }
    Ok(is.to_owned())
}

/// Whether a file is a voice message already, by its first bytes.
pub(super) fn is_voice(head: &[u8]) -> bool {
    sniff(head) == Some(OPUS)
}

/// Refuses a file that is something else than its sender says.
pub(super) fn is_as_declared(declared: Option<&str>, head: &[u8]) -> Result<(), MediaError> {
    let found = sniff(head).map(|found| found.split(';').next().unwrap_or(found));
    match found {
        Some(found) if !fits(declared, found) => {
            Err(refused(format!("the file is {found}, and not what the command says it is")))
        }
        _ => Ok(()),
    }
}

/// Any file, as long as nobody is deceived about what it is: least of all by an error page in a document's place.
fn document(declared: Option<&str>, told: Option<&str>, found: Option<&str>) -> Result<String, MediaError> {
    let Some(said) = declared.or(told.filter(|told| *told != UNKNOWN)) else {
        return Ok(found.unwrap_or(UNKNOWN).to_owned());
    };
    let fits = match found {
        Some(found) if CONTAINERS.contains(&found) => !is_plain(said),
        Some(found) => fits(Some(said), found) || said == UNKNOWN,
        // Its beginning tells nothing, but that it is none of those that have one.
        None => !is_plain(said),
    };
    if !fits {
        let what = found.unwrap_or("something else");
        return Err(refused(format!("the file is {what}, and not {said}")));
    }
    Ok(said.to_owned())
}

/// Whether files of this type have a beginning that tells it.
fn is_plain(mime: &str) -> bool {
    let told = ["image/jpeg", "image/png", "image/gif", "image/webp", "application/pdf", "video/mp4", "audio/ogg"];
    told.contains(&mime)
}

/// Whether two names may mean the same file.
fn fits(declared: Option<&str>, found: &str) -> bool {
    let same = |declared: &str| match (declared, found) {
        (a, b) if a == b => true,
        ("image/jpg", "image/jpeg") | ("audio/mp3" | "audio/x-mp3", "audio/mpeg") | ("audio/x-wav", "audio/wav") => {
            true
        }
        ("audio/x-m4a" | "audio/m4a" | "audio/aac", "audio/mp4") | ("audio/x-aac", "audio/aac") => true,
        ("audio/opus" | "application/ogg", "audio/ogg") => true,
        // Containers that hold either, and whose first bytes do not always say which.
        ("audio/mp4" | "audio/x-m4a" | "video/3gpp" | "video/quicktime", "video/mp4") => true,
        ("video/ogg", "audio/ogg") | ("audio/webm", "video/webm") => true,
        _ => false,
    };
    declared.is_none_or(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = b"\xFF\xD8\xFF\xE0";
    const PDF: &[u8] = b"%PDF-1.7";
    const ZIP: &[u8] = b"PK\x03\x04";
    const HTML: &[u8] = b"<!doctype html><title>404</title>";

    #[test]
    fn a_file_is_sent_only_as_what_it_is() {
        use MediaKind::{Audio, Document, Image, Sticker, Video, Voice};
        let mut opus = b"OggS".to_vec();
        opus.resize(28, 0);
        opus.extend_from_slice(b"OpusHead");
        for (kind, declared, told, head, expected) in [
            (Image, None, None, JPEG, Some("image/jpeg")),
            (Image, Some("image/jpg"), None, JPEG, Some("image/jpeg")),
            (Image, None, Some("text/html"), JPEG, Some("image/jpeg")),
            (Image, Some("image/png"), None, JPEG, None),
            (Image, None, Some("image/jpeg"), HTML, None),
            (Image, None, None, PDF, None),
            (Image, None, None, b"who knows", None),
            (Sticker, None, None, JPEG, None),
            (Sticker, None, None, b"RIFF....WEBP", Some("image/webp")),
            (Video, None, None, b"....ftypisom", Some("video/mp4")),
            (Video, None, None, b"....ftypM4A ", None),
            (Audio, Some("audio/mp3"), None, b"ID3\x04", Some("audio/mpeg")),
            (Audio, None, None, &opus, Some("audio/ogg")),
            (Voice, None, None, &opus, Some("audio/ogg; codecs=opus")),
            (Voice, None, None, b"OggS\0", None),
            (Voice, None, None, b"ID3\x04", None),
            (Document, None, None, PDF, Some("application/pdf")),
            (Document, None, Some("application/pdf"), HTML, None),
            (Document, Some("application/pdf"), None, HTML, None),
            (Document, Some("application/pdf"), None, b"who knows", None),
            (Document, Some("application/pdf"), None, ZIP, None),
            (Document, None, Some("application/octet-stream"), PDF, Some("application/pdf")),
            (Document, None, None, b"who knows", Some("application/octet-stream")),
            (Document, Some("text/csv"), None, b"a;b;c", Some("text/csv")),
            (
                Document,
                Some("application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
                None,
                ZIP,
                Some("application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
            ),
            (Document, Some("text/html"), None, HTML, Some("text/html")),
        ] {
            let found = type_of(kind, declared, told, head).ok();
            assert_eq!(
                found.as_deref(),
                expected,
                "{kind:?} {declared:?} {told:?} {:?}",
                String::from_utf8_lossy(head)
            );
        }
    }
}
