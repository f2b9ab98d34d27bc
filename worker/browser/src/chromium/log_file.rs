//! What a browser writes to stderr, kept in a file of bounded size.

use std::path::{Path, PathBuf};

use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// At this size the file becomes `chromium.log.1` and a new one is begun: twice this is kept.
const MAX_LOG_BYTES: u64 = 512 * 1024;

/// How much of its end goes into an error.
const TAIL_BYTES: usize = 2048;

/// Copies to the file until the browser closes its end. Never stops reading, whatever the disk
/// says: a browser that cannot write to stderr stands still.
pub(super) async fn copy(mut from: impl AsyncRead + Unpin, path: PathBuf) {
    let mut file = open(&path).await;
    let mut size = 0_u64;
    let mut chunk = vec![0; 8192];
    loop {
        let n = match from.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(n) => n,
        };
        if size > MAX_LOG_BYTES {
            // A failed rename only means that the old part is lost.
            let _ = tokio::fs::rename(&path, path.with_extension("log.1")).await;
            file = open(&path).await;
            size = 0;
        }
        if let Some(open) = &mut file
            && let Err(error) = write(open, &chunk[..n]).await
        {
            tracing::warn!(%error, "cannot write the browser's log");
            file = None;
        }
        size += n as u64;
    }
}

async fn write(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes).await?;
    file.flush().await
}

async fn open(path: &Path) -> Option<File> {
    let opened = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path).await;
    match opened {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::warn!(%error, "cannot open the browser's log");
            None
        }
    }
}

/// The end of the file, without the noise of a machine that has no D-Bus.
pub(super) async fn tail(path: &Path) -> String {
    let Ok(bytes) = tokio::fs::read(path).await else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text
        .lines()
        .rev()
        .filter(|line| !line.contains(":ERROR:dbus/"))
        .scan(0, |length, line| {
            *length += line.len() + 1;
            (*length <= TAIL_BYTES).then_some(line)
        })
        .collect();
    lines.reverse();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_log_is_bounded_and_its_end_is_kept() {
        let dir = std::env::temp_dir().join(format!("wafleet-log-{}", std::process::id()));
        tokio::fs::create_dir_all(&dir).await.expect("made");
        let path = dir.join("chromium.log");
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let copying = tokio::spawn(copy(near, path.clone()));
        for n in 0..40_000 {
            let line = format!("[1:2:ERROR:dbus/bus.cc:405] no bus\nline {n} of the browser\n");
            far.write_all(line.as_bytes()).await.expect("room");
        }
        drop(far);
        copying.await.expect("no panic");
        let kept: u64 = [path.clone(), path.with_extension("log.1")]
            .iter()
            .map(|p| std::fs::metadata(p).expect("there").len())
            .sum();
        assert!(kept < 2 * MAX_LOG_BYTES + 2 * 8192, "{kept}");
        let tail = tail(&path).await;
        assert!(tail.ends_with("line 39999 of the browser"), "{tail}");
        assert!(!tail.contains("dbus"));
        tokio::fs::remove_dir_all(&dir).await.expect("removed");
    }
}
