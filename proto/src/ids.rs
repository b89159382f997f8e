//! Identifiers as types of their own, so that one cannot be passed for another.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// A text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id of this kind is `{prefix}` and a UUID without dashes")]
pub struct IdError {
    prefix: &'static str,
}

macro_rules! typed_uuid {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The text that begins every id of this kind.
            pub const PREFIX: &'static str = $prefix;

            /// A new id that sorts after those made before it (UUID version 7, RFC 9562).
            pub fn generate() -> $name {
                $name(Uuid::now_v7())
            }

            /// From its sixteen bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> $name {
                $name(Uuid::from_bytes(bytes))
            }

            /// Its sixteen bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<$name, IdError> {
                text.strip_prefix($prefix)
                    .filter(|rest| rest.len() == 32)
                    .and_then(|rest| Uuid::try_parse(rest).ok())
                    .map($name)
                    .ok_or(IdError { prefix: $prefix })
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdError;

            fn try_from(bytes: &[u8]) -> Result<$name, IdError> {
                Uuid::from_slice(bytes).map($name).map_err(|_| IdError { prefix: $prefix })
            }
        }
    };
}

typed_uuid!(
    /// A customer.
    TenantId,
    "ten_"
);
typed_uuid!(
    /// An isolated namespace of topics, keys and connections inside a tenant.
    ProjectId,
    "prj_"
);
typed_uuid!(
    /// A long-lived credential.
    KeyId,
    "key_"
);
typed_uuid!(
    /// What a client was subscribed to and had not finished, from when it began until it is forgotten.
    SessionId,
    "ses_"
);
typed_uuid!(
    /// A consumer in a group, from when it joined until it left.
    MemberId,
    "mem_"
);
typed_uuid!(
    /// Who else signs tokens for a project.
    IssuerId,
    "iss_"
);
typed_uuid!(
    /// What the service signs tokens with.
    SigningKeyId,
    "sig_"
);
typed_uuid!(
    /// Tokens that are good no more.
    RevocationId,
    "rev_"
);
typed_uuid!(
    /// What a node counts with, from when it is started until it stops.
    MeterId,
    "mtr_"
);
typed_uuid!(
    /// A token that the service has signed: its `jti`.
    TokenId,
    "tok_"
);
typed_uuid!(
    /// Who may administer a tenant.
    AdministratorId,
    "mbr_"
);
typed_uuid!(
    /// A request that its sender may repeat, made of its idempotency key.
    RequestId,
    "req_"
);
typed_uuid!(
    /// One change in an audit log.
    AuditId,
    "aud_"
);

/// A process of the cluster. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One Raft group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A topic's number inside its shard. Never given twice, so it is also the topic's incarnation:
/// a topic that is deleted and made again has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u64);

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_from_its_text() {
        let id = ProjectId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(ProjectId::try_from(&id.as_bytes()[..]), Ok(id));
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let tenant = TenantId::generate().to_string();
        assert!(tenant.parse::<ProjectId>().is_err());
        assert!("prj_".parse::<ProjectId>().is_err());
        assert!(
            "prj_é0000000000000000000000000000000"
                .parse::<ProjectId>()
                .is_err()
        );
    }
}
