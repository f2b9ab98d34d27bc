//! The conformance list: what a page must do to pass for WhatsApp Web, run against the imitation, or by hand against any
//! other page.
//!
//! ```text
//! cargo test -p wafleet-imitation --test conformance
//! CONFORMANCE_URL=https://web.whatsapp.com/ CONFORMANCE_PROFILE=/absolute/dir CONFORMANCE_ME=… CONFORMANCE_CONTACT=… \
//! CONFORMANCE_STRANGER=… CONFORMANCE_MISSING=… cargo test -p wafleet-imitation --test conformance -- --nocapture
//! ```

mod far_end;
mod library;
mod starting;
mod subject;
mod tab;

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::subject::Subject;

/// The stages, in the order in which a page goes through them.
const STAGES: [&str; 6] = ["page", "ready", "linking", "linked", "returning", "unlinked"];

/// One assertion as the page lists it.
#[derive(Clone, Debug, Deserialize)]
struct Assertion {
    name: String,
    stage: String,
    needs: Vec<String>,
}

/// What the page says about one run of an assertion.
#[derive(Debug, Deserialize)]
struct Verdict {
    ok: bool,
    detail: String,
    milliseconds: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_does_what_the_conformance_list_says() {
    let subject = Subject::open().await;
    let mut assertions: Vec<Assertion> = Vec::new();
    let mut failures = Vec::new();
    let mut held = 0;
    let mut skipped = 0;
    for stage in STAGES {
        subject.enter(stage).await;
        if assertions.is_empty() {
            assertions = subject.tab.evaluate("conformance.list()").await.expect("the list is plain data");
        }
        for assertion in assertions.iter().filter(|assertion| assertion.stage == stage) {
            if let Some(missing) = assertion.needs.iter().find(|need| !subject.offers(need)) {
                println!("      skipped  {} (needs: {missing})", assertion.name);
                skipped += 1;
                continue;
            }
            let run = format!("conformance.run({})", json!(assertion.name));
            let verdict: Verdict = match subject.tab.evaluate_within(&run, Duration::from_secs(180)).await {
                Ok(verdict) => verdict,
                Err(error) => Verdict { ok: false, detail: error, milliseconds: 0 },
            };
            let word = if verdict.ok { "ok" } else { "FAILED" };
            println!("{:>5} ms {word:>6}  {} {}", verdict.milliseconds, assertion.name, verdict.detail);
            if verdict.ok {
                held += 1;
            } else {
                failures.push(assertion.name.clone());
            }
        }
    }
    println!("{held} held, {} failed, {skipped} skipped, of {}", failures.len(), assertions.len());
    subject.close().await;
    assert!(assertions.len() >= 60, "the list has only {} assertions", assertions.len());
    assert!(assertions.iter().all(|assertion| STAGES.contains(&assertion.stage.as_str())), "an unknown stage");
    assert!(failures.is_empty(), "the page does not do this: {failures:#?}");
}
