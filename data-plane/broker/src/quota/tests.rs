//! That what is taken is what is allowed, however it is spread over nodes.

use proptest::prelude::*;

use super::*;

fn publishes(per_second: u64) -> Quotas {
    Quotas {
        publish_messages_per_second: Some(per_second),
        ..Quotas::default()
    }
}

#[test]
fn a_rate_is_kept_and_its_refusal_says_which_and_when() {
    let usage = Usage::of_project(&publishes(100), None);
    let taken = (0..10_000).filter(|ms| usage.publish(1, 10, *ms).is_ok());
    // A second's worth at first, and then what comes.
    let taken = taken.count();
    assert!((1_099..=1_101).contains(&taken), "{taken}");
    let refusal = usage.publish(1, 10, 10_000).unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::RateLimited);
    assert!(
        refusal
            .message()
            .contains("publish_messages_per_second of 100"),
        "{refusal}"
    );
    let delay_ms = refusal.delay_ms().unwrap();
    assert!((1..=11).contains(&delay_ms), "{delay_ms}");
    assert!(usage.publish(1, 10, 10_000 + delay_ms).is_ok());
}

#[test]
fn a_large_batch_is_taken_and_paid_for() {
    let usage = Usage::of_project(&publishes(10), None);
    assert!(usage.publish(50, 0, 0).is_ok());
    let delay_ms = usage.publish(1, 0, 0).unwrap_err().delay_ms();
    assert_eq!(delay_ms, Some(4_100));
    assert!(usage.publish(1, 0, 4_099).is_err());
    assert!(usage.publish(1, 0, 4_100).is_ok());
}

#[test]
fn a_tenant_limits_its_projects_together_and_refuses_without_counting() {
    let tenant = Usage::of_tenant(&publishes(10));
    let [a, b] = [(); 2].map(|()| Usage::of_project(&Quotas::default(), Some(tenant.clone())));
    let mut taken = 0;
    for _ in 0..20 {
        taken += u32::from(a.publish(1, 0, 0).is_ok()) + u32::from(b.publish(1, 0, 0).is_ok());
    }
    assert_eq!(taken, 10);
    let refusal = a.publish(1, 0, 0).unwrap_err();
    assert!(
        refusal.message().starts_with("the tenant's quota"),
        "{refusal}"
    );
    assert_eq!(tenant.rate(Rate::PublishMessages).asked(), 41);
    assert!(!a.is_limited() && tenant.is_limited());
}

#[test]
fn deliveries_wait_and_are_never_refused() {
    let quotas = Quotas {
        delivery_messages_per_second: Some(10),
        ..Quotas::default()
    };
    let usage = Usage::of_project(&quotas, None);
    assert_eq!(usage.delivery_wait_ms(|| 0), None);
    usage.delivered(20, 1_000, || 0);
    assert_eq!(usage.delivery_wait_ms(|| 0), Some(1_100));
    assert_eq!(usage.delivery_wait_ms(|| 1_100), None);
}

#[test]
fn what_is_open_is_counted_until_it_is_closed() {
    let quotas = Quotas {
        connections: Some(2),
        ..Quotas::default()
    };
    let usage = Usage::of_project(&quotas, None);
    let first = usage.enter(Open::Connections).unwrap();
    let _second = usage.enter(Open::Connections).unwrap();
    let refusal = usage.enter(Open::Connections).unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::QuotaExceeded);
    assert!(refusal.message().contains("connections"), "{refusal}");
    drop(first);
    assert!(usage.enter(Open::Connections).is_ok());
    assert!(usage.enter(Open::Subscriptions).is_ok());
    usage.set_quotas(&Quotas::default());
    assert!(usage.enter(Open::Connections).is_ok());
    assert_eq!(usage.open(Open::Connections).here(), 1);
}

/// Nodes that are asked for so much a second each, and tell each other every 200 ms. Gives what they take
/// together in the second half of 20 s, a second.
fn taken_together(limit: u64, asked: &[u64]) -> f64 {
    let nodes: Vec<_> = asked
        .iter()
        .map(|_| Usage::of_project(&publishes(limit), None))
        .collect();
    let mut told = vec![0; nodes.len()];
    let mut taken = 0;
    for ms in 0..20_000 {
        for (usage, asked) in nodes.iter().zip(asked) {
            // Spread over the second as evenly as whole messages allow.
            let due = asked * (ms + 1) / 1_000 - asked * ms / 1_000;
            for _ in 0..due {
                let is_taken = usage.publish(1, 0, ms).is_ok();
                taken += u64::from(is_taken && ms >= 10_000);
            }
        }
        if ms % 200 == 199 {
            let rates: Vec<f64> = nodes
                .iter()
                .zip(&mut told)
                .map(|(usage, told)| {
                    let asked = usage.rate(Rate::PublishMessages).asked();
                    (asked - std::mem::replace(told, asked)) as f64 / 0.2
                })
                .collect();
            let all: f64 = rates.iter().sum();
            for (usage, here) in nodes.iter().zip(&rates) {
                let rate = rate_here(limit, *here, all - here, nodes.len());
                usage.rate(Rate::PublishMessages).set_rate_here(rate, ms);
            }
        }
    }
    taken as f64 / 10.0
}

#[test]
fn a_rate_holds_over_three_nodes_within_a_tenth() {
    for asked in [
        [3_000, 3_000, 3_000],
        [9_000, 0, 0],
        [5_000, 700, 20],
        [1_000, 999, 1],
    ] {
        let taken = taken_together(1_000, &asked);
        assert!((900.0..=1_100.0).contains(&taken), "{asked:?}: {taken}");
    }
    // What is allowed is not held back.
    for asked in [[300, 300, 300], [900, 0, 0], [500, 490, 0]] {
        let all: u64 = asked.iter().sum();
        let taken = taken_together(1_000, &asked);
        assert!(
            (taken - all as f64).abs() <= all as f64 * 0.02,
            "{asked:?}: {taken}"
        );
    }
}

proptest! {
    #[test]
    fn shares_are_the_whole(limit in 1u64..1_000_000, asked in prop::collection::vec(0.0f64..1e6, 1..9)) {
        let all: f64 = asked.iter().sum();
        let shares = asked.iter().map(|here| rate_here(limit, *here, all - here, asked.len()));
        let sum: f64 = shares.sum();
        prop_assert!((sum - limit as f64).abs() <= 1e-6 * limit as f64 + 1e-6, "{sum}");
    }

    #[test]
    fn nodes_that_open_all_they_may_do_not_exceed_a_limit_by_much(
        limit in 0u64..10_000,
        open in prop::collection::vec(0u64..2_000, 1..9),
    ) {
        let all: u64 = open.iter().sum();
        let nodes = open.len();
        let maxima: Vec<u64> = open
            .iter()
            .map(|here| open_here_max(limit, *here, all - here, nodes))
            .collect();
        let together: u64 = open.iter().zip(&maxima).map(|(here, max)| *here.max(max)).sum();
        prop_assert!(together <= limit.max(all) + nodes as u64);
        if all < limit {
            prop_assert!(maxima.iter().sum::<u64>() >= limit, "what is left can be had");
        }
    }
}
