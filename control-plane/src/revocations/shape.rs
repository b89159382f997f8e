//! Revocations as JSON.

use highwater_proto::{
    control::{self, revocation::What},
    ids::{ProjectId, RevocationId},
    limits::{TOKEN_ID_BYTES_MAX, TOKEN_LEEWAY_MS, TOKEN_LIFETIME_MS_MAX, TOKEN_SUBJECT_BYTES_MAX},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    catalogue::Stored,
    refusal::{Result, invalid},
    shapes::{Id, ProjectRef, RevocationRef, Timestamp},
};

/// Tokens that are good no more.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Revocation {
    /// Its id.
    pub id: RevocationRef,
    /// The project that they opened.
    pub project: ProjectRef,
    /// Which of them.
    #[serde(flatten)]
    pub tokens: Tokens,
    /// Of those, the ones that were issued before; of a `token_id`, whenever it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_before: Option<Timestamp>,
    /// When all that it is about has ended anyway, so that it is removed.
    pub forgotten_at: Timestamp,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Which tokens: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    /// The one with this `jti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128)]
    pub token_id: Option<String>,
    /// Those with this `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub subject: Option<String>,
    /// All of the project, if it is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
}

/// Tokens to revoke: one of `token_id`, `subject` and `all`.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRevocation {
    /// The token with this `jti`.
    #[schema(min_length = 1, max_length = 128)]
    pub token_id: Option<String>,
    /// Tokens with this `sub`.
    #[schema(min_length = 1, max_length = 256)]
    pub subject: Option<String>,
    /// All tokens of the project, if it is true.
    pub all: Option<bool>,
    /// Only those that were issued before: now, if it is not said. Tokens say in whole seconds when they were issued,
    /// so one that is minted in the same second is revoked, too.
    pub issued_before: Option<Timestamp>,
}

impl Revocation {
    /// As it is shown.
    pub fn of(
        id: RevocationId,
        project: ProjectId,
        stored: &Stored<control::Revocation>,
    ) -> Revocation {
        let tokens = match stored.value.what.clone() {
            Some(What::TokenId(id)) => Tokens {
                token_id: Some(id),
                ..Tokens::default()
            },
            Some(What::Subject(subject)) => Tokens {
                subject: Some(subject),
                ..Tokens::default()
            },
            Some(What::All(_)) | None => Tokens {
                all: Some(true),
                ..Tokens::default()
            },
        };
        Revocation {
            id: Id(id),
            project: Id(project),
            tokens,
            issued_before: Timestamp::unless_zero(stored.value.issued_before_ms),
            forgotten_at: Timestamp(stored.value.forgotten_at_ms),
            created_at: Timestamp(stored.created_at_ms),
        }
    }
}

impl NewRevocation {
    /// As it is stored.
    ///
    /// # Errors
    /// When it does not say which tokens, or says it of some that are yet to be issued.
    pub fn revocation(&self, now_ms: u64, project: ProjectId) -> Result<control::Revocation> {
        let before_ms = self.issued_before.map_or(now_ms, |before| before.0);
        if before_ms > now_ms {
            return Err(invalid("`issued_before` is not to come"));
        }
        let what = match (&self.token_id, &self.subject, self.all) {
            (Some(id), None, None) if self.issued_before.is_none() => {
                check_length("token_id", id, TOKEN_ID_BYTES_MAX)?;
                What::TokenId(id.clone())
            }
            (Some(_), None, None) => {
                return Err(invalid("`issued_before` does not go with `token_id`"));
            }
            (None, Some(subject), None) => {
                check_length("subject", subject, TOKEN_SUBJECT_BYTES_MAX)?;
                What::Subject(subject.clone())
            }
            (None, None, Some(true)) => What::All(true),
            _ => return Err(invalid("give one of `token_id`, `subject` and `all`: true")),
        };
        Ok(control::Revocation {
            project: project.to_string(),
            issued_before_ms: match what {
                What::TokenId(_) => 0,
                _ => before_ms,
            },
            what: Some(what),
            forgotten_at_ms: before_ms + TOKEN_LIFETIME_MS_MAX + 2 * TOKEN_LEEWAY_MS,
        })
    }
}

fn check_length(member: &str, text: &str, most: usize) -> Result<()> {
    match (1..=most).contains(&text.len()) {
        true => Ok(()),
        false => Err(invalid(format!("`{member}` has from 1 to {most} bytes"))),
    }
}
