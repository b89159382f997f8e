//! What nodes tell each other of what is asked of them, and what each makes of it.

use std::collections::HashMap;

use highwater_proto::{
    cluster::{UsageReport, usage_report::Entry},
    ids::NodeId,
};
use parking_lot::Mutex;

use super::{Open, Rate, Usage, open_here_max, rate_here};
use crate::catalogue::Catalogue;

/// How long what a node has told is believed, in milliseconds. A node that is gone is asked for nothing.
const BELIEVED_MS: u64 = 1_500;

/// What is asked of one project or tenant on one node: messages and bytes a second, and how many are open.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Asked {
    rates: [f64; Rate::ALL.len()],
    open: [u64; Open::ALL.len()],
}

/// What this node has heard of the others.
#[derive(Debug, Default)]
pub struct Exchange {
    heard: Mutex<HashMap<NodeId, Heard>>,
    own: Mutex<Own>,
}

#[derive(Debug)]
struct Heard {
    at_ms: u64,
    asked: HashMap<[u8; 16], Asked>,
}

/// What was asked here until the last round.
#[derive(Debug, Default)]
struct Own {
    at_ms: u64,
    asked: HashMap<[u8; 16], ([u64; Rate::ALL.len()], Asked)>,
}

impl Exchange {
    /// Takes in what another node has told, at a time in milliseconds.
    pub fn hear(&self, node: NodeId, report: UsageReport, now_ms: u64) {
        let entry = |entry: Entry| {
            let asked = Asked {
                rates: [
                    entry.publish_messages_per_second,
                    entry.publish_bytes_per_second,
                    entry.delivery_messages_per_second,
                    entry.delivery_bytes_per_second,
                ]
                // Nobody's share is made of nonsense.
                .map(|rate| if rate.is_finite() { rate.max(0.0) } else { 0.0 }),
                open: [entry.connections, entry.subscriptions],
            };
            Some((entry.id[..].try_into().ok()?, asked))
        };
        let heard = Heard {
            at_ms: now_ms,
            asked: report.entries.into_iter().filter_map(entry).collect(),
        };
        self.heard.lock().insert(node, heard);
    }

    /// Computes this node's share of everything that is limited, and what it tells the others.
    pub fn round(&self, catalogue: &Catalogue, now_ms: u64) -> UsageReport {
        let mut heard = self.heard.lock();
        heard.retain(|_, heard| now_ms < heard.at_ms.saturating_add(BELIEVED_MS));
        let nodes = heard.len() + 1;
        let mut own = self.own.lock();
        let elapsed_s = now_ms.saturating_sub(own.at_ms) as f64 / 1_000.0;
        let is_first = own.at_ms == 0 || elapsed_s <= 0.0;
        own.at_ms = now_ms;
        let mut before = std::mem::take(&mut own.asked);
        let mut report = UsageReport::default();
        for (id, usage) in catalogue.usages().filter(|(_, usage)| usage.is_limited()) {
            let totals = Rate::ALL.map(|rate| usage.rate(rate).asked());
            let known = before.remove(id);
            let mut here = Asked {
                open: Open::ALL.map(|open| usage.open(open).here()),
                ..Asked::default()
            };
            if let Some((totals_before, asked_before)) = known.filter(|_| !is_first) {
                for (at, rate) in here.rates.iter_mut().enumerate() {
                    let fresh = totals[at].saturating_sub(totals_before[at]) as f64 / elapsed_s;
                    // Half of what was: a lull of one round is not the end of it.
                    *rate = (fresh + asked_before.rates[at]) / 2.0;
                }
            }
            own.asked.insert(*id, (totals, here));
            let others = heard.values().filter_map(|heard| heard.asked.get(id));
            let elsewhere = others.fold(Asked::default(), |mut sum, asked| {
                let rates = sum.rates.iter_mut().zip(&asked.rates);
                rates.for_each(|(sum, more)| *sum += more);
                let open = sum.open.iter_mut().zip(&asked.open);
                open.for_each(|(sum, more)| *sum = sum.saturating_add(*more));
                sum
            });
            share(usage, &here, &elsewhere, nodes, now_ms);
            if here != Asked::default() {
                report.entries.push(entry(id, &here));
            }
        }
        report
    }
}

fn share(usage: &Usage, here: &Asked, elsewhere: &Asked, nodes: usize, now_ms: u64) {
    for (at, rate) in Rate::ALL.into_iter().enumerate() {
        let limiter = usage.rate(rate);
        if let Some(limit) = limiter.limit() {
            let rate = rate_here(limit, here.rates[at], elsewhere.rates[at], nodes);
            limiter.set_rate_here(rate, now_ms);
        }
    }
    for (at, open) in Open::ALL.into_iter().enumerate() {
        let gauge = usage.open(open);
        if let Some(limit) = gauge.limit() {
            gauge.set_here_max(open_here_max(
                limit,
                here.open[at],
                elsewhere.open[at],
                nodes,
            ));
        }
    }
}

fn entry(id: &[u8; 16], asked: &Asked) -> Entry {
    let [messages, bytes, delivered, delivered_bytes] = asked.rates;
    let [connections, subscriptions] = asked.open;
    Entry {
        id: id.to_vec().into(),
        publish_messages_per_second: messages,
        publish_bytes_per_second: bytes,
        delivery_messages_per_second: delivered,
        delivery_bytes_per_second: delivered_bytes,
        connections,
        subscriptions,
    }
}
