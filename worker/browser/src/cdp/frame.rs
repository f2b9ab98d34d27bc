//! Messages on a pipe: JSON, each followed by one NUL byte.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};

/// No message of ours comes near it; a longer one means that the stream is out of step.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

const CHUNK_BYTES: usize = 64 * 1024;

/// One message as it goes over the pipe.
pub(super) fn encode(message: &Value) -> Vec<u8> {
    let mut bytes = message.to_string().into_bytes();
    bytes.push(0);
    bytes
}

/// Cuts a byte stream into messages. `next` is cancel-safe: what was read stays in the buffer.
pub(super) struct Frames<R> {
    source: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are known to hold no NUL.
    searched: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(source: R) -> Self {
        Frames { source, buffer: Vec::new(), searched: 0 }
    }

    /// The next message without its NUL; `None` at the end of the stream, a torn rest is dropped.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|&b| b == 0) {
                let rest = self.buffer.split_off(self.searched + at + 1);
                let mut message = std::mem::replace(&mut self.buffer, rest);
                message.pop();
                self.searched = 0;
                return Ok(Some(message));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_MESSAGE_BYTES {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("a message is longer than {MAX_MESSAGE_BYTES} bytes"),
                ));
            }
            self.buffer.reserve(CHUNK_BYTES);
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn cut(chunks: &[&[u8]]) -> Vec<String> {
        let (mut far, near) = tokio::io::duplex(8);
        let all: Vec<Vec<u8>> = chunks.iter().map(|c| c.to_vec()).collect();
        tokio::spawn(async move {
            for chunk in all {
                tokio::io::AsyncWriteExt::write_all(&mut far, &chunk).await.expect("room");
            }
        });
        let mut frames = Frames::new(near);
        let mut cut = Vec::new();
        while let Some(message) = frames.next().await.expect("no error") {
            cut.push(String::from_utf8(message).expect("UTF-8"));
        }
        cut
    }

    #[tokio::test]
    async fn messages_are_cut_at_nul_wherever_the_chunks_end() {
        let cases: &[(&[&[u8]], &[&str])] = &[
            (&[], &[]),
            (&[b"{}\0"], &["{}"]),
            (&[b"{}\0[]\0"], &["{}", "[]"]),
            (&[b"{", b"}", b"\0"], &["{}"]),
            (&[b"a\0b", b"c\0"], &["a", "bc"]),
            (&[b"\0\0"], &["", ""]),
            (&[b"whole\0torn"], &["whole"]),
            (&[b"longer than the eight bytes of the pipe\0x\0"], &["longer than the eight bytes of the pipe", "x"]),
        ];
        for (chunks, messages) in cases {
            assert_eq!(&cut(chunks).await, messages);
        }
    }

    #[tokio::test]
    async fn a_stream_without_nul_is_given_up() {
        let endless = tokio::io::repeat(b'x');
        let error = Frames::new(endless).next().await.expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
