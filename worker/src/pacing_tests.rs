use proptest::prelude::*;

use super::*;

const START: u64 = 1_795_000_000_000;

fn limits() -> Limits {
    Limits {
        per_minute: 20,
        per_hour: 500,
        per_day: 5000,
        urgent_reserve_percent: 25,
        cold_per_day: 50,
        checks_per_hour: 60,
        contact_per_minute: 10,
        warm_up_days: 7,
        weight: 100,
        typing_chars_per_second: 15,
    }
}

fn to(contact: u64) -> Ask {
    Ask { urgent: false, contact, cold: false, checked: false, typing_ms: 0 }
}

fn urgent(contact: u64) -> Ask {
    Ask { urgent: true, ..to(contact) }
}

fn cold(contact: u64) -> Ask {
    Ask { cold: true, checked: true, ..to(contact) }
}

/// Sends one after the other, waiting as told, and says when each went.
fn send(spent: &mut Spent, limits: &Limits, asks: impl IntoIterator<Item = Ask>, mut now: u64) -> Vec<u64> {
    let mut sent = Vec::new();
    for ask in asks {
        loop {
            match spent.decide(limits, &ask, now, 0.5) {
                Verdict::Go(_) => break sent.push(now),
                Verdict::Wait { until, .. } => now = until,
            }
        }
    }
    sent
}

#[test]
fn the_pause_grows_with_the_volume_of_the_last_minute() {
    let cases =
        [(1, 0), (4, 0), (5, 1000), (9, 1000), (10, 2000), (13, 2000), (14, 3000), (17, 3000), (18, 5000), (25, 5000)];
    for (volume, expected) in cases {
        assert_eq!(delay_ms(volume, 20, 0.5), expected, "{volume}");
    }
    assert_eq!((delay_ms(18, 20, 0.0), delay_ms(18, 20, 1.0)), (3750, 6250));
}

#[test]
fn a_text_is_typed_for_as_long_as_it_is_within_bounds_and_the_pause_begins_after_it() {
    let limits = limits();
    for (characters, dice, expected) in [
        (0, 0.5, 0),
        (1, 0.5, 500),
        (15, 0.5, 1_000),
        (15, 0.0, 750),
        (15, 1.0, 1_250),
        (60, 0.5, 4_000),
        (90, 1.0, 6_000),
        (65_536, 0.0, 4_500),
        (usize::MAX, 1.0, 6_000),
    ] {
        assert_eq!(limits.typing_ms(characters, dice), expected, "{characters} {dice}");
    }
    assert_eq!(Limits { typing_chars_per_second: 0, ..limits.clone() }.typing_ms(500, 0.5), 0, "switched off");

    // On a simulated clock: whoever types four seconds before each text has so much less of the minute.
    let typed = |typing_ms| (0..20).map(move |contact| Ask { typing_ms, ..to(contact) });
    let sent = send(&mut Spent::default(), &limits, typed(4_000), START);
    for (index, pair) in sent.windows(2).enumerate() {
        let delay = delay_ms(u32::try_from(index).unwrap_or(0) + 1, limits.per_minute, 0.5);
        assert!(pair[1] - pair[0] >= 4_000 + delay.min(1_000), "{index}: {pair:?}");
    }
    assert_eq!(sent[1] - sent[0], 4_000);

    // One that was overtaken while it was typed leaves no pause behind, and an urgent one waits for none.
    let mut spent = Spent::default();
    let Verdict::Go(ticket) = spent.decide(&limits, &Ask { typing_ms: 4_000, ..to(1) }, START, 0.5) else {
        panic!("nothing was sent before")
    };
    assert!(matches!(spent.decide(&limits, &to(2), START, 0.5), Verdict::Wait { why: Why::Delay, .. }));
    assert!(matches!(spent.clone().decide(&limits, &urgent(2), START, 0.5), Verdict::Go(_)));
    spent.refund(&ticket, Refund::All);
    assert!(matches!(spent.decide(&limits, &to(2), START, 0.5), Verdict::Go(_)));
}

#[test]
fn each_limit_says_until_when_and_why() {
    let small = Limits { per_minute: 3, per_hour: 5, per_day: 6, ..limits() };
    let none = Limits { per_minute: 1000, ..limits() };
    let fill = |limits: &Limits, asks: Vec<Ask>| {
        let mut spent = Spent::default();
        send(&mut spent, limits, asks, START);
        spent
    };
    let now = START + 30_000; // after every pause
    let cases = [
        ("the minute", fill(&small, vec![to(1), to(2), to(3)]), &small, to(4), Some(Why::Minute)),
        ("the reserve", fill(&small, vec![to(1), to(2), to(3)]), &small, urgent(4), None),
        ("one contact", fill(&none, vec![to(1); 10]), &none, to(1), Some(Why::Contact)),
        ("another contact", fill(&none, vec![to(1); 10]), &none, to(2), None),
        (
            "cold",
            fill(&Limits { cold_per_day: 1, ..none.clone() }, vec![cold(1)]),
            &Limits { cold_per_day: 1, ..none.clone() },
            cold(2),
            Some(Why::Cold),
        ),
        (
            "not cold",
            fill(&Limits { cold_per_day: 1, ..none.clone() }, vec![cold(1)]),
            &Limits { cold_per_day: 1, ..none.clone() },
            to(2),
            None,
        ),
        (
            "checks",
            fill(&Limits { checks_per_hour: 1, ..none.clone() }, vec![cold(1)]),
            &Limits { checks_per_hour: 1, ..none.clone() },
            cold(2),
            Some(Why::Checks),
        ),
        ("nothing at all", Spent::default(), &Limits { cold_per_day: 0, ..none.clone() }, cold(1), Some(Why::Cold)),
    ];
    for (name, mut spent, limits, ask, expected) in cases {
        let before = spent.clone();
        match (spent.decide(limits, &ask, now, 0.5), expected) {
            (Verdict::Go(_), None) => {}
            (Verdict::Wait { until, why }, Some(expected)) => {
                assert_eq!(why, expected, "{name}");
                assert!(until > now, "{name}");
                assert_eq!(spent, before, "{name}: waiting costs nothing");
            }
            (verdict, _) => panic!("{name}: {verdict:?}"),
        }
    }
}

#[test]
fn look_ups_share_the_limit_with_first_messages_and_cost_no_message() {
    let (mut spent, few) = (Spent::default(), Limits { checks_per_hour: 3, ..limits() });
    assert_eq!((spent.look_up(&few, START), spent.look_up(&few, START)), (None, None));
    assert!(matches!(spent.decide(&few, &cold(1), START, 0.5), Verdict::Go(_)));
    let until = spent.look_up(&few, START).expect("the hour is used up");
    assert!(until > START && spent.look_up(&few, until).is_none(), "{until}");
    assert_eq!(spent.standing(&few, u64::MAX, START).hour.used, 1);
}

#[test]
fn a_restriction_pauses_cold_messages_only_and_until_its_end() {
    let mut spent = Spent::default();
    let end = START + 3_600_000;
    assert!(spent.restrict(Some(Restricted { kind: "reachout_timelock".to_owned(), until: Some(end) })));
    assert_eq!(spent.decide(&limits(), &cold(1), START, 0.5), Verdict::Wait { until: end, why: Why::Restricted });
    assert!(matches!(spent.decide(&limits(), &Ask { urgent: true, ..cold(1) }, START, 0.5), Verdict::Wait { .. }));
    assert!(matches!(spent.decide(&limits(), &to(1), START, 0.5), Verdict::Go(_)));
    assert!(matches!(spent.decide(&limits(), &cold(2), end, 0.5), Verdict::Go(_)), "it ended");
    assert!(spent.restrict(Some(Restricted { kind: "reachout_timelock".to_owned(), until: None })));
    assert!(matches!(spent.decide(&limits(), &cold(3), end, 0.5), Verdict::Wait { .. }));
    assert!(spent.restrict(None) && !spent.restrict(None));
    assert!(matches!(spent.decide(&limits(), &cold(3), end, 0.5), Verdict::Go(_)));
}

#[test]
fn what_did_not_go_out_is_given_back() {
    let one = Limits { per_minute: 1, urgent_reserve_percent: 0, cold_per_day: 1, checks_per_hour: 1, ..limits() };
    for (refund, checks) in [(Refund::All, 0), (Refund::NotTheCheck, 1)] {
        let mut spent = Spent::default();
        let Verdict::Go(ticket) = spent.decide(&one, &cold(1), START, 0.5) else { panic!("it goes") };
        spent.refund(&ticket, refund);
        let standing = spent.standing(&one, 30 * DAY_SECS, START);
        let used = [&standing.minute, &standing.hour, &standing.day, &standing.cold_day, &standing.checks_hour];
        assert_eq!(used.map(|used| used.used), [0, 0, 0, 0, checks], "{refund:?}");
    }
}

#[test]
fn a_new_number_warms_up() {
    let cases =
        [(0, 10, 2, 500), (DAY_SECS * 7 / 2, 55, 11, 2750), (DAY_SECS * 7, 100, 20, 5000), (u64::MAX, 100, 20, 5000)];
    for (age, percent, per_minute, per_day) in cases {
        let warm = limits().warmed(age);
        assert_eq!(
            (limits().warmth_percent(age), warm.per_minute, warm.per_day),
            (percent, per_minute, per_day),
            "{age}"
        );
    }
    assert_eq!(Limits { warm_up_days: 0, ..limits() }.warmed(0).per_day, 5000);
    assert_eq!(Limits { cold_per_day: 0, ..limits() }.warmed(0).cold_per_day, 0, "what is forbidden stays so");
}

#[test]
fn weight_health_and_budget_decide_the_share_of_a_campaign() {
    let fresh = Spent::default();
    assert_eq!(fresh.campaign_gap(&limits(), 100, START), 3000, "an even minute");
    assert_eq!(fresh.campaign_gap(&Limits { weight: 50, ..limits() }, 100, START), 6000);
    assert_eq!(fresh.campaign_gap(&Limits { weight: 50, ..limits() }, 50, START), 12_000);
    assert_eq!(fresh.campaign_gap(&limits(), 0, START), 150_000, "it takes a little");
    let mut half = Spent::default();
    let wide = Limits { per_minute: 100_000, per_hour: 100, contact_per_minute: 1000, ..limits() };
    send(&mut half, &wide, vec![to(1); 50], START);
    assert_eq!(half.campaign_gap(&Limits { per_minute: 20, ..wide }, 100, START), 6000);
}

#[test]
fn a_clock_that_jumped_far_ahead_blocks_nobody_for_ever() {
    let mut spent = Spent::default();
    let one = Limits { per_day: 1, ..limits() };
    send(&mut spent, &one, [to(1)], START + 365 * DAY_SECS * 1000);
    assert!(matches!(spent.decide(&one, &to(2), START, 0.5), Verdict::Go(_)));
}

#[test]
fn what_is_kept_in_redis_is_small_and_comes_back_as_it_was() {
    let mut spent = Spent::default();
    let wide = Limits { per_minute: 1000, contact_per_minute: 1000, ..limits() };
    send(&mut spent, &wide, (0..5000).map(|number| to(number % 50)), START);
    let text = serde_json::to_string(&spent).expect("plain data");
    assert!(text.len() < 16_000, "{}", text.len());
    assert_eq!(serde_json::from_str::<Spent>(&text).expect("as written"), spent);
}

proptest! {
    /// Whatever is asked whenever, no stretch of a window's length holds more than its limit.
    #[test]
    fn no_window_ever_holds_more_than_its_limit(
        steps in prop::collection::vec((0u64..40_000, 0u64..4, any::<bool>(), any::<bool>(), 0.0f64..1.0), 1..400),
        per_minute in 1u32..30, per_hour in 1u32..60, contact_per_minute in 1u32..10, cold_per_day in 0u32..5,
    ) {
        let limits = Limits { per_minute, per_hour, contact_per_minute, cold_per_day, ..limits() };
        let (mut spent, mut now, mut sent) = (Spent::default(), START, Vec::new());
        for (pause, contact, urgent, cold, dice) in steps {
            now += pause;
            let ask = Ask { urgent, contact, cold, checked: cold, typing_ms: 0 };
            match spent.decide(&limits, &ask, now, dice) {
                Verdict::Go(_) => sent.push((now, ask)),
                Verdict::Wait { until, .. } => {
                    prop_assert!(until > now);
                    // Nothing else in between: at the moment that was told, it goes, unless it is forbidden.
                    let mut then = spent.clone();
                    let again = then.decide(&limits, &ask, until, dice);
                    prop_assert!(matches!(again, Verdict::Go(_)) || (cold && cold_per_day == 0), "{again:?}");
                }
            }
        }
        let most = |length: u64, wanted: &dyn Fn(&Ask) -> bool| {
            let times: Vec<u64> = sent.iter().filter(|(_, ask)| wanted(ask)).map(|(at, _)| *at).collect();
            times.iter().map(|end| times.iter().filter(|at| **at <= *end && end - **at < length).count()).max().unwrap_or(0)
        };
        let reserve = |limit: u32| limit as usize + (limit as usize * 25 / 100).max(1);
        prop_assert!(most(60_000, &|_| true) <= reserve(per_minute));
        prop_assert!(most(3_600_000, &|_| true) <= reserve(per_hour));
        prop_assert!(most(60_000, &|ask| !ask.urgent) <= per_minute as usize);
        prop_assert!(most(3_600_000, &|ask| !ask.urgent) <= per_hour as usize);
        prop_assert!(most(86_400_000, &|ask| ask.cold) <= cold_per_day as usize);
        for contact in 0..4 {
            prop_assert!(most(60_000, &|ask| ask.contact == contact) <= contact_per_minute as usize);
        }
    }

    /// A refund undoes exactly one message, whenever it comes.
    #[test]
    fn a_refund_undoes_one_message(count in 1usize..20, which in any::<prop::sample::Index>()) {
        let wide = Limits { per_minute: 1000, contact_per_minute: 1000, ..limits() };
        let (mut spent, mut now, mut tickets) = (Spent::default(), START, Vec::new());
        for number in 0..count as u64 {
            now += 1500;
            if let Verdict::Go(ticket) = spent.decide(&wide, &to(number), now, 0.5) {
                tickets.push(ticket);
            }
        }
        let before = spent.standing(&wide, u64::MAX, now).minute.used;
        spent.refund(which.get(&tickets), Refund::All);
        prop_assert_eq!(spent.standing(&wide, u64::MAX, now).minute.used, before - 1);
    }

    /// Sessions that take turns at one queue get the more of it the more weight, health and budget they have; and in
    /// proportion to them where no session is near its limit of a minute.
    #[test]
    fn a_campaign_is_shared_in_proportion_to_weight_health_and_budget(
        sessions in prop::collection::vec((5u32..=100, 20u8..=100, 0u32..=80), 2..6),
    ) {
        const LENGTH_MS: u64 = 20 * 60_000;
        let limits = |weight| Limits { per_hour: 5000, per_day: 50_000, contact_per_minute: 1000, weight, ..limits() };
        let mut taking: Vec<(Spent, u64, u32)> = sessions.iter().map(|(_, _, used_percent)| {
            let mut spent = Spent::default();
            for _ in 0..5000 * used_percent / 100 {
                spent.hour.add(HOUR, START);
            }
            (spent, START, 0)
        }).collect();
        loop {
            let next = (0..taking.len()).min_by_key(|index| taking[*index].1).expect("some session");
            let (weight, health, _) = sessions[next];
            let (spent, at, sent) = &mut taking[next];
            if *at > START + LENGTH_MS {
                break;
            }
            match spent.decide(&limits(weight), &to(u64::from(*sent)), *at, 0.5) {
                Verdict::Go(_) => {
                    *sent += 1;
                    *at = spent.next_at(&limits(weight), *at).max(*at + spent.campaign_gap(&limits(weight), health, *at));
                }
                Verdict::Wait { until, .. } => *at = until,
            }
        }
        let shares: Vec<(f64, f64)> = sessions.iter().zip(&taking).map(|((weight, health, used_percent), (_, _, sent))| {
            let share = f64::from(*weight) * f64::from(*health) * f64::from(100 - used_percent) / 1e6;
            (share, f64::from(*sent))
        }).collect();
        for (mine, sent) in &shares {
            for (other, others) in &shares {
                prop_assert!(mine < other || sent + 1.0 >= others * 0.95, "{shares:?}");
                if *mine > 0.05 && *mine <= 0.45 && *other > 0.05 && *other <= 0.45 {
                    let (per_share, others_per_share) = (sent / mine, others / other);
                    let rounding = 1.0 / mine.min(*other) + 0.1 * others_per_share;
                    prop_assert!((per_share - others_per_share).abs() <= rounding, "{shares:?}");
                }
            }
        }
    }
}
