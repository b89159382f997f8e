//! Quotas as JSON.

use highwater_proto::{
    control,
    limits::{PAYLOAD_BYTES_MAX, QUOTA_MAX},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::refusal::{Result, invalid};

/// What may be used, in the whole cluster. What is not named is without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Messages that are taken, a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub publish_messages_per_second: Option<u64>,
    /// Bytes of payload that are taken, a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub publish_bytes_per_second: Option<u64>,
    /// Messages that are delivered, a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub delivery_messages_per_second: Option<u64>,
    /// Bytes of payload that are delivered, a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub delivery_bytes_per_second: Option<u64>,
    /// Connections that are open at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub connections: Option<u64>,
    /// Subscriptions that are open at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub subscriptions: Option<u64>,
    /// Topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub topics: Option<u64>,
    /// Bytes that are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub stored_bytes: Option<u64>,
    /// Largest payload of one message. Not named, it is the service's own maximum.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1048576)]
    pub payload_bytes: Option<u64>,
}

impl Quotas {
    /// # Errors
    /// Which quota cannot be.
    pub fn check(&self) -> Result<()> {
        let all = [
            (
                "publish_messages_per_second",
                self.publish_messages_per_second,
                QUOTA_MAX,
            ),
            (
                "publish_bytes_per_second",
                self.publish_bytes_per_second,
                QUOTA_MAX,
            ),
            (
                "delivery_messages_per_second",
                self.delivery_messages_per_second,
                QUOTA_MAX,
            ),
            (
                "delivery_bytes_per_second",
                self.delivery_bytes_per_second,
                QUOTA_MAX,
            ),
            ("connections", self.connections, QUOTA_MAX),
            ("subscriptions", self.subscriptions, QUOTA_MAX),
            ("topics", self.topics, QUOTA_MAX),
            ("stored_bytes", self.stored_bytes, QUOTA_MAX),
            (
                "payload_bytes",
                self.payload_bytes,
                PAYLOAD_BYTES_MAX as u64,
            ),
        ];
        for (name, value, most) in all {
            if value.is_some_and(|value| !(1..=most).contains(&value)) {
                return Err(invalid(format!(
                    "`{name}` is from 1 to {most}; without it there is no such limit"
                )));
            }
        }
        Ok(())
    }
}

impl From<&control::Quotas> for Quotas {
    fn from(stored: &control::Quotas) -> Quotas {
        let limit = |value: u64| (value > 0).then_some(value);
        Quotas {
            publish_messages_per_second: limit(stored.publish_messages_per_second),
            publish_bytes_per_second: limit(stored.publish_bytes_per_second),
            delivery_messages_per_second: limit(stored.delivery_messages_per_second),
            delivery_bytes_per_second: limit(stored.delivery_bytes_per_second),
            connections: limit(stored.connections),
            subscriptions: limit(stored.subscriptions),
            topics: limit(stored.topics),
            stored_bytes: limit(stored.stored_bytes),
            payload_bytes: limit(stored.payload_bytes),
        }
    }
}

impl From<&Quotas> for control::Quotas {
    fn from(quotas: &Quotas) -> control::Quotas {
        let value = Option::unwrap_or_default;
        control::Quotas {
            publish_messages_per_second: value(quotas.publish_messages_per_second),
            publish_bytes_per_second: value(quotas.publish_bytes_per_second),
            delivery_messages_per_second: value(quotas.delivery_messages_per_second),
            delivery_bytes_per_second: value(quotas.delivery_bytes_per_second),
            connections: value(quotas.connections),
            subscriptions: value(quotas.subscriptions),
            topics: value(quotas.topics),
            stored_bytes: value(quotas.stored_bytes),
            payload_bytes: value(quotas.payload_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_kept_as_it_is_shown() {
        let quotas = Quotas {
            topics: Some(5),
            payload_bytes: Some(PAYLOAD_BYTES_MAX as u64),
            ..Quotas::default()
        };
        assert_eq!(quotas.check(), Ok(()));
        assert_eq!(Quotas::from(&control::Quotas::from(&quotas)), quotas);
        assert_eq!(serde_json::to_string(&Quotas::default()).unwrap(), "{}");
    }

    #[test]
    fn no_quota_is_nothing_or_more_than_json_can_say() {
        for value in [0, QUOTA_MAX + 1] {
            let quotas = Quotas {
                topics: Some(value),
                ..Quotas::default()
            };
            assert!(quotas.check().unwrap_err().detail.contains("topics"));
        }
    }
}
