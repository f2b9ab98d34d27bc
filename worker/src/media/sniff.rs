//! What a file is, by its first bytes.

/// The MIME type, where the bytes tell it.
pub(super) fn sniff(head: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| head.starts_with(magic);
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    Some(match head {
        _ if starts(b"\xFF\xD8\xFF") => "image/jpeg",
        _ if starts(b"\x89PNG\r\n\x1A\n") => "image/png",
        _ if starts(b"GIF87a") || starts(b"GIF89a") => "image/gif",
        _ if starts(b"RIFF") && at(8, b"WEBP") => "image/webp",
        _ if starts(b"RIFF") && at(8, b"WAVE") => "audio/wav",
        _ if starts(b"BM") && head.len() >= 18 && at(14, b"\x28\x00\x00\x00") => "image/bmp",
        _ if at(4, b"ftyp") => brand(head),
        _ if starts(b"\x1A\x45\xDF\xA3") => "video/webm",
        _ if starts(b"OggS") => {
            if at(28, b"OpusHead") {
                "audio/ogg; codecs=opus"
            } else {
                "audio/ogg"
            }
        }
        _ if starts(b"ID3") => "audio/mpeg",
        // A frame of MPEG audio: eleven bits, then a version and a layer that exist; layer 0 is how AAC says ADTS.
        [0xFF, second, ..] if second & 0xF6 == 0xF0 => "audio/aac",
        [0xFF, second, ..] if second & 0xE0 == 0xE0 && second & 0x18 != 0x08 && second & 0x06 != 0 => "audio/mpeg",
        _ if starts(b"#!AMR") => "audio/amr",
        _ if starts(b"fLaC") => "audio/flac",
        _ if starts(b"%PDF-") => "application/pdf",
        _ if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") => "application/zip",
        _ if starts(b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1") => "application/x-ole-storage",
        _ if starts(b"\x1F\x8B") => "application/gzip",
        _ if is_html(head) => "text/html",
        _ => return None,
    })
}

/// The kind of an ISO base media file, by its brand.
fn brand(head: &[u8]) -> &'static str {
    match head.get(8..12) {
        Some(b"M4A " | b"M4B ") => "audio/mp4",
        Some(b"qt  ") => "video/quicktime",
        Some(b"heic" | b"heix" | b"mif1" | b"msf1") => "image/heic",
        Some(b"avif" | b"avis") => "image/avif",
        Some([b'3', b'g', ..]) => "video/3gpp",
        _ => "video/mp4",
    }
}

fn is_html(head: &[u8]) -> bool {
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    begins(b"<!doctype html") || begins(b"<html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_tell_what_they_are() {
        let mut opus = b"OggS".to_vec();
        opus.resize(28, 0);
        opus.extend_from_slice(b"OpusHead");
        for (head, expected) in [
            (&b"\xFF\xD8\xFF\xE0JFIF"[..], Some("image/jpeg")),
            (b"\x89PNG\r\n\x1A\n....", Some("image/png")),
            (b"RIFF....WEBPVP8 ", Some("image/webp")),
            (b"RIFF....WAVEfmt ", Some("audio/wav")),
            (b"....ftypisom....", Some("video/mp4")),
            (b"....ftypM4A ....", Some("audio/mp4")),
            (b"....ftyp3gp4....", Some("video/3gpp")),
            (b"....ftypqt  ....", Some("video/quicktime")),
            (&opus, Some("audio/ogg; codecs=opus")),
            (b"OggS\0\0\0\0", Some("audio/ogg")),
            (b"ID3\x04", Some("audio/mpeg")),
            (b"\xFF\xFB\x90\x00", Some("audio/mpeg")),
            (b"\xFF\xF1\x50\x80", Some("audio/aac")),
            (b"#!AMR\n", Some("audio/amr")),
            (b"%PDF-1.7", Some("application/pdf")),
            (b"PK\x03\x04", Some("application/zip")),
            (b"\xEF\xBB\xBF\n<!DOCTYPE html><html>", Some("text/html")),
            (b"<html lang=en>", Some("text/html")),
            (b"plain text", None),
            (b"\xFF", None),
            (b"", None),
        ] {
            assert_eq!(sniff(head), expected, "{:?}", String::from_utf8_lossy(head));
        }
    }
}
