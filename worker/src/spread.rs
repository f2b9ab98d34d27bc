//! How sessions are spread over the workers of a fleet: who may claim how many, and who hands one over to whom.
//!
//! Pure functions over what the workers say of themselves. Every worker computes the same plan from the same roster and
//! carries out its own part of it, so nobody has to be elected. A share is in proportion to capacity (Webster's method: the
//! next session goes where `(2·load + 1) / capacity` is smallest), because shares by that rule change by one session when
//! the fleet's total does. A session is handed over only where that makes the spread strictly better; each hand-over
//! lowers the same sum of squares, so they come to an end and none is ever taken back.

use std::cmp::Ordering;
use std::time::Duration;

/// A worker as the others see it. A worker that drains is not on the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its id. Members are sorted by it, so that all break ties alike.
    pub(crate) id: String,
    /// Sessions it owns at most.
    pub(crate) capacity: u32,
    /// Sessions it owns, those not counted that it is handing over.
    pub(crate) load: u32,
}

/// How many of `total` sessions each member should own. They add up to `total`, or to all capacity there is.
pub(crate) fn shares(members: &[Member], total: u32) -> Vec<u32> {
    let room = members.iter().fold(0_u32, |sum, member| sum.saturating_add(member.capacity));
    let mut shares = vec![0; members.len()];
    for _ in 0..total.min(room) {
        let next = (0..members.len())
            .filter(|index| shares[*index] < members[*index].capacity)
            .min_by(|a, b| compare(2 * shares[*a] + 1, members[*a].capacity, 2 * shares[*b] + 1, members[*b].capacity));
        let Some(next) = next else { break };
        shares[next] += 1;
    }
    shares
}

/// The hand-overs that make the spread as even as it can be, as pairs of giver and taker, the most urgent first.
pub(crate) fn plan(members: &[Member]) -> Vec<(usize, usize)> {
    let total = members.iter().fold(0_u32, |sum, member| sum.saturating_add(member.load));
    let (shares, mut loads): (_, Vec<u32>) =
        (shares(members, total), members.iter().map(|member| member.load).collect());
    let mut plan = Vec::new();
    loop {
        let capacity = |index: usize| members[index].capacity;
        let giver = (0..members.len()).filter(|index| loads[*index] > shares[*index]).max_by(|a, b| {
            let order = compare(2 * loads[*a] - 1, capacity(*a), 2 * loads[*b] - 1, capacity(*b));
            order.then(b.cmp(a)) // the first of equals
        });
        let taker = (0..members.len())
            .filter(|index| loads[*index] < shares[*index])
            .min_by(|a, b| compare(2 * loads[*a] + 1, capacity(*a), 2 * loads[*b] + 1, capacity(*b)));
        let (Some(giver), Some(taker)) = (giver, taker) else { return plan };
        // As even the other way round: nothing is gained, and a browser would be started for it.
        if compare(2 * loads[giver] - 1, capacity(giver), 2 * loads[taker] + 1, capacity(taker)) != Ordering::Greater {
            return plan;
        }
        loads[giver] -= 1;
        loads[taker] += 1;
        plan.push((giver, taker));
    }
}

/// To whom the member `me` hands a session over next, if to anybody.
pub(crate) fn taker_for<'a>(members: &'a [Member], me: &str) -> Option<&'a Member> {
    plan(members).into_iter().find(|(giver, _)| members[*giver].id == me).map(|(_, taker)| &members[taker])
}

/// The member with most room for one more session, but not `me`.
pub(crate) fn roomiest<'a>(members: &'a [Member], me: &str) -> Option<&'a Member> {
    let others = members.iter().filter(|member| member.id != me && member.load < member.capacity);
    others.min_by(|a, b| compare(2 * a.load + 1, a.capacity, 2 * b.load + 1, b.capacity))
}

/// Compares the fractions `a / x` and `b / y`; a capacity is never zero.
fn compare(a: u32, x: u32, b: u32, y: u32) -> Ordering {
    (u64::from(a) * u64::from(y)).cmp(&(u64::from(b) * u64::from(x)))
}

/// A session that might be handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) session: String,
    /// Connected, and not on its way out. Others are not handed over: least of all one that is being linked.
    pub(crate) connected: bool,
    /// A command is being executed.
    pub(crate) busy: bool,
    /// Since the end of its last command.
    pub(crate) idle_for: Duration,
    /// Since it was claimed here.
    pub(crate) here_for: Duration,
}

/// Which session to hand over: the one that is longest without a command. One in the middle of a command is never taken;
/// there is a next look.
///
/// A session that has come less than `min_stay` ago is left where it is.
pub(crate) fn longest_idle(candidates: &[Candidate], min_stay: Duration) -> Option<&Candidate> {
    let movable = |candidate: &&Candidate| candidate.connected && !candidate.busy && candidate.here_for >= min_stay;
    candidates.iter().filter(movable).max_by(|a, b| a.idle_for.cmp(&b.idle_for).then(b.session.cmp(&a.session)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(loads: &[(u32, u32)]) -> Vec<Member> {
        let member = |(index, (capacity, load)): (usize, &(u32, u32))| Member {
            id: format!("w{index:02}"),
            capacity: *capacity,
            load: *load,
        };
        loads.iter().enumerate().map(member).collect()
    }

    #[test]
    fn shares_follow_capacity_and_add_up() {
        for (capacities, total, expected) in [
            (&[50][..], 7, &[7][..]),
            (&[50], 70, &[50]),
            (&[50, 50], 7, &[4, 3]),
            (&[50, 50, 50], 10, &[4, 3, 3]),
            (&[50, 100], 30, &[10, 20]),
            (&[1, 50], 20, &[0, 20]),
            (&[1, 50], 51, &[1, 50]),
            (&[5, 5], 0, &[0, 0]),
            (&[], 3, &[]),
        ] {
            let fleet: Vec<_> = capacities.iter().map(|capacity| (*capacity, 0)).collect();
            assert_eq!(shares(&members(&fleet), total), expected, "{capacities:?} {total}");
        }
    }

    #[test]
    fn a_session_is_handed_over_only_where_that_is_better() {
        for (fleet, expected) in [
            (&[(50, 4), (50, 0)][..], &[(0, 1), (0, 1)][..]),
            (&[(50, 2), (50, 0)], &[(0, 1)]),
            // As even the other way round.
            (&[(50, 1), (50, 0)], &[]),
            (&[(50, 0), (50, 1)], &[]),
            (&[(50, 4), (50, 3), (50, 3)], &[]),
            (&[(50, 3), (50, 4), (50, 3)], &[]),
            // A newcomer gets its share from those who have most.
            (&[(50, 5), (50, 4), (50, 0)], &[(0, 2), (0, 2), (1, 2)]),
            // A small worker is full with little.
            (&[(2, 2), (20, 4)], &[(0, 1)]),
            (&[(1, 1), (50, 50)], &[]),
            (&[(50, 9)], &[]),
            (&[], &[]),
        ] {
            assert_eq!(plan(&members(fleet)), expected, "{fleet:?}");
        }
    }

    #[test]
    fn the_longest_idle_session_goes_and_never_one_that_is_being_linked_or_used() {
        let candidate = |session: &str, connected, busy, idle, here| Candidate {
            session: session.to_owned(),
            connected,
            busy,
            idle_for: Duration::from_secs(idle),
            here_for: Duration::from_secs(here),
        };
        let all = [
            candidate("linking", false, false, 900, 900),
            candidate("sending", true, true, 800, 900),
            candidate("quiet", true, false, 300, 900),
            candidate("quieter", true, false, 400, 900),
            candidate("just-come", true, false, 10, 10),
        ];
        const STAY: Duration = Duration::from_secs(30);
        assert_eq!(longest_idle(&all, STAY).map(|found| found.session.as_str()), Some("quieter"));
        assert_eq!(longest_idle(&all[..2], STAY), None);
        assert_eq!(longest_idle(&all[4..], STAY), None);
        assert!(longest_idle(&all[4..], Duration::ZERO).is_some());
    }

    /// Fleets of up to eight workers, each with a load within its capacity.
    fn fleets() -> impl Strategy<Value = Vec<Member>> {
        let worker = (1..60_u32).prop_flat_map(|capacity| (Just(capacity), 0..=capacity));
        proptest::collection::vec(worker, 1..8).prop_map(|fleet| members(&fleet))
    }

    /// Each giver carries out the first part of the plan that is its own, all at once.
    fn round(fleet: &mut [Member]) -> usize {
        let seen = fleet.to_vec();
        let moves: Vec<_> =
            (0..seen.len()).filter_map(|me| Some((me, taker_for(&seen, &seen[me].id)?.id.clone()))).collect();
        for (giver, taker) in &moves {
            fleet[*giver].load -= 1;
            fleet.iter_mut().find(|member| member.id == *taker).expect("on the roster").load += 1;
        }
        moves.len()
    }

    /// What every hand-over must lower.
    fn unevenness(fleet: &[Member]) -> f64 {
        fleet.iter().map(|member| f64::from(member.load).powi(2) / f64::from(member.capacity)).sum()
    }

    proptest! {
        #[test]
        fn handing_over_ends_and_never_takes_anything_back(mut fleet in fleets()) {
            let total: u32 = fleet.iter().map(|member| member.load).sum();
            let fair = shares(&fleet, total);
            prop_assert_eq!(fair.iter().sum::<u32>(), total);
            let mut rounds = 0;
            loop {
                let before = fleet.clone();
                if round(&mut fleet) == 0 {
                    break;
                }
                rounds += 1;
                prop_assert!(rounds <= total, "no end: {:?}", fleet);
                prop_assert!(unevenness(&fleet) < unevenness(&before), "{:?} -> {:?}", before, fleet);
                prop_assert_eq!(fleet.iter().map(|member| member.load).sum::<u32>(), total);
                for ((now, then), fair) in fleet.iter().zip(&before).zip(&fair) {
                    prop_assert!(now.load <= now.capacity);
                    // Whoever gives stays at its share or above, whoever takes at its share or below.
                    prop_assert!(now.load >= then.load || now.load >= *fair, "{:?} below {}", now, fair);
                    prop_assert!(now.load <= then.load || now.load <= *fair, "{:?} above {}", now, fair);
                }
            }
            // As even as it can be: what is left of a difference to the shares is a tie.
            let at_shares: Vec<Member> =
                fleet.iter().zip(&fair).map(|(member, fair)| Member { load: *fair, ..member.clone() }).collect();
            prop_assert!((unevenness(&fleet) - unevenness(&at_shares)).abs() < 1e-9, "{:?} {:?}", fleet, fair);
        }

        #[test]
        fn one_session_more_or_less_moves_at_most_one_other(mut fleet in fleets(), which in 0..8_usize, more: bool) {
            while round(&mut fleet) > 0 {}
            let index = which % fleet.len();
            if more && fleet[index].load < fleet[index].capacity {
                fleet[index].load += 1;
            } else if !more && fleet[index].load > 0 {
                fleet[index].load -= 1;
            }
            let moved = plan(&fleet).len();
            prop_assert!(moved <= 1, "{} moves: {:?}", moved, fleet);
        }

        #[test]
        fn equal_workers_differ_by_one_session_at_most(loads in proptest::collection::vec(0..50_u32, 1..8)) {
            let fleet: Vec<_> = loads.iter().map(|load| (50, *load)).collect();
            let mut fleet = members(&fleet);
            while round(&mut fleet) > 0 {}
            let (most, least) = (fleet.iter().map(|member| member.load).max(), fleet.iter().map(|member| member.load).min());
            prop_assert!(most <= least.map(|least| least + 1), "{:?}", fleet);
        }
    }
}
