//! Reading a page: history up to a limit, or a wait for the first record when there is none.

use std::{sync::Arc, time::Duration};

use highwater_broker::{
    Result,
    catalogue::{Operation, Principal},
    from::From,
    handle::PageLimits,
    subscription::{Delivery, Gap, Subscription},
};
use highwater_proto::{
    limits::{PAGE_BYTES_MAX, PAGE_RECORDS_DEFAULT, PAGE_RECORDS_MAX, WAIT_MS_MAX},
    names::TopicFilter,
};
use tokio_util::sync::CancellationToken;

use crate::{deliver, gateway::Door, metrics::Protocol, session::Session};

/// What to read.
pub struct PageRequest {
    /// Topics and filters.
    pub filters: Vec<TopicFilter>,
    /// Where to start.
    pub from: From,
    /// Records at most; 0 is the default, and more than the maximum is the maximum.
    pub limit: usize,
    /// How long to wait for a record when there is none; more than the maximum is the maximum.
    pub wait: Duration,
}

/// What was read.
#[derive(Default)]
pub struct Page {
    /// Records, in order.
    pub deliveries: Vec<Delivery>,
    /// What was asked for and is gone.
    pub gaps: Vec<Gap>,
    /// The cursor where the next page starts.
    pub next: String,
}

/// Topics and filters from their texts.
///
/// # Errors
/// `invalid_topic` for the first that is neither.
pub fn parse_filters<T: AsRef<str>>(texts: &[T]) -> Result<Vec<TopicFilter>> {
    let parse = |text: &T| TopicFilter::try_from(text.as_ref()).map_err(Into::into);
    texts.iter().map(parse).collect()
}

/// Where to start a page from its text: with the oldest record when it is empty.
///
/// # Errors
/// `invalid_request` when it is no starting point.
pub fn parse_from(text: &str, default: From) -> Result<From> {
    match text {
        "" => Ok(default),
        text => From::parse(text),
    }
}

/// # Errors
/// `forbidden` when the principal may not read all of these.
pub fn require_all(principal: &Principal, filters: &[TopicFilter]) -> Result<()> {
    let mut filters = filters.iter();
    filters.try_for_each(|filter| principal.require_all(Operation::Subscribe, filter))
}

/// Opens a subscription to what the principal may read.
///
/// # Errors
/// `forbidden`, or those of [`Subscription::open`].
pub async fn open(
    door: &Door,
    principal: &Principal,
    filters: Vec<TopicFilter>,
    from: From,
) -> Result<Subscription> {
    require_all(principal, &filters)?;
    let broker = door.broker.clone();
    Subscription::open(broker, principal.project.clone(), filters, from).await
}

/// Reads a page. A wait ends early, with what there is, when `stop` is cancelled.
///
/// # Errors
/// `forbidden`, those of a subscription, or `unauthenticated` when the credential is revoked meanwhile.
pub async fn read_page(
    door: &Door,
    protocol: Protocol,
    session: &mut Session,
    request: PageRequest,
    stop: &CancellationToken,
) -> Result<Page> {
    let wait = request.wait.min(Duration::from_millis(WAIT_MS_MAX));
    let limit = match request.limit {
        0 => PAGE_RECORDS_DEFAULT,
        limit => limit.min(PAGE_RECORDS_MAX),
    };
    let PageRequest { filters, from, .. } = request;
    let usage = session.principal().project.usage.clone();
    usage.require_delivery((door.clock)())?;
    let mut subscription = open(door, session.principal(), filters.clone(), from).await?;
    let clock: Arc<_> = door.clock.clone();
    let mut left = PageLimits {
        records: limit,
        bytes: PAGE_BYTES_MAX,
    };
    let mut page = Page::default();
    while left.records > 0 && left.bytes > 0 {
        let Some(delivery) = subscription.try_next(left, &*clock).await? else {
            break;
        };
        page.take(delivery, &mut left);
    }
    if page.is_empty() && !wait.is_zero() {
        let over = tokio::time::sleep(wait);
        tokio::pin!(over);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = session.changed() => {
                    require_all(session.refresh(door)?, &filters)?;
                }
                () = &mut over => break,
                delivery = subscription.next(left, &*clock) => {
                    page.take(delivery?, &mut left);
                    break;
                }
            }
        }
    }
    page.next = subscription.cursor();
    for delivery in &page.deliveries {
        deliver::on_delivery(door, protocol, &usage, delivery);
    }
    Ok(page)
}

impl Page {
    fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.gaps.is_empty()
    }

    fn take(&mut self, mut delivery: Delivery, left: &mut PageLimits) {
        let (records, bytes) = deliver::size(&delivery);
        left.records = left.records.saturating_sub(records as usize);
        left.bytes = left.bytes.saturating_sub(bytes as usize);
        self.gaps.append(&mut delivery.gaps);
        if !delivery.slices.is_empty() {
            self.deliveries.push(delivery);
        }
    }
}
