//! Tickets: credentials that may stand in an address, since they are good once and for a moment.
//!
//! A ticket names the key that it was made with, and is worth what that key is. It is sealed with a keyed hash
//! (BLAKE3 over a secret of the cluster), so every node opens it and nobody else makes one; the hash of
//! the key's secret is part of what is sealed, so a key that was given another secret has no tickets.
//! That a ticket is good only once is a record in the system's project, whose idempotency key is
//! the ticket's nonce: whoever publishes it first has used the ticket, whichever node they asked.
//!
//! ```text
//! kind 1 │ key id 16 │ nonce 16 │ end in milliseconds 8 │ seal 16
//! ```
//! Integers are big-endian; the whole is base64url without padding (RFC 4648, section 5).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use highwater_credentials::SecretHash;
use highwater_proto::{ErrorCode, ids::KeyId, names::TopicName};
use subtle::ConstantTimeEq;

use crate::{
    Broker,
    catalogue::Principal,
    handle::{Publish, Retain, interrupted},
    refusal::{Refusal, Result},
    system,
};

/// What a sealed text is good for. It is part of the seal: one is never taken for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Opens one connection, whose address it is part of.
    Ticket = 1,
    /// Opens a stream again that was opened by a ticket of the same key.
    Resumption = 2,
}

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// What it is good for.
    pub kind: Kind,
    /// The key it was made with.
    pub key: KeyId,
    /// Tells it from all others.
    pub nonce: [u8; 16],
    /// Until when it is good, in milliseconds since the Unix epoch.
    pub ends_at_ms: u64,
}

/// Seals and opens tickets with the secret of the cluster.
pub(crate) struct Tickets {
    key: [u8; 32],
}

const BODY_BYTES: usize = 1 + 16 + 16 + 8;
const SEAL_BYTES: usize = 16;
const BYTES: usize = BODY_BYTES + SEAL_BYTES;
/// Topics over which the records of used tickets are spread, and with them the shards.
const TOPICS: u8 = 64;

impl Tickets {
    /// From the secret that all nodes of the cluster share.
    pub fn new(cluster_secret: &[u8]) -> Tickets {
        Tickets {
            key: blake3::derive_key("highwater 2026-11 ticket seal", cluster_secret),
        }
    }

    fn seal(&self, ticket: &Ticket, secret: &SecretHash) -> String {
        let mut raw = [0; BYTES];
        raw[0] = ticket.kind as u8;
        raw[1..17].copy_from_slice(ticket.key.as_bytes());
        raw[17..33].copy_from_slice(&ticket.nonce);
        raw[33..BODY_BYTES].copy_from_slice(&ticket.ends_at_ms.to_be_bytes());
        let seal = self.hash(&raw[..BODY_BYTES], secret);
        raw[BODY_BYTES..].copy_from_slice(&seal);
        URL_SAFE_NO_PAD.encode(raw)
    }

    /// What a text says, if it is sealed with the secret of the key that it names.
    fn open<T>(
        &self,
        kind: Kind,
        text: &str,
        find: impl Fn(KeyId) -> Option<(T, SecretHash)>,
    ) -> Option<(Ticket, T)> {
        // The length first, so that nothing larger is decoded.
        let length = (BYTES * 4).div_ceil(3);
        let raw = (text.len() == length).then(|| URL_SAFE_NO_PAD.decode(text).ok());
        let raw: [u8; BYTES] = raw??.try_into().ok()?;
        let (body, seal) = raw.split_at(BODY_BYTES);
        let ticket = Ticket {
            kind,
            key: KeyId::try_from(&body[1..17]).ok()?,
            nonce: body[17..33].try_into().ok()?,
            ends_at_ms: u64::from_be_bytes(body[33..].try_into().ok()?),
        };
        let (found, secret) = find(ticket.key)?;
        let is_sealed = bool::from(self.hash(body, &secret).ct_eq(seal));
        (is_sealed && body[0] == kind as u8).then_some((ticket, found))
    }

    fn hash(&self, body: &[u8], secret: &SecretHash) -> [u8; SEAL_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(body).update(secret.as_bytes());
        let hash = hasher.finalize();
        let (seal, _) = hash.as_bytes().split_first_chunk().expect("32 bytes");
        *seal
    }
}

impl Broker {
    /// The text of a ticket for a principal. Its nonce is 16 random bytes; it ends no later than the key.
    pub fn seal_ticket(&self, principal: &Principal, ticket: &Ticket) -> String {
        assert_eq!(
            Some(ticket.key),
            principal.key(),
            "a ticket is worth its key"
        );
        // Of a key that is gone there is nothing to seal with, and nothing that would be opened.
        let secret = self.secret_of(ticket.key);
        let secret = secret.unwrap_or(SecretHash::from_bytes([0; 32]));
        self.tickets.seal(ticket, &secret)
    }

    /// What a text from outside says, and whose it is. Whether it has ended is for the caller to look at,
    /// and whether it was used.
    ///
    /// # Errors
    /// `unauthenticated` when this cluster has not sealed it for this use, or its key is no longer valid;
    /// `no_leader` while this node cannot know.
    pub fn open_ticket(&self, kind: Kind, text: &str, now_ms: u64) -> Result<(Ticket, Principal)> {
        let catalogue = self.known_catalogue()?;
        let opened = self.tickets.open(kind, text, |key| {
            let principal = catalogue.principal_of(key, now_ms)?;
            Some((principal, catalogue.secret_of(key)?))
        });
        let unknown = || Refusal::new(ErrorCode::Unauthenticated, "the ticket is not valid");
        opened.ok_or_else(unknown)
    }

    /// Uses a ticket, and says whether this is its first use in the whole cluster.
    ///
    /// # Errors
    /// Those of a publish. Whether the ticket is used is unknown when the code says so.
    pub async fn use_ticket(&self, ticket: &Ticket) -> Result<bool> {
        let topic = format!("{}{}", system::TICKETS, ticket.nonce[0] % TOPICS);
        let topic = TopicName::try_from(topic.as_str()).expect("a name of our own");
        let shard = self.shard_of(self.system(), &topic).clone();
        let publish = Publish {
            idempotency: Some(ticket.nonce),
            ..system::publish(self.system(), topic, Vec::new(), Retain::Unchanged)
        };
        let outcome = shard.try_publish(vec![publish])?;
        let outcome = outcome.await.map_err(|_| interrupted())??.pop();
        outcome
            .unwrap_or_else(|| Err(interrupted()))
            .map(|published| !published.duplicate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: SecretHash = SecretHash::from_bytes([5; 32]);

    fn ticket() -> Ticket {
        Ticket {
            kind: Kind::Ticket,
            key: KeyId::from_bytes([1; 16]),
            nonce: [2; 16],
            ends_at_ms: 3,
        }
    }

    fn open(tickets: &Tickets, kind: Kind, text: &str, secret: SecretHash) -> Option<Ticket> {
        let opened = tickets.open(kind, text, |_| Some(((), secret)));
        opened.map(|(ticket, ())| ticket)
    }

    #[test]
    fn a_ticket_is_read_back_where_it_is_meant_to_be() {
        let tickets = Tickets::new(b"a secret of the cluster");
        let text = tickets.seal(&ticket(), &SECRET);
        assert_eq!(open(&tickets, Kind::Ticket, &text, SECRET), Some(ticket()));
        assert_eq!(open(&tickets, Kind::Resumption, &text, SECRET), None);
        let other = SecretHash::from_bytes([6; 32]);
        assert_eq!(open(&tickets, Kind::Ticket, &text, other), None);
        let elsewhere = Tickets::new(b"another secret");
        assert_eq!(open(&elsewhere, Kind::Ticket, &text, SECRET), None);
        assert!(
            tickets
                .open(Kind::Ticket, &text, |_| None::<((), _)>)
                .is_none()
        );
    }

    #[test]
    fn a_changed_ticket_is_none() {
        let tickets = Tickets::new(b"a secret of the cluster");
        let text = tickets.seal(&ticket(), &SECRET);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'Q' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(open(&tickets, Kind::Ticket, &changed, SECRET), None, "{at}");
        }
        for text in ["", "x", &text[1..], &format!("{text}A")] {
            assert_eq!(open(&tickets, Kind::Ticket, text, SECRET), None, "{text}");
        }
    }
}
