//! Every command one end, every message at most one departure.

use std::collections::{BTreeMap, BTreeSet};

use wafleet_imitation::Departure;
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::Outcome;
use wafleet_protocol::id::{CommandId, MessageId, SessionId};

use crate::fleet::Posting;

/// The type of the command whose departure is looked for.
const MESSAGE: &str = "message.send";

/// A final result as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) command: String,
    pub(super) event: String,
    pub(super) outcome: Outcome,
    pub(super) code: Option<ErrorCode>,
}

impl Answer {
    /// Whether it is about a copy that was refused, and not about the command itself.
    fn is_of_a_copy(&self) -> bool {
        matches!(self.code, Some(ErrorCode::BodyChanged | ErrorCode::Rejected))
    }
}

/// The commands that have neither a final result nor a dead letter.
pub(super) fn open(postings: &[Posting], answers: &[Answer], dead: &BTreeSet<String>) -> Vec<String> {
    let ended: BTreeSet<&str> = answers.iter().map(|answer| answer.command.as_str()).collect();
    let is_open = |id: &&str| !ended.contains(id) && !dead.contains(*id);
    let ids: BTreeSet<&str> = postings.iter().map(|posting| posting.id.as_str()).collect();
    ids.into_iter().filter(is_open).map(str::to_owned).collect()
}

/// How commands ended, counted, and what is wrong with it.
pub(super) fn judge(
    postings: &[Posting],
    answers: &[Answer],
    dead: &BTreeSet<String>,
    departures: &[Departure],
) -> anyhow::Result<(BTreeMap<&'static str, usize>, Vec<String>)> {
    let (mut ends, mut broken) = (BTreeMap::new(), Vec::new());
    let by_id: BTreeMap<&str, &Posting> = postings.iter().map(|posting| (posting.id.as_str(), posting)).collect();
    let mut left: BTreeMap<&str, u32> = BTreeMap::new();
    for departure in departures {
        *left.entry(departure.id.as_str()).or_default() += departure.copies();
    }
    for (id, posting) in by_id {
        let what = format!("{} {id} of {}", posting.type_, posting.session);
        let own: Vec<&Answer> = answers.iter().filter(|answer| answer.command == id).collect();
        let results: BTreeSet<(&str, &'static str)> = own
            .iter()
            .filter(|answer| !answer.is_of_a_copy())
            .map(|answer| (answer.event.as_str(), answer.outcome.as_str()))
            .collect();
        let is_dead = dead.contains(id) || own.iter().any(|answer| answer.is_of_a_copy());
        let results: Vec<_> = results.into_iter().collect();
        let end = match results[..] {
            [] if is_dead => "dead letter",
            [] => {
                broken.push(format!("{what} has no end"));
                "open"
            }
            [(_, outcome)] => outcome,
            _ => {
                broken.push(format!("{what} has {} ends: {results:?}", results.len()));
                "several"
            }
        };
        *ends.entry(end).or_default() += 1;
        if posting.type_ != MESSAGE {
            continue;
        }
        let message = MessageId::for_command(&id.parse::<CommandId>()?, &posting.session.parse::<SessionId>()?);
        let copies = left.remove(message.as_str()).unwrap_or(0);
        let allowed = match end {
            "succeeded" => 1..=1,
            "failed" => 0..=0,
            _ => 0..=1,
        };
        if !allowed.contains(&copies) {
            broken.push(format!("{what} ended as {end}, and left {copies} times"));
        }
    }
    broken.extend(left.into_keys().map(|id| format!("message {id} left, and no command asked for it")));
    Ok((ends, broken))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use wafleet_imitation::{Address, Number};

    use super::*;

    const ID: &str = "test-00000000000000000000000000000001";

    fn posting() -> Posting {
        Posting { at: Instant::now(), id: ID.into(), type_: MESSAGE.into(), session: "s1".into() }
    }

    fn answer(event: &str, outcome: Outcome, code: Option<ErrorCode>) -> Answer {
        Answer { command: ID.into(), event: event.into(), outcome, code }
    }

    fn departures(copies: u32) -> Vec<Departure> {
        let number: Number = "4915112345678".parse().expect("a valid number");
        let (command, session) = (ID.parse::<CommandId>(), "s1".parse::<SessionId>());
        let id = MessageId::for_command(&command.expect("an id"), &session.expect("an id")).to_string();
        let one = Departure {
            id,
            chat: Address::Lid(number.lid()),
            to: Some(number.clone()),
            from: number,
            kind: "chat".to_owned(),
            text: "hello".to_owned(),
            content: serde_json::Value::Null,
            at_ms: 0,
            handed_in: copies,
            resent: 0,
            acknowledged: true,
        };
        if copies == 0 { Vec::new() } else { vec![one] }
    }

    /// The complaints about one command, with so many copies on their way.
    fn complaints(answers: &[Answer], dead: bool, copies: u32) -> Vec<String> {
        let dead = if dead { BTreeSet::from([ID.to_owned()]) } else { BTreeSet::new() };
        judge(&[posting()], answers, &dead, &departures(copies)).expect("ids are valid").1
    }

    #[test]
    fn one_end_and_one_departure_are_right_and_everything_else_is_said() {
        use Outcome::{Failed, Succeeded, Unknown};
        let succeeded = answer("e1", Succeeded, None);
        let failed = answer("e1", Failed, Some(ErrorCode::RecipientNotFound));
        let unknown = answer("e1", Unknown, Some(ErrorCode::Interrupted));
        let copy = answer("e2", Failed, Some(ErrorCode::BodyChanged));
        for (answers, dead, copies, fine) in [
            (vec![succeeded.clone()], false, 1, true),
            (vec![succeeded.clone(), succeeded.clone()], false, 1, true), // told at least once
            (vec![succeeded.clone(), copy.clone()], true, 1, true),
            (vec![succeeded.clone()], false, 0, false),
            (vec![succeeded.clone()], false, 2, false),
            (vec![failed.clone()], false, 0, true),
            (vec![failed.clone()], false, 1, false),
            (vec![unknown.clone()], false, 0, true),
            (vec![unknown.clone()], false, 1, true),
            (vec![unknown.clone()], false, 2, false),
            (vec![succeeded.clone(), answer("e3", Succeeded, None)], false, 1, false),
            (vec![succeeded.clone(), answer("e1", Failed, None)], false, 1, false),
            (vec![], true, 0, true),
            (vec![], true, 2, false),
            (vec![], false, 0, false),
        ] {
            let complaints = complaints(&answers, dead, copies);
            assert_eq!(complaints.is_empty(), fine, "{answers:?}, dead: {dead}, {copies} copies: {complaints:?}");
        }
    }

    #[test]
    fn a_message_that_nobody_asked_for_is_said() {
        let (_, broken) = judge(&[], &[], &BTreeSet::new(), &departures(1)).expect("ids are valid");
        assert_eq!(broken.len(), 1, "{broken:?}");
    }

    #[test]
    fn a_command_is_open_until_it_has_a_result_or_a_letter() {
        assert_eq!(open(&[posting()], &[], &BTreeSet::new()), [ID]);
        assert!(open(&[posting()], &[answer("e", Outcome::Unknown, None)], &BTreeSet::new()).is_empty());
        assert!(open(&[posting()], &[], &BTreeSet::from([ID.to_owned()])).is_empty());
    }
}
