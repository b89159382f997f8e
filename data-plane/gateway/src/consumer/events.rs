//! The events of a group as they are written and read, and who writes them for a consumer that is gone.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use highwater_broker::{
    Broker, Result, group,
    handle::{Retain, ShardHandle, interrupted},
    subscription::Delivery,
    system,
};
use highwater_proto::{
    cluster::{
        GroupEvent,
        group_event::{Event, Leave},
    },
    ids::MemberId,
    names::TopicName,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// A consumer that has left, and what its group has to know.
pub struct Left {
    pub shard: ShardHandle,
    pub topic: TopicName,
    pub writing: Option<BoxFuture<'static, Result<()>>>,
    pub events: Vec<Event>,
}

/// Consumers whose groups have not been told that they left. There are never more than there were consumers.
#[derive(Default)]
pub struct Leavers {
    left: Mutex<Vec<Left>>,
    more: Notify,
}

impl Leavers {
    /// Takes what a group is to be told.
    pub fn push(&self, left: Left) {
        self.left.lock().push(left);
        self.more.notify_one();
    }

    /// Tells the groups, until it is dropped.
    pub async fn run(&self, broker: &Arc<Broker>) {
        loop {
            self.more.notified().await;
            let left = std::mem::take(&mut *self.left.lock());
            let telling = left.into_iter().map(|left| async {
                if let Some(writing) = left.writing {
                    // Whatever became of it, there is nobody any more who would try again.
                    let _ = writing.await;
                }
                let told = append(broker.clone(), left.shard, left.topic, left.events).await;
                if let Err(refusal) = told {
                    tracing::debug!(%refusal, "a group will find out that a member is gone");
                }
            });
            join_all(telling).await;
        }
    }
}

/// What makes a member's records those of the others.
pub fn leave(member: MemberId) -> Event {
    Event::Leave(Leave {
        member: group::bytes(member),
    })
}

/// Appends events to a group's topic, in one piece. Returns the offset of the last.
pub async fn append(
    broker: Arc<Broker>,
    shard: ShardHandle,
    topic: TopicName,
    events: Vec<Event>,
) -> Result<u64> {
    let system = broker.system();
    let publish = |event| {
        system::publish(
            system,
            topic.clone(),
            group::encode(event),
            Retain::Unchanged,
        )
    };
    let written = shard.append(events.into_iter().map(publish).collect());
    let last = written.await?.pop();
    last.map(|published| published.offset)
        .ok_or_else(interrupted)
}

/// The events of a delivery, with their offsets.
pub fn of(delivery: &Delivery) -> impl Iterator<Item = (u64, GroupEvent)> + '_ {
    delivery.slices.iter().flat_map(|slice| {
        (slice.start..slice.end).filter_map(|index| {
            let offset = slice.segment.base_offset + index as u64;
            Some((offset, group::decode(&slice.segment.messages[index])?))
        })
    })
}
