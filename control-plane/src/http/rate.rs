//! How many requests one caller may send: a bucket each, which fills again steadily. Operators have none.
//!
//! What is left is said with every answer (`RateLimit`, `RateLimit-Policy`: draft-ietf-httpapi-ratelimit-headers).

use std::collections::HashMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use highwater_proto::limits::RATE_CALLERS_MAX;
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use crate::{
    admin::Principal,
    refusal::{Reason, Result},
};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");
/// Time in which a bucket fills.
const WINDOW_S: u32 = 5;

/// The buckets of all callers.
#[derive(Debug)]
pub struct Rates {
    per_second: u32,
    /// When each bucket will be full, of those that are not.
    full_at: Mutex<HashMap<String, Instant>>,
}

/// What a caller has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests that fit into a bucket.
    quota: u32,
    /// Requests that are in it.
    left: u32,
    /// Seconds until it is full.
    full_in_s: u64,
}

impl Rates {
    /// Buckets that take so many requests a second; without any, there is no limit.
    pub fn new(per_second: u32) -> Rates {
        Rates {
            per_second,
            full_at: Mutex::default(),
        }
    }

    /// Takes a request of a caller out of its bucket.
    ///
    /// # Errors
    /// [`Reason::TooMany`] when it is empty.
    pub fn take(&self, caller: &Principal, now: Instant) -> (Result<()>, Option<Standing>) {
        if caller.is_operator || self.per_second == 0 {
            return (Ok(()), None);
        }
        let (window, each) = (
            Duration::from_secs(WINDOW_S.into()),
            Duration::from_secs(1) / self.per_second,
        );
        let mut buckets = self.full_at.lock();
        if buckets.len() >= RATE_CALLERS_MAX {
            buckets.retain(|_, full_at| *full_at > now);
        }
        let has_room = buckets.len() < RATE_CALLERS_MAX;
        let full_at = buckets.get(&caller.actor).copied().unwrap_or(now).max(now);
        let after = full_at + each;
        let fits = after <= now + window;
        if fits && (has_room || buckets.contains_key(&caller.actor)) {
            buckets.insert(caller.actor.clone(), after);
        }
        let missing = if fits { after } else { full_at } - now;
        let left = window.saturating_sub(missing).as_nanos() / each.as_nanos().max(1);
        let standing = Standing {
            quota: self.per_second * WINDOW_S,
            left: u32::try_from(left).unwrap_or(u32::MAX),
            full_in_s: missing.as_secs() + u64::from(missing.subsec_nanos() > 0),
        };
        let taken = match fits {
            true => Ok(()),
            false => Err(Reason::TooMany.into()),
        };
        (taken, Some(standing))
    }
}

impl Standing {
    /// Says so in an answer.
    pub fn write(&self, headers: &mut HeaderMap) {
        let Standing {
            quota,
            left,
            full_in_s,
        } = self;
        let policy = format!("\"caller\";q={quota};w={WINDOW_S}");
        let now = format!("\"caller\";r={left};t={full_in_s}");
        for (name, text) in [(POLICY, policy), (LEFT, now)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str) -> Principal {
        Principal {
            actor: name.into(),
            is_operator: false,
            subjects: Vec::new(),
        }
    }

    #[test]
    fn a_bucket_is_a_callers_own_and_fills_again() {
        let (rates, now) = (Rates::new(10), Instant::now());
        let ann = caller("ann");
        for left in (0..50).rev() {
            let (taken, standing) = rates.take(&ann, now);
            assert_eq!((taken, standing.unwrap().left), (Ok(()), left));
        }
        let (taken, standing) = rates.take(&ann, now);
        assert_eq!(taken.unwrap_err().reason, Reason::TooMany);
        assert_eq!(standing.unwrap().full_in_s, 5);
        assert!(rates.take(&caller("bob"), now).0.is_ok());
        let later = now + Duration::from_millis(200);
        assert!(rates.take(&ann, later).0.is_ok());
        assert!(rates.take(&ann, later).0.is_ok());
        assert!(rates.take(&ann, later).0.is_err());
    }

    #[test]
    fn operators_have_no_limit_and_many_callers_no_more_memory() {
        let (rates, now) = (Rates::new(1), Instant::now());
        let operator = Principal {
            is_operator: true,
            ..caller("root")
        };
        assert!((0..100).all(|_| rates.take(&operator, now).0.is_ok()));
        for n in 0..=RATE_CALLERS_MAX {
            assert!(rates.take(&caller(&n.to_string()), now).0.is_ok());
        }
        assert_eq!(rates.full_at.lock().len(), RATE_CALLERS_MAX);
        let later = now + Duration::from_secs(2);
        rates.take(&caller("late"), later).0.unwrap();
        assert_eq!(rates.full_at.lock().len(), 1);
    }
}
