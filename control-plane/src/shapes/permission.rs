//! Permissions: operations × a topic filter.

use highwater_proto::{control, limits::PERMISSIONS_MAX, names::TopicFilter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::refusal::{Reason, Result, invalid};

/// What is allowed on topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Send messages to them.
    Publish,
    /// Read and follow them.
    Subscribe,
    /// Delete them.
    Manage,
}

/// Operations that are allowed on the topics of a filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// At least one.
    #[schema(min_items = 1)]
    pub operations: Vec<Operation>,
    /// A topic filter: `orders/#`, `devices/+/state`.
    #[schema(example = "orders/#")]
    pub topics: String,
}

/// # Errors
/// Which permission is wrong.
pub fn check_permissions(member: &str, permissions: &[Permission]) -> Result<()> {
    if permissions.len() > PERMISSIONS_MAX {
        return Err(invalid(format!(
            "there are at most {PERMISSIONS_MAX} in `{member}`"
        )));
    }
    for (index, permission) in permissions.iter().enumerate() {
        let mut operations = permission.operations.clone();
        operations.sort();
        operations.dedup();
        if operations.is_empty() || operations.len() != permission.operations.len() {
            return Err(invalid(format!(
                "`{member}[{index}].operations` has at least one operation, and none twice"
            )));
        }
        TopicFilter::try_from(permission.topics.as_str()).map_err(|error| {
            Reason::InvalidTopic.because(format!("`{member}[{index}].topics`: {error}"))
        })?;
    }
    Ok(())
}

/// As they are stored.
pub fn permissions_to(permissions: &[Permission]) -> Vec<control::Permission> {
    let operation = |operation: &Operation| match operation {
        Operation::Publish => "publish".to_owned(),
        Operation::Subscribe => "subscribe".to_owned(),
        Operation::Manage => "manage".to_owned(),
    };
    let permission = |permission: &Permission| control::Permission {
        operations: permission.operations.iter().map(operation).collect(),
        topics: permission.topics.clone(),
    };
    permissions.iter().map(permission).collect()
}

/// As they are shown. Operations of a later version of the service are left out.
pub fn permissions_of(permissions: &[control::Permission]) -> Vec<Permission> {
    let operation = |name: &String| match name.as_str() {
        "publish" => Some(Operation::Publish),
        "subscribe" => Some(Operation::Subscribe),
        "manage" => Some(Operation::Manage),
        _ => None,
    };
    let permission = |permission: &control::Permission| Permission {
        operations: permission.operations.iter().filter_map(operation).collect(),
        topics: permission.topics.clone(),
    };
    permissions.iter().map(permission).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_kept_as_they_are_shown() {
        let permissions = [Permission {
            operations: vec![Operation::Manage, Operation::Publish, Operation::Subscribe],
            topics: "a/+/#".into(),
        }];
        assert_eq!(check_permissions("permissions", &permissions), Ok(()));
        assert_eq!(permissions_of(&permissions_to(&permissions)), permissions);
    }

    #[test]
    fn permissions_that_mean_nothing_are_refused() {
        let check = |operations: &[Operation], topics: &str| {
            let permission = Permission {
                operations: operations.to_vec(),
                topics: topics.into(),
            };
            check_permissions("permissions", &[permission])
        };
        use Operation::Publish;
        assert!(check(&[], "a").is_err());
        assert!(check(&[Publish, Publish], "a").is_err());
        for topics in ["", "a/#/b", "a+", "a\0"] {
            assert_eq!(
                check(&[Publish], topics).unwrap_err().reason,
                Reason::InvalidTopic
            );
        }
    }
}
