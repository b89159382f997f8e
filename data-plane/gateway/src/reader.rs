//! A subscription on its way to one client: what every protocol that streams holds.

use highwater_broker::{
    Result,
    catalogue::Principal,
    cursor::Cursor,
    from::From,
    handle::PageLimits,
    subscription::{Delivery, Subscription},
};
use highwater_proto::{
    limits::{PAGE_BYTES_MAX, PAGE_RECORDS_MAX},
    names::TopicFilter,
};

use crate::{
    deliver,
    gateway::Door,
    metrics::{Counted, Protocol},
    read,
};

/// A subscription, what may be sent of it, and what it is counted as.
pub struct Reader {
    subscription: Subscription,
    filters: Vec<TopicFilter>,
    credit: Credit,
    protocol: Protocol,
    _open: Counted,
}

impl Reader {
    /// Opens a subscription to what the principal may read. When this returns it is live.
    ///
    /// # Errors
    /// `forbidden`, or those of [`Subscription::open`].
    pub async fn open(
        door: &Door,
        protocol: Protocol,
        principal: &Principal,
        (filters, from): (Vec<TopicFilter>, From),
        credit: Credit,
    ) -> Result<Reader> {
        let subscription = read::open(door, principal, filters.clone(), from).await?;
        Ok(Reader {
            subscription,
            filters,
            credit,
            protocol,
            _open: Counted::new(&door.metrics.traffic(protocol).subscriptions),
        })
    }

    /// The cursor of what comes next.
    pub fn cursor(&self) -> String {
        self.subscription.cursor()
    }

    /// What comes next.
    pub fn position(&self) -> Cursor {
        self.subscription.position()
    }

    /// Allows more to be sent.
    pub fn add_credit(&mut self, messages: u64, bytes: u64) {
        self.credit.add(messages, bytes);
    }

    /// Waits for the next records or gaps, and for credit: without any it never resolves. What it
    /// returns is counted as sent. Nothing is lost when it is dropped before it resolves.
    pub async fn next(&mut self, door: &Door) -> Result<Delivery> {
        let Some(limits) = self.credit.limits() else {
            return std::future::pending().await;
        };
        self.next_within(door, limits).await
    }

    /// The same for a client that says in another way how much it takes.
    pub async fn next_within(&mut self, door: &Door, limits: PageLimits) -> Result<Delivery> {
        let delivery = self.subscription.next(limits, &*door.clock).await?;
        let (records, bytes) = deliver::on_delivery(door, self.protocol, &delivery);
        self.credit.spend(records, bytes);
        Ok(delivery)
    }

    /// Checks the permission again, for a principal that has changed.
    ///
    /// # Errors
    /// `forbidden` when the subscription is no longer allowed.
    pub fn recheck(&self, principal: &Principal) -> Result<()> {
        read::require_all(principal, &self.filters)
    }
}

/// What a subscriber has allowed to be sent. A kind that was not given at first never runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    messages: Option<i64>,
    /// Below zero after a record that was larger than what was left: the debt is paid first.
    bytes: Option<i64>,
}

impl Credit {
    /// The credit a subscription starts with; 0 leaves a kind unlimited.
    pub fn new(messages: u64, bytes: u64) -> Credit {
        let limited = |amount| (amount > 0).then_some(clamp(amount));
        Credit {
            messages: limited(messages),
            bytes: limited(bytes),
        }
    }

    /// Adds to the kinds that are in use.
    pub fn add(&mut self, messages: u64, bytes: u64) {
        let add = |left: i64, more| left.saturating_add(clamp(more));
        self.messages = self.messages.map(|left| add(left, messages));
        self.bytes = self.bytes.map(|left| add(left, bytes));
    }

    /// Takes what was sent.
    pub fn spend(&mut self, messages: u64, bytes: u64) {
        let spend = |left: i64, amount| left.saturating_sub(clamp(amount));
        self.messages = self.messages.map(|left| spend(left, messages));
        self.bytes = self.bytes.map(|left| spend(left, bytes));
    }

    /// How much the next delivery may hold, or nothing when the credit is used up.
    pub fn limits(&self) -> Option<PageLimits> {
        let left = |kind: Option<i64>, max: usize| {
            let left = kind.map_or(max, |left| usize::try_from(left).unwrap_or(0));
            left.min(max)
        };
        let limits = PageLimits {
            records: left(self.messages, PAGE_RECORDS_MAX),
            bytes: left(self.bytes, PAGE_BYTES_MAX),
        };
        (limits.records > 0 && limits.bytes > 0).then_some(limits)
    }
}

fn clamp(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_spent_and_its_debt_is_paid_first() {
        let mut credit = Credit::new(0, 0);
        credit.spend(u64::MAX, u64::MAX);
        assert!(
            credit.limits().is_some(),
            "a kind that is not in use never runs out"
        );

        let mut credit = Credit::new(2, 100);
        assert_eq!(
            credit.limits(),
            Some(PageLimits {
                records: 2,
                bytes: 100,
            })
        );
        credit.spend(1, 150);
        assert_eq!(credit.limits(), None);
        credit.add(0, 50);
        assert_eq!(credit.limits(), None);
        credit.add(0, u64::MAX);
        assert_eq!(credit.limits().map(|l| l.records), Some(1));
        credit.spend(1, 0);
        assert_eq!(credit.limits(), None);
    }
}
