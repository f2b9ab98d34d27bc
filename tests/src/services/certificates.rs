//! A certificate authority that lives as long as a run, and a certificate for the servers of it on 127.0.0.1.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::process::find;

/// Files in PEM.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority, which clients have to be told of.
    pub(super) authority: PathBuf,
    /// The servers' certificate.
    pub(super) certificate: PathBuf,
    /// Its key.
    pub(super) key: PathBuf,
}

impl Certificates {
    /// Makes them in `directory`, with the `openssl` that `ca-certificates` brings along.
    ///
    /// # Errors
    /// When `openssl` is missing or fails.
    pub fn make(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(
            directory.join("server.ext"),
            "subjectAltName = IP:127.0.0.1, DNS:localhost\nbasicConstraints = critical, CA:FALSE\nextendedKeyUsage = serverAuth\n",
        )?;
        let steps = [
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=wafleet-tests \
             -addext keyUsage=critical,keyCertSign -keyout authority.key -out authority.pem",
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=127.0.0.1 -keyout server.key -out server.csr",
            "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile server.ext -out server.pem",
        ];
        let openssl = find("openssl").context("openssl is missing")?;
        for step in steps {
            let mut command = Command::new(&openssl);
            command.args(step.split_whitespace()).current_dir(directory).stdin(Stdio::null());
            let output = command.output()?;
            ensure!(output.status.success(), "openssl {step}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let path = |name| directory.join(name);
        Ok(Self { authority: path("authority.pem"), certificate: path("server.pem"), key: path("server.key") })
    }
}
