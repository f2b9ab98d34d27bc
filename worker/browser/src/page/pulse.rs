//! Is anybody there? Counts answers and silences, decides what to do about them; no I/O.
//!
//! ```text
//!            a beat is answered          two silences of the page
//!   alive ◀───────────────────── silent ────────────────────────▶ freeing
//!     ▲                            │ two silences of the browser     │ still silent
//!     │      a beat is answered    ▼                                 ▼
//!     └────────────────────────── hung ◀─────────────────────────────┘
//! ```

use std::time::Duration;

/// From the start of one beat to the start of the next; a beat that takes longer delays the next.
pub(super) const BEAT_EVERY: Duration = Duration::from_secs(5);

/// The browser process answers in about a millisecond.
pub(super) const BROWSER_ANSWERS_IN: Duration = Duration::from_secs(2);

/// A page that starts up on a busy machine may keep its main thread for seconds.
pub(super) const PAGE_ANSWERS_IN: Duration = Duration::from_secs(5);

/// To drop what a page runs and to see whether it answers then, each; 2–11 ms measured.
pub(super) const FREED_IN: Duration = Duration::from_secs(2);

/// So many silences in a row are no coincidence.
const SILENCES: u32 = 2;

/// What a beat found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// It answered.
    Answered,
    /// It did not answer in time.
    Silent,
    /// There is nobody to ask: the tab has crashed or is being exchanged.
    Absent,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Fine,
    /// Make the page drop what it runs, then report with [`Pulse::freed`].
    Free,
    /// Report that it hangs; said once, until it answers again.
    Hung,
}

#[derive(Debug, Default)]
pub(super) struct Pulse {
    browser_silences: u32,
    page_silences: u32,
    told: bool,
}

impl Pulse {
    pub(super) fn beat(&mut self, browser: Beat, page: Beat) -> Verdict {
        count(&mut self.browser_silences, browser);
        count(&mut self.page_silences, page);
        if self.browser_silences == 0 && self.page_silences == 0 {
            self.told = false;
        }
        if self.told {
            Verdict::Fine
        } else if self.browser_silences >= SILENCES {
            // Without the browser process nothing can be done about the page.
            self.told = true;
            Verdict::Hung
        } else if self.page_silences >= SILENCES {
            Verdict::Free
        } else {
            Verdict::Fine
        }
    }

    /// After [`Verdict::Free`]: whether the page answered then.
    pub(super) fn freed(&mut self, answered: bool) -> Verdict {
        if answered {
            self.page_silences = 0;
            Verdict::Fine
        } else if self.told {
            Verdict::Fine
        } else {
            self.told = true;
            Verdict::Hung
        }
    }
}

fn count(silences: &mut u32, beat: Beat) {
    match beat {
        Beat::Answered | Beat::Absent => *silences = 0,
        Beat::Silent => *silences += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::Beat::{Absent, Answered, Silent};
    use super::*;

    fn verdicts(beats: &[(Beat, Beat)]) -> Vec<Verdict> {
        let mut pulse = Pulse::default();
        beats.iter().map(|&(browser, page)| pulse.beat(browser, page)).collect()
    }

    #[test]
    fn two_silences_in_a_row_are_acted_upon_and_one_is_not() {
        use Verdict::{Fine, Free, Hung};
        for (beats, expected) in [
            (&[(Answered, Answered), (Answered, Silent), (Answered, Answered), (Answered, Silent)][..], vec![Fine; 4]),
            (&[(Answered, Silent), (Answered, Silent)], vec![Fine, Free]),
            (&[(Silent, Silent), (Silent, Silent), (Silent, Silent)], vec![Fine, Hung, Fine]),
            (&[(Silent, Answered), (Answered, Answered), (Silent, Answered)], vec![Fine; 3]),
            (&[(Answered, Silent), (Answered, Absent), (Answered, Silent)], vec![Fine; 3]),
            (&[(Answered, Absent), (Answered, Absent)], vec![Fine; 2]),
        ] {
            assert_eq!(verdicts(beats), expected, "{beats:?}");
        }
    }

    #[test]
    fn a_page_that_stays_silent_is_reported_once_and_again_after_a_recovery() {
        let mut pulse = Pulse::default();
        pulse.beat(Answered, Silent);
        assert_eq!(pulse.beat(Answered, Silent), Verdict::Free);
        assert_eq!(pulse.freed(false), Verdict::Hung);
        assert_eq!(pulse.beat(Answered, Silent), Verdict::Fine);
        assert_eq!(pulse.freed(false), Verdict::Fine);
        assert_eq!(pulse.beat(Answered, Answered), Verdict::Fine);
        pulse.beat(Answered, Silent);
        assert_eq!(pulse.beat(Answered, Silent), Verdict::Free);
        assert_eq!(pulse.freed(true), Verdict::Fine);
        assert_eq!(pulse.beat(Answered, Silent), Verdict::Fine);
    }
}
