//! Topic policies as JSON.

use highwater_proto::{
    control,
    limits::{PROJECT_POLICIES_MAX, QUOTA_MAX},
    names::TopicFilter,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::refusal::{Reason, Result, invalid};

/// The policies of a project, in their order: the first whose filter matches a topic decides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicPolicies {
    /// The policies.
    pub policies: Vec<TopicPolicy>,
}

/// How the topics of a filter are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicPolicy {
    /// Which topics: `orders/#`, `devices/+/state`.
    #[schema(min_length = 1, example = "orders/#")]
    pub filter: String,
    /// How long records stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub retention_ms: Option<u64>,
    /// How many bytes of records stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub retention_bytes: Option<u64>,
    /// How many records stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub retention_records: Option<u64>,
    /// Keep only the newest record of each key.
    #[serde(default)]
    pub last_value: bool,
    /// Refuse a publish rather than create the topic.
    #[serde(default)]
    pub must_exist: bool,
}

impl TopicPolicies {
    /// As they are shown.
    pub fn of(stored: &[control::TopicPolicy]) -> TopicPolicies {
        let limit = |value: u64| (value > 0).then_some(value);
        let policy = |policy: &control::TopicPolicy| TopicPolicy {
            filter: policy.filter.clone(),
            retention_ms: limit(policy.retention_ms),
            retention_bytes: limit(policy.retention_bytes),
            retention_records: limit(policy.retention_records),
            last_value: policy.last_value,
            must_exist: policy.must_exist,
        };
        TopicPolicies {
            policies: stored.iter().map(policy).collect(),
        }
    }

    /// As they are stored.
    pub fn to_stored(&self) -> Vec<control::TopicPolicy> {
        let policy = |policy: &TopicPolicy| control::TopicPolicy {
            filter: policy.filter.clone(),
            retention_ms: policy.retention_ms.unwrap_or_default(),
            retention_bytes: policy.retention_bytes.unwrap_or_default(),
            retention_records: policy.retention_records.unwrap_or_default(),
            last_value: policy.last_value,
            must_exist: policy.must_exist,
        };
        self.policies.iter().map(policy).collect()
    }

    /// # Errors
    /// Which policy cannot be, or would never be asked.
    pub fn check(&self) -> Result<()> {
        if self.policies.len() > PROJECT_POLICIES_MAX {
            return Err(invalid(format!(
                "there are at most {PROJECT_POLICIES_MAX} `policies`"
            )));
        }
        for (index, policy) in self.policies.iter().enumerate() {
            TopicFilter::try_from(policy.filter.as_str()).map_err(|error| {
                Reason::InvalidTopic.because(format!("`policies[{index}].filter`: {error}"))
            })?;
            let before = &self.policies[..index];
            if before.iter().any(|other| other.filter == policy.filter) {
                return Err(invalid(format!(
                    "`policies[{index}]` has the filter of one before it, so it would never decide"
                )));
            }
            let limits = [
                policy.retention_ms,
                policy.retention_bytes,
                policy.retention_records,
            ];
            if limits
                .into_iter()
                .flatten()
                .any(|limit| !(1..=QUOTA_MAX).contains(&limit))
            {
                return Err(invalid(format!(
                    "`policies[{index}]`: what is kept is from 1 to {QUOTA_MAX}; without it there is no such limit"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(filter: &str) -> TopicPolicy {
        TopicPolicy {
            filter: filter.into(),
            ..TopicPolicy::default()
        }
    }

    #[test]
    fn policies_are_kept_as_they_are_shown() {
        let policies = TopicPolicies {
            policies: vec![
                TopicPolicy {
                    retention_ms: Some(1),
                    last_value: true,
                    ..policy("a/#")
                },
                policy("#"),
            ],
        };
        assert_eq!(policies.check(), Ok(()));
        assert_eq!(TopicPolicies::of(&policies.to_stored()), policies);
    }

    #[test]
    fn policies_that_cannot_decide_are_refused() {
        let check = |policies: &[TopicPolicy]| {
            let policies = policies.to_vec();
            TopicPolicies { policies }.check().unwrap_err().reason
        };
        assert_eq!(check(&[policy("a"), policy("a")]), Reason::Invalid);
        for filter in ["", "a/#/b", "\0", &"a".repeat(10_000)] {
            assert_eq!(check(&[policy(filter)]), Reason::InvalidTopic, "{filter}");
        }
        let nothing = TopicPolicy {
            retention_records: Some(0),
            ..policy("a")
        };
        assert_eq!(check(&[nothing]), Reason::Invalid);
    }
}
