//! The client against an imitation of Meta: what it takes for proof, and what it leaves open.

use std::time::Duration;

use wafleet_cloud::client::Graph as Client;
use wafleet_cloud::fault::{Fault as Met, Reason, Verdict, Wait};
use wafleet_cloud::message::{Body, Outgoing, Template};
use wafleet_cloud::token::{MetaId, Token};
use wafleet_graph::{Fault, Graph};

const NUMBER: &str = "106540352242922";
const TOKEN: &str = "EAAgood";
/// Long enough for an answer on a busy machine, short enough to be waited out.
const LIMIT: Duration = Duration::from_secs(3);

struct Scene {
    graph: Graph,
    client: Client,
    token: Token,
    number: MetaId,
}

async fn scene() -> Scene {
    let graph = Graph::start().await.expect("a free port");
    graph.number(NUMBER, TOKEN);
    let base = graph.url().parse().expect("an address");
    let client = Client::new(&base, "v24.0", LIMIT).expect("a client");
    Scene { graph, client, token: token(TOKEN), number: NUMBER.parse().expect("an id") }
}

fn token(text: &str) -> Token {
    Token::new(text).expect("a token")
}

fn text() -> Outgoing {
    Outgoing::new("4915112345678", Body::Text { text: "hello".into(), preview: false }, "cmd-1")
}

impl Scene {
    async fn send(&self) -> Result<String, Met> {
        self.client.send(&self.token, &self.number, &text()).await.map(|accepted| accepted.message_id)
    }
}

#[tokio::test]
async fn a_message_is_accepted_with_its_mark() {
    let scene = scene().await;
    let id = scene.send().await.expect("accepted");
    let accepted = scene.graph.accepted();
    assert_eq!(accepted.len(), 1);
    assert_eq!((&accepted[0].id, accepted[0].mark(), accepted[0].to.as_str()), (&id, Some("cmd-1"), "4915112345678"));
    let account = scene.client.account(&scene.token, &scene.number).await.expect("known");
    assert_eq!(account.id, NUMBER);
    scene.client.mark_read(&scene.token, &scene.number, "wamid.Q", true).await.expect("taken");
    assert_eq!(scene.graph.read(), ["wamid.Q"]);
    let medium = scene.client.upload(&scene.token, &scene.number, "image/png", "a.png", vec![1, 2, 3]).await;
    assert!(medium.is_ok_and(|id| !id.is_empty()));
}

#[tokio::test]
async fn what_never_left_may_be_tried_again() {
    let mut scene = scene().await;
    scene.graph.go_away();
    let fault = scene.send().await.expect_err("nobody is there");
    assert_eq!((fault.verdict, fault.is_outage()), (Verdict::Retry, true));
    scene.graph.come_back().await.expect("the port is free");
    scene.send().await.expect("accepted");
    assert_eq!(scene.graph.accepted().len(), 1);
}

#[tokio::test]
async fn what_may_have_left_is_unknown_and_sent_once() {
    let scene = scene().await;
    let faults = [
        (Fault::Hang { accepted: true }, 1),
        (Fault::Hang { accepted: false }, 0),
        (Fault::CutAfter, 1),
        (Fault::Gateway { status: 502, accepted: true }, 1),
        (Fault::Gateway { status: 503, accepted: false }, 0),
        (Fault::Refuse { status: 500, code: 131_000 }, 0),
    ];
    let (mut expected, mut requests) = (0, 0);
    for (fault, accepted) in faults {
        scene.graph.next(fault);
        let met = scene.send().await.expect_err("a fault");
        assert_eq!(met.verdict, Verdict::Unknown, "{fault:?}");
        expected += accepted;
        requests += 1;
        assert_eq!((scene.graph.accepted().len(), scene.graph.requests()), (expected, requests), "{fault:?}");
    }
    scene.graph.cut_next_connection();
    assert_eq!(scene.send().await.map_err(|fault| fault.verdict), Err(Verdict::Unknown));
    assert_eq!(scene.graph.requests(), requests, "the request was not repeated");
}

#[tokio::test]
async fn metas_refusals_are_proof() {
    let mut scene = scene().await;
    let cases = [
        (400, 131_047, Verdict::Failed(Reason::WindowClosed)),
        (400, 131_026, Verdict::Failed(Reason::Refused)),
        (429, 130_429, Verdict::Defer { after: Duration::from_secs(5), why: Wait::RateLimited }),
        (400, 131_056, Verdict::Defer { after: Duration::from_secs(60), why: Wait::PairRate }),
    ];
    for (status, code, verdict) in cases {
        scene.graph.next(Fault::Refuse { status, code });
        let met = scene.send().await.expect_err("refused");
        assert_eq!((met.verdict, met.code), (verdict, Some(code.to_string())));
    }
    let template = |name: &str| {
        let template = Template { name: name.into(), language: "de".into(), components: Vec::new() };
        Outgoing::new("4915112345678", Body::Template(template), "cmd-2")
    };
    scene.graph.template("hello", "de");
    scene.client.send(&scene.token, &scene.number, &template("hello")).await.expect("approved");
    let met = scene.client.send(&scene.token, &scene.number, &template("other")).await.expect_err("not approved");
    assert_eq!((met.verdict, met.code.as_deref()), (Verdict::Failed(Reason::TemplateRefused), Some("132001")));

    scene.graph.number(NUMBER, "EAAnew");
    let met = scene.send().await.expect_err("the token is expired");
    assert!(matches!(met.verdict, Verdict::Defer { why: Wait::Credentials, .. }) && !met.is_outage(), "{met:?}");
    scene.token = token("EAAnew");
    scene.send().await.expect("accepted");
    assert_eq!(scene.graph.accepted().len(), 2);
}
