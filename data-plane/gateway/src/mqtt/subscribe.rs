//! A SUBSCRIBE on its way: what of it is opened, and how.

use std::sync::Arc;

use futures_util::future::join_all;
use highwater_broker::{
    Refusal, Result, catalogue::Principal, from::From, subscription::Subscription as Retained,
};
use highwater_mqtt::{
    PacketId, SubscriptionId,
    packet::{Subscribe, subscribe::Subscription as Asked},
};
use highwater_proto::ErrorCode;

use super::subscriptions::{
    Subscription, Written, begins_with_retained, open_reader, open_retained,
};
use crate::{gateway::Door, reader::Reader};

/// User property of a SUBSCRIBE: where its subscriptions begin.
const FROM: &str = "hw-from";

/// The subscriptions of one packet.
pub struct Wanted {
    pub packet_id: PacketId,
    pub id: Option<SubscriptionId>,
    filters: Vec<Result<WantedFilter>>,
}

/// What one filter needs.
struct WantedFilter {
    text: Box<str>,
    written: Written,
    asked: Asked,
    /// Where to read from; nothing to go on where the subscription is.
    from: Option<From>,
    retained: bool,
}

/// What was opened for one filter.
pub struct Opened {
    pub text: Box<str>,
    pub asked: Asked,
    /// None when the subscription goes on as it is.
    pub reader: Option<Reader>,
    pub retained: Option<Box<Retained>>,
}

impl Wanted {
    /// Reads a SUBSCRIBE of a client with these subscriptions.
    pub fn of(subscribe: Subscribe, known: &[Subscription]) -> Wanted {
        let mut properties = subscribe.user_properties.iter();
        let from = properties.find(|(name, _)| name.as_str() == FROM);
        let from = from
            .map(|(_, value)| From::parse(value.as_str()))
            .transpose();
        let wanted = |asked| {
            let from = from.clone()?;
            WantedFilter::of(asked, from, known)
        };
        Wanted {
            packet_id: subscribe.packet_id,
            id: subscribe.subscription_id,
            filters: subscribe.subscriptions.into_iter().map(wanted).collect(),
        }
    }

    /// Opens what there is to open. What is returned is live.
    pub async fn open(self, door: &Arc<Door>, principal: &Principal) -> Vec<Result<Opened>> {
        let open = |wanted: Result<WantedFilter>| async { wanted?.open(door, principal).await };
        join_all(self.filters.into_iter().map(open)).await
    }
}

impl WantedFilter {
    fn of(asked: Asked, from: Option<From>, known: &[Subscription]) -> Result<WantedFilter> {
        let filter = asked
            .filter
            .as_ref()
            .map_err(|invalid| Refusal::new(ErrorCode::InvalidTopic, invalid.to_string()))?;
        let text: Box<str> = filter.as_str().into();
        let written = Written::parse(&text)?;
        let from = written.from.clone().or(from);
        let is_new = !known.iter().any(|s| s.text == text);
        Ok(WantedFilter {
            // What is retained is for every subscriber, and shared by none (section 4.8.2).
            retained: written.group.is_none()
                && begins_with_retained(asked.retain_handling, is_new, from.as_ref()),
            from: match (from, is_new) {
                (None, false) => None,
                (None, true) => Some(From::Latest),
                (from, _) => from,
            },
            text,
            written,
            asked,
        })
    }

    async fn open(self, door: &Arc<Door>, principal: &Principal) -> Result<Opened> {
        let WantedFilter {
            text,
            written,
            asked,
            from,
            retained,
        } = self;
        let reader = match from {
            Some(from) => Some(open_reader(door, principal, &written, from).await?),
            None => None,
        };
        // After the reader: what is retained meanwhile comes from it.
        let retained = match retained {
            true => Some(open_retained(door, principal, &written.filter).await?),
            false => None,
        };
        Ok(Opened {
            text,
            asked,
            reader,
            retained,
        })
    }
}
