//! The imitation as a program, for people and for other processes: it serves the page and the control API until Ctrl-C.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use wafleet_imitation::{Imitation, Options, PageOptions, QrTimes};

/// An imitation of WhatsApp Web on a loopback port.
///
/// Prints its address as the first line of its output. `GET <address>control` lists what can be done with it.
#[derive(Debug, Parser)]
#[command(name = "imitation", version)]
struct Arguments {
    /// The port to listen on; 0 lets the kernel choose.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How long the first QR code is valid, in seconds.
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    first_qr: f64,
    /// How long each further QR code is valid, in seconds.
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    next_qr: f64,
    /// Make the page as heavy as the real one (12,000 modules).
    #[arg(long)]
    heavy: bool,
    /// A pause between two module bundles while the page starts, in milliseconds.
    #[arg(long, default_value_t = 0, value_name = "MILLISECONDS")]
    bundle_pause: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("IMITATION_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let (Ok(first), Ok(next)) =
        (Duration::try_from_secs_f64(arguments.first_qr), Duration::try_from_secs_f64(arguments.next_qr))
    else {
        tracing::error!("the life of a QR code must be a positive number of seconds");
        return ExitCode::FAILURE;
    };
    let options = Options {
        port: arguments.port,
        qr: QrTimes { first, next, ..QrTimes::default() },
        page: PageOptions {
            filler_modules: if arguments.heavy { PageOptions::REAL_MODULE_COUNT } else { 0 },
            bundle_pause_ms: arguments.bundle_pause,
            ..PageOptions::default()
        },
        ..Options::default()
    };
    let site = match Imitation::start(options).await {
        Ok(site) => site,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the imitation cannot start");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", site.url());
    tokio::select! {
        () = site.run() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    ExitCode::SUCCESS
}
