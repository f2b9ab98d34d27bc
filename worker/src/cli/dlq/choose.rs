//! Which letters are meant.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use wafleet_protocol::id::{CommandId, SessionId, WorkspaceId};
use wafleet_protocol::timestamp::Timestamp;

use crate::database::{Database, LetterFilter, LetterState};
use crate::world::unix_secs;

/// Filters; all that are given must hold.
#[derive(Debug, Default, Args)]
pub(crate) struct Choice {
    /// This letter, by its number; may be repeated.
    #[arg(long = "id", value_name = "LETTER")]
    ids: Vec<u64>,
    /// Of this workspace, as the letter claims.
    #[arg(long)]
    workspace: Option<WorkspaceId>,
    /// For this session, as the letter claims.
    #[arg(long)]
    session: Option<SessionId>,
    /// With this command id.
    #[arg(long, value_name = "ID")]
    command: Option<CommandId>,
    /// That died for this reason, e.g. unknown_session; may be repeated.
    #[arg(long, value_name = "WORD")]
    reason: Vec<String>,
    /// Of this command type, e.g. message.send.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// That died at or after this moment: 2026-11-22T07:00:00Z, or as long ago as 30m, 2h, 7d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// That died before this moment.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// In this state.
    #[arg(long, value_enum, default_value_t = StateChoice::New)]
    state: StateChoice,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateChoice {
    /// Nobody has decided about it.
    #[default]
    New,
    /// Published again.
    Replayed,
    /// Given up.
    Dropped,
    /// Any of them.
    All,
}

impl Choice {
    /// The filter that is meant.
    ///
    /// # Errors
    /// A time that is none.
    pub(crate) fn filter(&self) -> anyhow::Result<LetterFilter> {
        let now = unix_secs();
        let moment = |name: &str, text: &Option<String>| {
            text.as_deref().map(|text| parse_moment(text, now).with_context(|| name.to_owned())).transpose()
        };
        Ok(LetterFilter {
            ids: self.ids.clone(),
            workspace: self.workspace.map(WorkspaceId::get),
            session: self.session.as_ref().map(ToString::to_string),
            command: self.command.as_ref().map(ToString::to_string),
            reasons: self.reason.clone(),
            kind: self.kind.clone(),
            since: moment("--since", &self.since)?,
            until: moment("--until", &self.until)?,
            state: match self.state {
                StateChoice::New => Some(LetterState::New),
                StateChoice::Replayed => Some(LetterState::Replayed),
                StateChoice::Dropped => Some(LetterState::Dropped),
                StateChoice::All => None,
            },
        })
    }
}

/// The letters that an action is about, as they were when it began.
pub(crate) struct Selected {
    pub(crate) filter: LetterFilter,
    pub(crate) count: u64,
    /// Letters that come later are not meant: a replayed command that dies again must not be replayed for ever.
    pub(crate) last: u64,
}

impl Selected {
    /// Looks up what is meant.
    ///
    /// # Errors
    /// Nothing restricts the choice and it was not said that all are meant; a state that cannot be acted on; a letter that
    /// was named and is not there or was decided about; the database is away.
    pub(crate) async fn by(
        database: &Database,
        choice: &Choice,
        state: LetterState,
        all: bool,
    ) -> anyhow::Result<Self> {
        let filter = choice.filter()?;
        ensure!(filter.state == Some(state), "only letters in the state {} can be acted on", state.as_str());
        let restricted = filter != LetterFilter { state: filter.state, ..LetterFilter::default() };
        ensure!(restricted || all, "this means every letter: restrict it (--session, --reason, --id, …), or say --all");
        let (count, last) = database.letters_meant(&filter).await?;
        if !filter.ids.is_empty() {
            let named = LetterFilter { ids: filter.ids.clone(), ..LetterFilter::default() };
            let found = database.letters(&named, 0, u64::MAX, u32::MAX).await?;
            for id in &filter.ids {
                match found.iter().find(|letter| letter.id == *id) {
                    None => bail!("there is no letter {id}"),
                    Some(letter) if letter.state != state.as_str() => bail!("letter {id} is {} already", letter.state),
                    Some(_) => {}
                }
            }
        }
        Ok(Self { filter, count, last })
    }
}

/// `90s`, `30m`, `2h` or `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let parsed = units.iter().find_map(|(unit, secs)| {
        let number: u64 = text.strip_suffix(*unit)?.parse().ok()?;
        number.checked_mul(*secs).filter(|secs| *secs > 0)
    });
    parsed.map(Duration::from_secs).ok_or_else(|| "not a time such as 90s, 30m, 2h or 7d".to_owned())
}

/// A moment in RFC 3339, or so long before `now`; in unix seconds.
fn parse_moment(text: &str, now: u64) -> anyhow::Result<u64> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(now.saturating_sub(ago.as_secs()));
    }
    let moment: Timestamp = text.parse().ok().context("not a time such as 2026-11-22T07:00:00Z or 2h")?;
    Ok(moment.unix_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_given_as_moments_or_as_ages() {
        let now = 1_795_000_000;
        let cases = [
            ("90s", Some(now - 90)),
            ("30m", Some(now - 1_800)),
            ("2h", Some(now - 7_200)),
            ("7d", Some(now - 604_800)),
            ("99999d", Some(0)),
            ("1970-01-01T00:01:00Z", Some(60)),
            ("1970-01-01T01:01:00+01:00", Some(60)),
            ("0s", None),
            ("-2h", None),
            ("2", None),
            ("h", None),
            ("", None),
            ("yesterday", None),
            ("99999999999999999999d", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_moment(text, now).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_state_new_is_meant_unless_another_is_named() {
        assert_eq!(Choice::default().filter().expect("no times").state, Some(LetterState::New));
        let any = Choice { state: StateChoice::All, ..Choice::default() };
        assert_eq!(any.filter().expect("no times"), LetterFilter::default());
    }
}
