//! Letters for people and for programs.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wafleet_protocol::timestamp::Timestamp;

use super::PAGE;
use super::reissue::Refusal;
use crate::database::{ArchivedLetter, Database, LetterFilter};
use crate::letter::printable;

/// Only the owner may read what people wrote to each other.
const PRIVATE: u32 = 0o600;

/// Whether the body is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Shown,
    Hidden,
}

/// `wafleet dlq list`
pub(super) async fn list(
    database: &Database,
    filter: &LetterFilter,
    after: u64,
    limit: u64,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let (meant, _) = database.letters_meant(filter).await?;
    if !as_json {
        println!(
            "{:>8}  {:<24}  {:<18} {:<8}  {:<20} {:<16} COMMAND",
            "LETTER", "DIED", "REASON", "STATE", "SESSION", "TYPE"
        );
    }
    let shown = pages(database, filter, after, Some(limit), |letter| {
        if as_json {
            println!("{}", described(letter, Body::Hidden));
        } else {
            println!("{}", line(letter));
        }
        Ok(())
    })
    .await?;
    if !as_json {
        eprintln!("{shown} of {meant} letters");
    }
    Ok(ExitCode::SUCCESS)
}

/// `wafleet dlq show`
pub(super) async fn one(database: &Database, letter: u64, body: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let filter = LetterFilter { ids: vec![letter], ..LetterFilter::default() };
    let found = database.letters(&filter, 0, u64::MAX, 1).await?;
    let Some(found) = found.first() else { bail!("there is no letter {letter}") };
    let described = described(found, if body { Body::Shown } else { Body::Hidden });
    if as_json {
        println!("{described}");
        return Ok(ExitCode::SUCCESS);
    }
    for (field, value) in described.as_object().into_iter().flatten() {
        match value {
            Value::Null => {}
            Value::Object(parts) => {
                println!("{field}");
                for (name, value) in parts.iter().filter(|(_, value)| !value.is_null()) {
                    println!("    {:<28} {}", printable(name, 64), text(value));
                }
            }
            value => println!("{field:<32} {}", text(value)),
        }
    }
    if !body {
        println!("{:<32} not shown (--body shows it)", "body");
    }
    Ok(ExitCode::SUCCESS)
}

/// `wafleet dlq export`
pub(super) async fn export(
    database: &Database,
    filter: &LetterFilter,
    limit: Option<u64>,
    out: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let Some(path) = out else {
        let mut stdout = std::io::stdout().lock();
        pages(database, filter, 0, limit, |letter| Ok(writeln!(stdout, "{}", described(letter, Body::Shown))?)).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path);
    let mut file = BufWriter::new(file.with_context(|| format!("cannot make {}", path.display()))?);
    let count =
        pages(database, filter, 0, limit, |letter| Ok(writeln!(file, "{}", described(letter, Body::Shown))?)).await?;
    let file = file.into_inner().with_context(|| format!("cannot write {}", path.display()))?;
    file.sync_all().with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("{count} letters written to {}, readable by its owner only", path.display());
    Ok(ExitCode::SUCCESS)
}

/// Calls `each` for the letters that are there now; returns how many there were.
async fn pages(
    database: &Database,
    filter: &LetterFilter,
    mut after: u64,
    limit: Option<u64>,
    mut each: impl FnMut(&ArchivedLetter) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let (_, last) = database.letters_meant(filter).await?;
    let (mut left, mut count) = (limit.unwrap_or(u64::MAX), 0);
    while left > 0 {
        let page = database.letters(filter, after, last, PAGE.min(u32::try_from(left).unwrap_or(PAGE))).await?;
        let Some(newest) = page.last() else { break };
        after = newest.id;
        left -= page.len() as u64;
        count += page.len() as u64;
        page.iter().try_for_each(&mut each)?;
    }
    Ok(count)
}

/// The count that an action ends with.
pub(super) fn told(as_json: bool, word: &str, count: u64, text: &str) {
    if as_json {
        println!("{}", json!({ word: count }));
    } else {
        println!("{text}");
    }
}

/// A letter that was chosen and is not replayed.
pub(super) fn refused(as_json: bool, letter: &ArchivedLetter, refusal: &Refusal) {
    if as_json {
        println!(
            "{}",
            json!({ "letter": letter.id, "command": letter.letter.command, "refused": refusal.to_string() })
        );
    } else {
        eprintln!("letter {} ({}) is refused: {refusal}", letter.id, name(letter));
    }
}

/// What a letter is called in a sentence.
pub(super) fn name(archived: &ArchivedLetter) -> String {
    let letter = &archived.letter;
    let command = letter.command.as_deref().unwrap_or("no command id");
    format!("{}, {command}", letter.reason)
}

fn line(archived: &ArchivedLetter) -> String {
    let letter = &archived.letter;
    let forged = if letter.genuine { "" } else { "  (not genuine)" };
    format!(
        "{:>8}  {:<24}  {:<18} {:<8}  {:<20} {:<16} {}{forged}",
        archived.id,
        moment(letter.at),
        letter.reason,
        archived.state,
        letter.session.as_deref().unwrap_or("-"),
        letter.kind.as_deref().unwrap_or("-"),
        letter.command.as_deref().unwrap_or("-"),
    )
}

/// A letter as JSON. The body as text if it is text, else in base64; hidden, only its size and hash are told.
fn described(archived: &ArchivedLetter, body: Body) -> Value {
    let letter = &archived.letter;
    let hash: String = letter.body_sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut described = json!({
        "letter": archived.id,
        "state": archived.state,
        "died_at": moment(letter.at),
        "archived_at": moment(archived.archived_at),
        "reason": letter.reason,
        "detail": letter.detail,
        "genuine": letter.genuine,
        "workspace": letter.workspace,
        "session": letter.session,
        "command": letter.command,
        "type": letter.kind,
        "exchange": letter.exchange,
        "routing_key": letter.routing_key,
        "worker": letter.worker,
        "properties": letter.properties,
        "headers": letter.headers,
        "history": letter.history,
        "replays": archived.replays,
        "settled_at": archived.settled_at.map(moment),
        "settled_by": archived.settled_by,
        "settled_why": archived.settled_why,
        "body_bytes": letter.body_bytes,
        "body_sha256": hash,
    });
    if let (Body::Shown, Some(bytes)) = (body, &letter.body) {
        match std::str::from_utf8(bytes) {
            Ok(text) => described["body"] = text.into(),
            Err(_) => described["body_base64"] = STANDARD.encode(bytes).into(),
        }
    }
    described
}

fn moment(secs: u64) -> String {
    Timestamp::from_unix_secs(secs).to_string()
}

/// A value for a terminal: on one line, without anything that could move the cursor.
fn text(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    printable(&text, usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::DeadLetter;
    use crate::dead_letter::tests::{delivery, keyring};

    fn archived() -> ArchivedLetter {
        let delivery = delivery(&wafleet_protocol::command::Command::SessionStatus, "control", &[]);
        ArchivedLetter {
            id: 7,
            letter: DeadLetter::of(&delivery, &keyring(), 1_600),
            archived_at: 1_600,
            state: "new".to_owned(),
            prepared: None,
            replays: 0,
            settled_at: None,
            settled_by: None,
            settled_why: None,
        }
    }

    #[test]
    fn a_body_is_shown_only_to_those_who_ask_for_it() {
        let mut letter = archived();
        assert!(!described(&letter, Body::Hidden).to_string().contains(r#"\"data\""#));
        let shown = described(&letter, Body::Shown);
        assert_eq!(shown["body"].as_str().map(str::as_bytes), letter.letter.body.as_deref());
        assert_eq!(shown["died_at"], "1970-01-01T00:26:40.000Z");
        letter.letter.body = Some(vec![0xff]);
        assert_eq!(described(&letter, Body::Shown)["body_base64"], "/w==");
    }

    #[test]
    fn what_is_shown_cannot_move_the_cursor() {
        assert_eq!(text(&"\u{1b}[2J\r\n".into()), "\u{fffd}[2J\u{fffd}\u{fffd}");
        assert!(line(&archived()).chars().all(|c| !c.is_control()));
    }
}
