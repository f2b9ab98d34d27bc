//! How many messages of 1 KiB a single core signs and verifies in a second. Build it with `--release`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use wafleet_protocol::command::{Command, MessageSend};
use wafleet_protocol::id::{CommandId, SessionId, WorkspaceId};
use wafleet_protocol::signing::{
    Audience, CONTENT_TYPE, Claims, HeaderValue, Keyring, RawProperties, Role, Scope, Secret, Signed, SigningKey, sign,
};

const ROUND: Duration = Duration::from_secs(2);
const NOW: u64 = 1_795_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = SigningKey::new("cmd-1".parse()?, Role::Commands, Secret::from_bytes(vec![7; 32])?, Scope::All, None);
    let keyring = Keyring::new(vec![key.clone()])?;
    let (id, session): (CommandId, SessionId) = ("01JD0000000000000000000001".parse()?, "support-01".parse()?);
    let workspace = WorkspaceId::new(7)?;
    let command = Command::MessageSend(MessageSend::text("4915112345678".parse()?, "x".repeat(925).try_into()?));
    let body = wafleet_protocol::command::CommandBody::new(&command, None).to_bytes();
    let claims = Claims::command(&command, &id, workspace, &session, NOW, NOW + 86_400);
    let pairs = sign(&key, &claims, &body).to_pairs();
    let headers: Vec<_> = pairs.iter().map(|(name, text)| (*name, HeaderValue::Text(text))).collect();
    let properties = RawProperties {
        message_id: Some(id.as_str()),
        type_: Some(command.type_name()),
        content_type: Some(CONTENT_TYPE),
        headers: &headers,
    };

    println!("body: {} bytes; one thread; {} s each", body.len(), ROUND.as_secs());
    println!("sign                    {:>9.0} /s", rate(|| drop(sign(&key, &claims, black_box(&body)))));
    let verify = || Signed::new(properties, black_box(&body)).verify(&keyring, Audience::Commands, NOW);
    verify()?;
    println!("verify                  {:>9.0} /s", rate(|| drop(verify())));
    let parse = || Command::parse(command.type_name(), black_box(&body));
    parse()?;
    println!("verify and parse        {:>9.0} /s", rate(|| drop((verify(), parse()))));
    let forged: Vec<_> = body.iter().map(|byte| byte ^ 1).collect();
    let refuse = || Signed::new(properties, black_box(&forged)).verify(&keyring, Audience::Commands, NOW);
    assert!(refuse().is_err(), "a forgery is refused");
    println!("refuse a forgery        {:>9.0} /s", rate(|| drop(refuse())));
    Ok(())
}

/// How often `work` runs in a second, after a tenth of the round to warm up.
fn rate(work: impl Fn()) -> f64 {
    run_for(ROUND / 10, &work);
    run_for(ROUND, &work)
}

fn run_for(time: Duration, work: &impl Fn()) -> f64 {
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < time {
        for _ in 0..100 {
            work();
        }
        count += 100;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}
