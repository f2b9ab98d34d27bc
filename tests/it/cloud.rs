//! Sessions that send by Meta's Cloud API, and sessions that fail over to it: by the real worker, against an imitation of
//! the Graph API.

mod campaign;
mod failover;
mod kinds;
mod sends;
mod tokens;

use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use wafleet_graph::Graph;
use wafleet_protocol::command::{CloudWebhook, Command, MessageSend, Route, SessionStart, Template};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{CommandResult, Envelope, Event, Outcome, ResultData, SentMessage, SessionStatus};
use wafleet_protocol::id::CommandId;
use wafleet_protocol::provider::{Provider, ProviderChoice};
use wafleet_tests::fleet::{Fleet, Host, Target, Worker, WorkerBuilder};

const NUMBER: &str = "106540352242922";
const TOKEN: &str = "EAAcanaryTokenOfMeta0123456789";
const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";

/// A fleet whose session `shop` is a number at Meta. Declare workers after it: they have to go first.
struct Scene {
    host: Host,
    fleet: Fleet,
    graph: Graph,
    shop: Target,
}

impl Scene {
    async fn set() -> Result<Self> {
        let graph = Graph::start().await?;
        graph.number(NUMBER, TOKEN);
        graph.template("login_code", "en_US");
        let fleet = Fleet::start().await?;
        let host = fleet.host().await?;
        let scene = Self { host, fleet, graph, shop: Target::new("shop")? };
        let operator = scene.worker("operator");
        add(&operator, TOKEN)?;
        cloud(&operator, &["bind", "shop", "--number", NUMBER, "--as", "session"])?;
        Ok(scene)
    }

    fn worker(&self, name: &str) -> WorkerBuilder {
        talking_to(self.fleet.worker(name).without_browser(), &self.graph)
    }

    /// A worker, and the session connected on it.
    async fn connected(&self, name: &str) -> Result<Worker> {
        let mut worker = self.worker(name).spawn()?;
        worker.wait_until_ready().await?;
        let mark = self.host.events().len();
        self.host.ask(&self.shop, &Command::SessionStart(SessionStart::default())).await?;
        self.host.wait_for_status(mark, &self.shop, SessionStatus::Connected).await?;
        Ok(worker)
    }

    async fn webhook(&self, body: serde_json::Value) -> Result<()> {
        let told = self.host.ask(&self.shop, &Command::CloudWebhook(CloudWebhook { body })).await?;
        ensure!(told.outcome == Outcome::Succeeded, "{told:?}");
        Ok(())
    }
}

/// A worker that takes the imitation for Meta, and gives it little time.
fn talking_to(worker: WorkerBuilder, graph: &Graph) -> WorkerBuilder {
    worker
        .env("WAFLEET_CLOUD_URL", graph.url())
        .env("WAFLEET_CLOUD_TIMEOUT_SECS", "3")
        .env("WAFLEET_CLAIM_INTERVAL_MS", "200")
        .env("WAFLEET_LEASE_TTL_SECS", "6")
}

/// Runs `wafleet cloud add` with the token on its standard input.
fn add(operator: &WorkerBuilder, token: &str) -> Result<()> {
    let mut command = operator.wafleet(&["cloud", "add", NUMBER, "--workspace", "1"])?;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("piped")?.write_all(token.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// Runs another `wafleet cloud …` that does not ask Meta.
fn cloud(operator: &WorkerBuilder, arguments: &[&str]) -> Result<String> {
    let arguments: Vec<&str> = std::iter::once("cloud").chain(arguments.iter().copied()).collect();
    let output = operator.wafleet(&arguments)?.output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// A text, by whomever, with a template for Meta or without.
fn routed(to: &str, text: &str, provider: Option<ProviderChoice>, template: Option<&str>) -> Result<Command> {
    let template =
        template.map(|name| Template { name: name.to_owned(), language: "en_US".to_owned(), components: Vec::new() });
    let route = Route { provider, template };
    Ok(Command::MessageSend(MessageSend { route, ..MessageSend::text(to.parse()?, text.try_into()?) }))
}

fn text(to: &str, text: &str) -> Result<Command> {
    routed(to, text, None, None)
}

/// The message of a command that succeeded by this provider.
fn sent(result: &CommandResult, provider: Provider) -> Result<&SentMessage> {
    match (&result.outcome, &result.data) {
        (Outcome::Succeeded, Some(ResultData::Message(message))) if result.provider == Some(provider) => Ok(message),
        _ => bail!("{result:?}"),
    }
}

/// Why a command failed by the Cloud API, with Meta's code.
fn refusal(result: &CommandResult) -> Result<(ErrorCode, Option<&str>)> {
    match &result.error {
        Some(error) if result.outcome == Outcome::Failed && result.provider == Some(Provider::Cloud) => {
            Ok((error.code, error.provider_code.as_deref()))
        }
        _ => bail!("{result:?}"),
    }
}

/// Waits until a command is told to be deferred.
async fn deferred(host: &Host, id: &CommandId) -> Result<CommandResult> {
    let find = |envelope: &Envelope| match &envelope.event {
        Event::CommandResult(result) if result.command_id == *id && result.outcome == Outcome::Deferred => {
            Some(result.clone())
        }
        _ => None,
    };
    host.events().wait_for(&format!("deferred result of {id}"), find).await
}
