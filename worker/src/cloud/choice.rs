//! By whom a message goes: a pure function of what is wanted, what was begun, and how the providers are.

use std::time::Duration;

use wafleet_protocol::provider::{Provider, ProviderChoice};

/// How the session's browser is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Web {
    /// The session has none.
    None,
    /// It can send.
    Online,
    /// It cannot, for so long.
    Away(Duration),
    /// It could, and its sends fail again and again.
    Failing,
}

/// How the session's number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    /// The session is this number.
    pub(crate) own: bool,
    /// Absence of the browser after which it helps out.
    pub(crate) after: Option<Duration>,
    /// Its breaker is closed.
    pub(crate) well: bool,
    /// Meta takes the message: a template comes with it, or the recipient is known to have written within 24 hours.
    pub(crate) open: bool,
}

/// Everything the choice depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Situation {
    /// What the command says.
    pub(crate) wanted: ProviderChoice,
    /// What was said for the session.
    pub(crate) chosen: ProviderChoice,
    /// An attempt was begun that may have sent it.
    pub(crate) begun: Option<Provider>,
    pub(crate) web: Web,
    pub(crate) number: Option<Number>,
}

/// By whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    Web,
    Cloud,
    /// By nobody now.
    Wait,
    /// By nobody ever, and why.
    Never(&'static str),
}

/// Decides.
pub(crate) fn choose(situation: Situation) -> Choice {
    let Situation { wanted, chosen, begun, web, number } = situation;
    // Whoever began it is the only one that may go on: the other would send it a second time.
    match begun {
        Some(Provider::Cloud) => return Choice::Cloud,
        Some(Provider::Web) => return by_web(web),
        None => {}
    }
    let wanted = if wanted == ProviderChoice::Auto { chosen } else { wanted };
    match (wanted, number) {
        (ProviderChoice::Web, _) if web == Web::None => Choice::Never("the session has no browser"),
        (ProviderChoice::Web, _) => by_web(web),
        (ProviderChoice::Cloud, None) => Choice::Never("the session has no Cloud API number"),
        (ProviderChoice::Cloud, Some(number)) => by_cloud(number),
        (ProviderChoice::Auto, None) if web == Web::None => {
            Choice::Never("the session has no Cloud API number any more")
        }
        (ProviderChoice::Auto, None) => by_web(web),
        (ProviderChoice::Auto, Some(number)) if number.own || web == Web::None => by_cloud(number),
        (ProviderChoice::Auto, Some(number)) => {
            let helps = number.well && number.open;
            match (web, number.after) {
                (Web::Away(away), Some(after)) if away >= after && helps => Choice::Cloud,
                (Web::Failing, Some(_)) if helps => Choice::Cloud,
                _ => by_web(web),
            }
        }
    }
}

fn by_web(web: Web) -> Choice {
    match web {
        Web::Online | Web::Failing => Choice::Web,
        Web::Away(_) | Web::None => Choice::Wait,
    }
}

fn by_cloud(number: Number) -> Choice {
    if number.well { Choice::Cloud } else { Choice::Wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Web = Web::Away(Duration::from_secs(61));
    const SHORT: Web = Web::Away(Duration::from_secs(59));
    const HELPER: Number = Number { own: false, after: Some(Duration::from_secs(60)), well: true, open: true };
    const OWN: Number = Number { own: true, after: None, well: true, open: false };

    #[test]
    fn the_choice_follows_wish_policy_and_health() {
        use Choice::{Cloud, Never, Wait, Web as ByWeb};
        use ProviderChoice::{Auto, Cloud as WantCloud, Web as WantWeb};
        let never = |choice| matches!(choice, Never(_));
        let base = Situation { wanted: Auto, chosen: Auto, begun: None, web: Web::Online, number: None };
        let cases = [
            (base, ByWeb),
            (Situation { web: LONG, ..base }, Wait),
            (Situation { number: Some(HELPER), ..base }, ByWeb),
            (Situation { number: Some(HELPER), web: LONG, ..base }, Cloud),
            (Situation { number: Some(HELPER), web: SHORT, ..base }, Wait),
            (Situation { number: Some(HELPER), web: Web::Failing, ..base }, Cloud),
            (Situation { number: Some(Number { after: None, ..HELPER }), web: LONG, ..base }, Wait),
            (Situation { number: Some(Number { after: None, ..HELPER }), web: Web::Failing, ..base }, ByWeb),
            (Situation { number: Some(Number { open: false, ..HELPER }), web: LONG, ..base }, Wait),
            (Situation { number: Some(Number { well: false, ..HELPER }), web: LONG, ..base }, Wait),
            (Situation { number: Some(Number { open: false, ..HELPER }), web: Web::Failing, ..base }, ByWeb),
            (Situation { number: Some(HELPER), web: LONG, wanted: WantWeb, ..base }, Wait),
            (Situation { number: Some(HELPER), web: LONG, chosen: WantWeb, ..base }, Wait),
            (Situation { number: Some(HELPER), chosen: WantCloud, ..base }, Cloud),
            (Situation { number: Some(HELPER), chosen: WantCloud, wanted: WantWeb, ..base }, ByWeb),
            (Situation { number: Some(HELPER), wanted: WantCloud, ..base }, Cloud),
            (Situation { number: Some(Number { well: false, ..HELPER }), wanted: WantCloud, ..base }, Wait),
            (Situation { number: Some(OWN), web: Web::None, ..base }, Cloud),
            (Situation { number: Some(Number { well: false, ..OWN }), web: Web::None, ..base }, Wait),
        ];
        for (situation, choice) in cases {
            assert_eq!(choose(situation), choice, "{situation:?}");
        }
        assert!(never(choose(Situation { wanted: WantCloud, ..base })));
        assert!(never(choose(Situation { wanted: WantWeb, web: Web::None, number: Some(OWN), ..base })));
        assert!(never(choose(Situation { web: Web::None, ..base })));
    }

    #[test]
    fn what_was_begun_by_one_is_never_gone_on_with_by_the_other() {
        let all = ProviderChoice::ALL;
        let numbers = [None, Some(HELPER), Some(OWN), Some(Number { well: false, ..HELPER })];
        for wanted in all {
            for chosen in all {
                for web in [Web::None, Web::Online, LONG, SHORT, Web::Failing] {
                    for number in numbers {
                        let choice = |begun| choose(Situation { wanted, chosen, begun: Some(begun), web, number });
                        assert_ne!(choice(Provider::Web), Choice::Cloud);
                        assert_eq!(choice(Provider::Cloud), Choice::Cloud);
                    }
                }
            }
        }
    }
}
