//! What a message's file can be an excuse for: looking into the network the worker stands in, and filling its disk.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use wafleet_imitation::Options;
use wafleet_protocol::command::{Command, Content, Media, MessageSend};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::Outcome;
use wafleet_tests::file_server::{Answer, FileServer};
use wafleet_tests::fleet::Target;
use wafleet_tests::invariants::Story;
use wafleet_tests::names::HostileNames;
use wafleet_tests::stage::Stage;

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";
const PNG: &[u8] = b"\x89PNG\r\n\x1A\n a picture";
/// Where files may be fetched, and an address of this machine that may not be asked.
const OUTSIDE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const INSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[tokio::test]
async fn a_name_that_changes_its_address_leads_nowhere_but_to_where_it_was_checked() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let story = Story::begin(&stage)?;
    let names = HostileNames::new(
        stage.fleet.scratch(),
        &[
            // Outside when it is checked, inside whenever it is asked for again.
            ("rebind.example", &["127.0.0.1", "127.0.0.2"]),
            ("turns.example", &["127.0.0.1", "127.0.0.2"]),
            // Both at once, in the hope that one is checked and the other one tried.
            ("both.example", &["127.0.0.1+127.0.0.2"]),
            ("inside.example", &["127.0.0.2"]),
            ("metadata.example", &["169.254.169.254"]),
            ("mapped.example", &["::ffff:127.0.0.1"]),
        ],
    )?;
    let files = FileServer::start(OUTSIDE).await?;
    let port = files.port();
    let inner = FileServer::start_at(INSIDE, port).await?;
    for server in [&files, &inner] {
        server.set("/photo.png", Answer::File("image/png", PNG.into()));
    }
    files.set("/turn", Answer::Redirect(format!("http://turns.example:{port}/photo.png")));
    let target = Target::new("s1")?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let worker = names.believed_by(stage.worker("w1")).env("WAFLEET_MEDIA_HTTP", "on");
    let mut worker = worker.env("WAFLEET_MEDIA_ALLOWED_NETWORKS", "127.0.0.1/32").spawn()?;
    worker.wait_until_ready().await?;
    stage.link(&target, &anna).await?;

    let send = async |url: String| {
        // A document is sent as it is, whatever its bytes are worth as a picture.
        let content = Content::Document(Media::at(url.parse()?));
        stage.host.ask(&target, &Command::MessageSend(MessageSend::new(BERT.parse()?, content))).await
    };
    // Asked for once, and connected to what was checked.
    let result = send(format!("http://rebind.example:{port}/photo.png")).await?;
    ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    ensure!(names.asked()? == ["rebind.example"] && files.asked() == ["/photo.png"], "{:?}", names.asked()?);
    for (host, path) in [
        ("rebind.example", "photo.png"),
        ("turns.example", "turn"),
        ("both.example", "photo.png"),
        ("inside.example", "photo.png"),
        ("metadata.example", "photo.png"),
        ("mapped.example", "photo.png"),
    ] {
        let result = send(format!("http://{host}:{port}/{path}")).await?;
        let error = result.error.as_ref().context("an error")?;
        ensure!(result.outcome == Outcome::Failed && error.code == ErrorCode::MediaRefused, "{host}: {result:?}");
        ensure!(error.message.contains("open internet"), "{host}: {}", error.message);
    }
    ensure!(inner.asked().is_empty(), "the inner server was asked for {:?}", inner.asked());
    ensure!(files.asked() == ["/photo.png", "/turn"], "{:?}", files.asked());
    // Each address once, and after a redirect once more.
    ensure!(names.asked()?.iter().filter(|name| *name == "turns.example").count() == 2, "{:?}", names.asked()?);
    ensure!(stage.site.sent().len() == 1, "{:?}", stage.site.sent());
    story.end(vec![worker]).await?;
    Ok(())
}
