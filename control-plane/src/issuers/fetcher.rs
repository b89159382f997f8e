//! Keeps the keys of issuers that have them at an address.
//!
//! Every control plane fetches. What it finds is written only if it is other keys than those that are there, so an
//! issuer costs the catalogue nothing while it changes nothing. While nothing can be fetched, the keys that are
//! there stay in use.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream};
use highwater_credentials::KeySet;
use highwater_proto::{ids::IssuerId, limits::JWKS_FETCHES_MAX};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::rules;
use crate::{admin::Caller, api::Api, fetch::Fetcher, write::Now};

/// How often it is looked whether keys are due: those of a new issuer are.
const LOOK: Duration = Duration::from_millis(500);
/// How often keys are fetched.
const REFRESH: Duration = Duration::from_secs(300);
/// How soon again when they could not be.
const RETRY: Duration = Duration::from_secs(30);

/// What became of the last time.
struct Tried {
    url: String,
    due: Instant,
}

/// Fetches for ever.
///
/// # Errors
/// Never.
pub async fn fetch_for_ever(api: Arc<Api>, fetcher: Fetcher) -> Result<(), Infallible> {
    let mut tried: HashMap<IssuerId, Tried> = HashMap::new();
    loop {
        sleep(LOOK).await;
        let all = addresses(&api);
        tried.retain(|id, _| all.iter().any(|(known, _)| known == id));
        let now = Instant::now();
        let is_due = |(id, url): &(IssuerId, String)| {
            let before = tried.get(id);
            before.is_none_or(|before| before.url != *url || before.due <= now)
        };
        let due: Vec<_> = all.into_iter().filter(is_due).collect();
        let fetched = stream::iter(due).map(async |(id, url)| {
            let outcome = fetch_one(&api, &fetcher, id, &url).await;
            (id, url, outcome)
        });
        let outcomes: Vec<_> = fetched.buffer_unordered(JWKS_FETCHES_MAX).collect().await;
        for (id, url, outcome) in outcomes {
            let pause = match outcome {
                Ok(()) => REFRESH,
                Err(error) => {
                    warn!(issuer = %id, error = format!("{error:#}"), "the keys of an issuer cannot be fetched");
                    RETRY
                }
            };
            let due = Instant::now() + pause;
            tried.insert(id, Tried { url, due });
        }
    }
}

fn addresses(api: &Api) -> Vec<(IssuerId, String)> {
    api.replica.read(|catalogue| {
        let issuers = catalogue.issuers.iter();
        let by_url = issuers.filter(|(_, issuer)| !issuer.value.jwks_url.is_empty());
        by_url
            .map(|(id, issuer)| (id, issuer.value.jwks_url.clone()))
            .collect()
    })
}

async fn fetch_one(api: &Api, fetcher: &Fetcher, id: IssuerId, url: &str) -> anyhow::Result<()> {
    let keys = in_order(&fetcher.fetch(url).await?)?;
    KeySet::read(&keys)?;
    let is_there = api.replica.read(|catalogue| {
        let issuer = catalogue.issuers.get(id);
        issuer.is_none_or(|issuer| issuer.value.jwks == keys)
    });
    if is_there {
        return Ok(());
    }
    let service = Caller::service();
    let made = api.writer.make(|catalogue| {
        let now = Now {
            catalogue,
            caller: &service,
            ms: (api.clock)(),
        };
        rules::fetched(&now, id, url, &keys)
    });
    made.await.context("they cannot be written")?;
    info!(issuer = %id, "an issuer has other keys");
    Ok(())
}

/// The same set with its keys in the order of their ids: some services shuffle them.
fn in_order(text: &str) -> anyhow::Result<String> {
    let mut set: Value = serde_json::from_str(text).context("it is no JSON")?;
    if let Some(keys) = set.get_mut("keys").and_then(Value::as_array_mut) {
        keys.sort_by_cached_key(|key| key["kid"].to_string());
    }
    Ok(set.to_string())
}
