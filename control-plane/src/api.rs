//! What the routes work with.

use std::sync::Arc;

use highwater_credentials::{KeyHasher, Sealer};

use crate::{
    admin::{Authenticator, Caller, Need},
    clock::Clock,
    http::Rates,
    metrics::Metrics,
    nodes::Nodes,
    refusal::{Reason, Result},
    replica::Replica,
    write::{Now, Writer},
};

/// Shared by all routes.
pub struct Api {
    /// What is read.
    pub replica: Arc<Replica>,
    /// What changes it.
    pub writer: Writer,
    /// Who is asked for what is in no replica.
    pub nodes: Arc<Nodes>,
    /// Who asks.
    pub authenticator: Authenticator,
    /// How much they ask.
    pub rates: Rates,
    /// Seals cursors.
    pub sealer: Sealer,
    /// Makes API keys.
    pub hasher: KeyHasher,
    /// The time of day.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Api {
    /// Looks at the catalogue, for a caller who meets the `need`.
    ///
    /// # Errors
    /// What `look` refuses, or that the catalogue has not been read yet.
    pub fn read<T>(
        &self,
        caller: &Caller,
        need: Need,
        look: impl FnOnce(&Now<'_>) -> Result<T>,
    ) -> Result<T> {
        if !self.replica.progress().is_current {
            return Err(Reason::NoNode.because("the catalogue has not been read yet"));
        }
        let ms = (self.clock)();
        self.replica.read(|catalogue| {
            need.check(catalogue, &caller.principal)?;
            look(&Now {
                catalogue,
                caller,
                ms,
            })
        })
    }
}
