//! A subscription on its way to one client: what every protocol that streams holds.

use std::{sync::Arc, time::Duration};

use highwater_broker::{
    Refusal, Result,
    catalogue::Principal,
    cursor::Cursor,
    from::From,
    handle::PageLimits,
    quota::{Entered, Open, Usage},
    subscription::{Delivery, Subscription},
};
use highwater_proto::{
    ErrorCode,
    ids::ShardId,
    limits::{DELIVERY_WAIT_MS_MAX, PAGE_BYTES_MAX, PAGE_RECORDS_MAX},
    names::TopicFilter,
};

use tokio::time::{sleep, timeout_at};

use crate::{
    consumer::Consumer,
    deliver,
    gateway::Door,
    metrics::{Counted, Protocol},
    read,
};

/// What a client subscribes to.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Topics and filters.
    pub filters: Vec<TopicFilter>,
    /// Where to begin.
    pub from: From,
    /// The group to join, instead of reading all of it alone.
    pub group: Option<Box<str>>,
}

impl Wanted {
    /// All records, for this client.
    pub fn alone(filters: Vec<TopicFilter>, from: From) -> Wanted {
        Wanted {
            filters,
            from,
            group: None,
        }
    }

    /// The same for the group of this name; alone if the name is empty.
    pub fn with_group(self, group: String) -> Wanted {
        Wanted {
            group: (!group.is_empty()).then(|| group.into()),
            ..self
        }
    }
}

/// Where the records come from.
enum Source {
    Alone(Box<Subscription>),
    Member(Box<Consumer>),
}

/// A subscription, what may be sent of it, and what it is counted as.
pub struct Reader {
    source: Source,
    filters: Vec<TopicFilter>,
    credit: Credit,
    protocol: Protocol,
    /// What its project uses, and that it is one of the project's subscriptions.
    entered: Entered,
    _open: Counted,
}

impl Reader {
    /// Opens a subscription to what the principal may read. When this returns it is live.
    ///
    /// # Errors
    /// `forbidden`, or those of [`Subscription::open`] and [`Consumer::join`].
    pub async fn open(
        door: &Arc<Door>,
        protocol: Protocol,
        principal: &Principal,
        wanted: Wanted,
        credit: Credit,
    ) -> Result<Reader> {
        let Wanted {
            filters,
            from,
            group,
        } = wanted;
        let entered = principal.project.usage.enter(Open::Subscriptions)?;
        let source = match group {
            None => {
                let subscription = read::open(door, principal, filters.clone(), from).await?;
                Source::Alone(Box::new(subscription))
            }
            Some(group) => {
                read::require_all(principal, &filters)?;
                let consumer = Box::pin(join(door, principal, (&group, &filters), from));
                Source::Member(Box::new(consumer.await?))
            }
        };
        Ok(Reader {
            source,
            filters,
            credit,
            protocol,
            entered,
            _open: Counted::new(&door.metrics.traffic(protocol).subscriptions),
        })
    }

    /// The cursor of what comes next; for a group, of what none of its members has taken.
    pub fn cursor(&self) -> String {
        match &self.source {
            Source::Alone(subscription) => subscription.cursor(),
            Source::Member(consumer) => consumer.cursor(),
        }
    }

    /// What comes next.
    pub fn position(&self) -> Cursor {
        match &self.source {
            Source::Alone(subscription) => subscription.position(),
            Source::Member(consumer) => consumer.position(),
        }
    }

    /// What its project uses.
    pub fn usage(&self) -> &Usage {
        self.entered.usage()
    }

    /// Whether the records are shared with others, and have to be acknowledged.
    pub fn is_shared(&self) -> bool {
        matches!(self.source, Source::Member(_))
    }

    /// Allows more to be sent.
    pub fn add_credit(&mut self, messages: u64, bytes: u64) {
        self.credit.add(messages, bytes);
    }

    /// Waits for the next records or gaps, and for credit: without any it never resolves. What it
    /// returns is counted as sent. Nothing is lost when it is dropped before it resolves.
    pub async fn next(&mut self, door: &Door) -> Result<Delivery> {
        self.next_within(door, self.credit.limits()).await
    }

    /// The same for a client that says in another way how much it takes. While that is nothing, it never
    /// resolves.
    pub async fn next_within(
        &mut self,
        door: &Door,
        limits: Option<PageLimits>,
    ) -> Result<Delivery> {
        // More than the project may have delivered stays in the log, where it can wait.
        let now_ms = || (door.clock)();
        while let Some(wait_ms) = self.usage().delivery_wait_ms(now_ms) {
            let wait = sleep(Duration::from_millis(wait_ms.min(DELIVERY_WAIT_MS_MAX)));
            match &mut self.source {
                Source::Alone(_) => wait.await,
                // It has acknowledgements to pass on.
                Source::Member(consumer) => {
                    let passed_on = timeout_at(wait.deadline(), consumer.next(None));
                    if let Ok(ended) = Box::pin(passed_on).await {
                        return ended;
                    }
                }
            }
        }
        let delivery = match (&mut self.source, limits) {
            (Source::Alone(subscription), Some(limits)) => {
                subscription.next(limits, &*door.clock).await?
            }
            (Source::Alone(_), None) => return std::future::pending().await,
            // It has acknowledgements to pass on.
            (Source::Member(consumer), limits) => Box::pin(consumer.next(limits)).await?,
        };
        let usage = self.entered.usage();
        let (records, bytes) = deliver::on_delivery(door, self.protocol, usage, &delivery);
        self.credit.spend(records, bytes);
        Ok(delivery)
    }

    /// The client is done with a record of the group, or gives it back.
    pub fn ack(&mut self, shard: ShardId, position: u64, is_returned: bool) {
        if let Source::Member(consumer) = &mut self.source {
            consumer.ack(shard, position, is_returned);
        }
    }

    /// The same for records that are named by their cursors.
    ///
    /// # Errors
    /// `invalid_request` when the subscription is in no group; those of the first cursor that is none.
    pub fn ack_cursors(&mut self, cursors: &[String], is_returned: bool) -> Result<()> {
        let Source::Member(consumer) = &mut self.source else {
            let message = "only members of a group acknowledge records";
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        };
        cursors
            .iter()
            .try_for_each(|cursor| consumer.ack_cursor(cursor, is_returned))
    }

    /// Checks the permission again, for a principal that has changed.
    ///
    /// # Errors
    /// `forbidden` when the subscription is no longer allowed.
    pub fn recheck(&self, principal: &Principal) -> Result<()> {
        read::require_all(principal, &self.filters)
    }
}

async fn join(
    door: &Arc<Door>,
    principal: &Principal,
    (group, filters): (&str, &[TopicFilter]),
    from: From,
) -> Result<Consumer> {
    let [filter] = filters else {
        let message = "a group shares one topic or filter";
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    };
    let project = principal.project.clone();
    Consumer::join(door.clone(), project, (group, filter.clone()), from).await
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
