//! The OIDC issuer whose tokens administrators bring, and its keys: from a file, or from an address that is asked
//! again now and then, and when a token names a key that is not known.

use std::{convert::Infallible, fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use highwater_credentials::{Claims, Expected, KeySet, TokenError, token};
use parking_lot::RwLock;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::fetch::{Fetcher, Reach};

/// How often keys are read again.
const REFRESH: Duration = Duration::from_secs(300);
/// Shortest time between two readings, whatever tokens come.
const REFRESH_PAUSE: Duration = Duration::from_secs(10);

/// Where keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In a file.
    File(PathBuf),
    /// At an `https` address, or an `http` one of this machine.
    Url(String),
}

/// An issuer, and the keys it has now.
pub struct AdminIssuer {
    issuer: String,
    audiences: Vec<String>,
    source: KeySource,
    fetcher: Fetcher,
    keys: RwLock<Option<Arc<KeySet>>>,
    /// A token has named a key that is not known.
    missing: Notify,
}

impl AdminIssuer {
    /// An issuer whose keys have not been read.
    ///
    /// # Errors
    /// When nothing could be fetched at all.
    pub fn new(
        issuer: String,
        audiences: Vec<String>,
        source: KeySource,
    ) -> anyhow::Result<AdminIssuer> {
        Ok(AdminIssuer {
            issuer,
            audiences,
            source,
            fetcher: Fetcher::new(Reach::Anything, None)?,
            keys: RwLock::new(None),
            missing: Notify::new(),
        })
    }

    /// Checks a token.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self, text: &str, now_ms: u64) -> Result<Claims, TokenError> {
        let keys = self.keys.read().clone().unwrap_or_default();
        let expected = Expected {
            issuer: &self.issuer,
            audiences: &self.audiences,
            now_ms,
        };
        let verified = token::verify(text, &keys, &expected);
        if verified == Err(TokenError::UnknownKey) {
            self.missing.notify_one();
        }
        verified
    }

    /// Whether there are keys to check tokens with.
    pub fn has_keys(&self) -> bool {
        self.keys.read().is_some()
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// Why they cannot be read; those from before stay in use.
    pub async fn read_keys(&self) -> anyhow::Result<()> {
        let text = match &self.source {
            KeySource::File(path) => fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?,
            KeySource::Url(url) => self.fetcher.fetch(url).await?,
        };
        *self.keys.write() = Some(Arc::new(KeySet::read(&text)?));
        Ok(())
    }

    /// Reads the keys again and again, for ever.
    ///
    /// # Errors
    /// Never.
    pub async fn keep_reading(self: Arc<Self>) -> Result<(), Infallible> {
        loop {
            match self.read_keys().await {
                Ok(()) => info!(issuer = self.issuer, "the keys of the issuer were read"),
                Err(error) => warn!(issuer = self.issuer, %error, "the keys in use stay"),
            }
            sleep(REFRESH_PAUSE).await;
            // Either is a reason to read.
            let _ = timeout(REFRESH, self.missing.notified()).await;
        }
    }
}
