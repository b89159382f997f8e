//! What a project or tenant uses of what it may, in the whole cluster.
//!
//! A rate is kept by a token bucket on each node ([`Limiter`]), filled with the node's share of it. Nodes tell each
//! other several times a second what is asked of them, and each computes the shares for itself
//! ([`rate_here`]): while all together ask for less than is allowed, each has what it is asked for and a part
//! of the rest; when they ask for more, each has its proportion (flow proportional share, Raghavan et al.,
//! *Cloud control with distributed rate limiting*, SIGCOMM 2007). So no publish waits for another node, and what all
//! nodes take together is what is allowed.
//!
//! What is open at once is kept likewise ([`Gauge`]): a node may open its part of what is left, until the
//! next time it hears of the others.

pub mod exchange;

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use highwater_proto::{ErrorCode, limits::QUOTA_WAIT_MS_MAX};
use parking_lot::Mutex;

use crate::{
    catalogue::Quotas,
    metering::Meter,
    refusal::{Refusal, Result},
};

/// What one project, or all projects of a tenant, use on this node.
#[derive(Debug)]
pub struct Usage {
    whose: &'static str,
    limiters: [Limiter; Rate::ALL.len()],
    gauges: [Gauge; Open::ALL.len()],
    /// What is counted of it for a bill.
    meter: Meter,
    /// The usage of all projects of its tenant, for a project.
    tenant: Option<Arc<Usage>>,
}

/// What is limited in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Messages that are taken.
    PublishMessages,
    /// Bytes of their payloads.
    PublishBytes,
    /// Records that are delivered.
    DeliveryMessages,
    /// Bytes of their messages.
    DeliveryBytes,
}

impl Rate {
    /// All, in the order of their numbers.
    pub const ALL: [Rate; 4] = [
        Rate::PublishMessages,
        Rate::PublishBytes,
        Rate::DeliveryMessages,
        Rate::DeliveryBytes,
    ];

    /// Its name in the catalogue and in refusals.
    pub fn name(self) -> &'static str {
        match self {
            Rate::PublishMessages => "publish_messages_per_second",
            Rate::PublishBytes => "publish_bytes_per_second",
            Rate::DeliveryMessages => "delivery_messages_per_second",
            Rate::DeliveryBytes => "delivery_bytes_per_second",
        }
    }

    fn of(self, quotas: &Quotas) -> Option<u64> {
        match self {
            Rate::PublishMessages => quotas.publish_messages_per_second,
            Rate::PublishBytes => quotas.publish_bytes_per_second,
            Rate::DeliveryMessages => quotas.delivery_messages_per_second,
            Rate::DeliveryBytes => quotas.delivery_bytes_per_second,
        }
    }
}

/// What is limited at any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Connections, and streams of requests that have none of their own.
    Connections,
    /// Subscriptions.
    Subscriptions,
}

impl Open {
    /// All, in the order of their numbers.
    pub const ALL: [Open; 2] = [Open::Connections, Open::Subscriptions];

    /// Its name in the catalogue and in refusals.
    pub fn name(self) -> &'static str {
        match self {
            Open::Connections => "connections",
            Open::Subscriptions => "subscriptions",
        }
    }

    fn of(self, quotas: &Quotas) -> Option<u64> {
        match self {
            Open::Connections => quotas.connections,
            Open::Subscriptions => quotas.subscriptions,
        }
    }
}

impl Usage {
    /// Of a tenant that uses nothing yet.
    pub fn of_tenant(quotas: &Quotas) -> Arc<Usage> {
        Usage::new("tenant", quotas, None)
    }

    /// Of a project of a tenant.
    pub fn of_project(quotas: &Quotas, tenant: Option<Arc<Usage>>) -> Arc<Usage> {
        Usage::new("project", quotas, tenant)
    }

    fn new(whose: &'static str, quotas: &Quotas, tenant: Option<Arc<Usage>>) -> Arc<Usage> {
        let usage = Usage {
            whose,
            limiters: Default::default(),
            gauges: Default::default(),
            meter: Meter::default(),
            tenant,
        };
        usage.set_quotas(quotas);
        Arc::new(usage)
    }

    /// Sets what may be used from now on.
    pub fn set_quotas(&self, quotas: &Quotas) {
        for (rate, limiter) in Rate::ALL.into_iter().zip(&self.limiters) {
            limiter.set_limit(rate.of(quotas));
        }
        for (open, gauge) in Open::ALL.into_iter().zip(&self.gauges) {
            gauge.set_limit(open.of(quotas));
        }
    }

    /// Whether anything of it is limited.
    pub fn is_limited(&self) -> bool {
        let mut rates = self.limiters.iter().map(Limiter::limit);
        let mut gauges = self.gauges.iter().map(Gauge::limit);
        rates.any(|limit| limit.is_some()) || gauges.any(|limit| limit.is_some())
    }

    /// What is counted of it for a bill.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// One of its rates.
    pub fn rate(&self, rate: Rate) -> &Limiter {
        &self.limiters[rate as usize]
    }

    /// One of what is open.
    pub fn open(&self, open: Open) -> &Gauge {
        &self.gauges[open as usize]
    }

    /// Takes so many messages of so many bytes in, at a time in milliseconds.
    ///
    /// # Errors
    /// `rate_limited`, naming the quota and when there is room again; nothing is counted then.
    pub fn publish(&self, messages: u64, bytes: u64, now_ms: u64) -> Result<()> {
        let wanted = [
            (Rate::PublishMessages, messages),
            (Rate::PublishBytes, bytes),
        ];
        for usage in self.with_tenant() {
            for (rate, amount) in wanted {
                let limiter = usage.rate(rate);
                limiter.ask(amount);
                if let Some(wait_ms) = limiter.wait_ms(now_ms) {
                    return Err(usage.exceeds(rate, wait_ms));
                }
            }
        }
        for usage in self.with_tenant() {
            for (rate, amount) in wanted {
                usage.rate(rate).take(amount, now_ms);
            }
        }
        Ok(())
    }

    /// How many messages are left to be published here and how many there are in a second, where that is limited: of the
    /// project or of its tenant, whichever has fewer.
    pub fn publish_left(&self, now_ms: u64) -> Option<(u64, u64)> {
        let limiters = self
            .with_tenant()
            .map(|usage| usage.rate(Rate::PublishMessages));
        let limited = limiters.filter(|limiter| limiter.limit().is_some());
        limited
            .map(|limiter| limiter.left(now_ms))
            .min_by_key(|(left, _)| *left)
    }

    /// Whether something may be delivered at a time, for those who would rather be told than wait.
    ///
    /// # Errors
    /// `rate_limited`, naming the quota and when there is room again.
    pub fn require_delivery(&self, now_ms: u64) -> Result<()> {
        for usage in self.with_tenant() {
            for rate in [Rate::DeliveryMessages, Rate::DeliveryBytes] {
                if let Some(wait_ms) = usage.rate(rate).wait_ms(now_ms) {
                    return Err(usage.exceeds(rate, wait_ms));
                }
            }
        }
        Ok(())
    }

    /// How long the next delivery has to wait, in milliseconds; nothing when it need not. The time is asked for only
    /// where something is limited.
    pub fn delivery_wait_ms(&self, now_ms: impl Fn() -> u64) -> Option<u64> {
        let rates = [Rate::DeliveryMessages, Rate::DeliveryBytes];
        let waits = self.with_tenant().flat_map(|usage| {
            let limiters = rates.into_iter().map(|rate| usage.rate(rate));
            let limited = limiters.filter(|limiter| limiter.limit().is_some());
            limited.filter_map(|limiter| limiter.wait_ms(now_ms()))
        });
        waits.max()
    }

    /// Counts what was delivered. It may be more than there was room for: then the next one waits for longer.
    pub fn delivered(&self, records: u64, bytes: u64, now_ms: impl Fn() -> u64) {
        for usage in self.with_tenant() {
            let rates = [
                (Rate::DeliveryMessages, records),
                (Rate::DeliveryBytes, bytes),
            ];
            for (rate, amount) in rates {
                let limiter = usage.rate(rate);
                limiter.ask(amount);
                if limiter.limit().is_some() {
                    limiter.take(amount, now_ms());
                }
            }
        }
    }

    /// Opens one more, for as long as what is returned lives.
    ///
    /// # Errors
    /// `quota_exceeded`, naming the quota.
    pub fn enter(self: &Arc<Usage>, open: Open) -> Result<Entered> {
        for usage in self.with_tenant() {
            if !usage.open(open).enter() {
                if !std::ptr::eq(usage, &**self) {
                    self.open(open).leave();
                }
                let (whose, name) = (usage.whose, open.name());
                let limit = usage.open(open).limit().unwrap_or_default();
                let message =
                    format!("the {whose} has as many {name} as its quota allows: {limit}");
                return Err(Refusal::new(ErrorCode::QuotaExceeded, message));
            }
        }
        Ok(Entered {
            usage: self.clone(),
            open,
        })
    }

    fn with_tenant(&self) -> impl Iterator<Item = &Usage> {
        [Some(self), self.tenant.as_deref()].into_iter().flatten()
    }

    fn exceeds(&self, rate: Rate, wait_ms: u64) -> Refusal {
        let (whose, name) = (self.whose, rate.name());
        let limit = self.rate(rate).limit().unwrap_or_default();
        let message = format!("the {whose}'s quota {name} of {limit} is used up");
        Refusal::new(ErrorCode::RateLimited, message).retry_after_ms(wait_ms)
    }
}

/// Something that is open, until it is dropped.
#[derive(Debug)]
pub struct Entered {
    usage: Arc<Usage>,
    open: Open,
}

impl Entered {
    /// Whose it is.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        for usage in self.usage.with_tenant() {
            usage.open(self.open).leave();
        }
    }
}

/// No limit.
const UNLIMITED: u64 = u64::MAX;

/// One rate on this node: a token bucket that holds a second's worth.
///
/// A request is taken while the bucket is not empty, whatever its size, and leaves a debt that the next ones wait
/// for; so large batches are neither refused for good nor free.
#[derive(Debug)]
pub struct Limiter {
    /// In the whole cluster, a second.
    limit: AtomicU64,
    /// All that was ever asked for here, whether or not it was taken.
    asked: AtomicU64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// What this node may take, a second.
    rate: f64,
    level: f64,
    at_ms: u64,
}

impl Default for Limiter {
    fn default() -> Limiter {
        Limiter {
            limit: AtomicU64::new(UNLIMITED),
            asked: AtomicU64::new(0),
            bucket: Mutex::new(Bucket {
                rate: 0.0,
                level: 0.0,
                at_ms: 0,
            }),
        }
    }
}

impl Bucket {
    fn fill(&mut self, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let filled = self.level + self.rate * elapsed_ms as f64 / 1_000.0;
        self.level = filled.min(self.rate.max(1.0));
    }
}

impl Limiter {
    /// What is allowed in the whole cluster, a second.
    pub fn limit(&self) -> Option<u64> {
        let limit = self.limit.load(Ordering::Relaxed);
        (limit != UNLIMITED).then_some(limit)
    }

    /// All that was ever asked for here.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Sets what this node may take of it, a second.
    pub fn set_rate_here(&self, rate: f64, now_ms: u64) {
        let mut bucket = self.bucket.lock();
        bucket.fill(now_ms);
        bucket.rate = rate;
    }

    /// What is left at a time, and what is allowed here in a second.
    pub fn left(&self, now_ms: u64) -> (u64, u64) {
        let mut bucket = self.bucket.lock();
        bucket.fill(now_ms);
        (bucket.level.max(0.0) as u64, bucket.rate as u64)
    }

    fn set_limit(&self, limit: Option<u64>) {
        let limit = limit.unwrap_or(UNLIMITED);
        if self.limit.swap(limit, Ordering::Relaxed) != limit {
            // Until it is known what the others are asked for, each node begins with all of it.
            let rate = if limit == UNLIMITED {
                0.0
            } else {
                limit as f64
            };
            let mut bucket = self.bucket.lock();
            (bucket.rate, bucket.level) = (rate, rate);
        }
    }

    fn ask(&self, amount: u64) {
        self.asked.fetch_add(amount, Ordering::Relaxed);
    }

    fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        self.limit()?;
        let mut bucket = self.bucket.lock();
        bucket.fill(now_ms);
        // What is left of one message is not one.
        let missing = 1.0 - bucket.level;
        if missing <= 0.0 {
            return None;
        }
        let ms = missing * 1_000.0 / bucket.rate.max(0.001);
        Some((ms.ceil() as u64).clamp(1, QUOTA_WAIT_MS_MAX))
    }

    fn take(&self, amount: u64, now_ms: u64) {
        if self.limit().is_some() {
            let mut bucket = self.bucket.lock();
            bucket.fill(now_ms);
            bucket.level -= amount as f64;
        }
    }
}

/// So many are open on this node.
#[derive(Debug)]
pub struct Gauge {
    /// In the whole cluster.
    limit: AtomicU64,
    here: AtomicI64,
    /// How many this node may have.
    here_max: AtomicI64,
}

impl Default for Gauge {
    fn default() -> Gauge {
        Gauge {
            limit: AtomicU64::new(UNLIMITED),
            here: AtomicI64::new(0),
            here_max: AtomicI64::new(i64::MAX),
        }
    }
}

impl Gauge {
    /// What is allowed in the whole cluster.
    pub fn limit(&self) -> Option<u64> {
        let limit = self.limit.load(Ordering::Relaxed);
        (limit != UNLIMITED).then_some(limit)
    }

    /// How many are open here.
    pub fn here(&self) -> u64 {
        self.here.load(Ordering::Relaxed).max(0) as u64
    }

    /// Sets how many this node may have.
    pub fn set_here_max(&self, max: u64) {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        self.here_max.store(max, Ordering::Relaxed);
    }

    fn set_limit(&self, limit: Option<u64>) {
        let limit = limit.unwrap_or(UNLIMITED);
        if self.limit.swap(limit, Ordering::Relaxed) != limit {
            self.set_here_max(limit);
        }
    }

    fn enter(&self) -> bool {
        let before = self.here.fetch_add(1, Ordering::Relaxed);
        let has_room = before < self.here_max.load(Ordering::Relaxed);
        if !has_room {
            self.leave();
        }
        has_room
    }

    fn leave(&self) {
        self.here.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a node may take of a limit, a second, when so much is asked of it and of the others, of `nodes` in all.
pub fn rate_here(limit: u64, asked_here: f64, asked_elsewhere: f64, nodes: usize) -> f64 {
    let limit = limit as f64;
    let asked = asked_here + asked_elsewhere;
    match asked < limit {
        true => asked_here + (limit - asked) / nodes.max(1) as f64,
        false => limit * asked_here / asked,
    }
}

/// How many a node may have open of a limit, when so many are open here and elsewhere, of `nodes` in all. What is left
/// is divided, rounded up: all nodes together may exceed a limit by less than there are nodes.
pub fn open_here_max(limit: u64, here: u64, elsewhere: u64, nodes: usize) -> u64 {
    let left = limit.saturating_sub(here + elsewhere);
    match left {
        0 => here.min(limit.saturating_sub(elsewhere)),
        _ => here + left.div_ceil(nodes.max(1) as u64),
    }
}

#[cfg(test)]
mod tests;
