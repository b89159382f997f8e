//! Removes what is over: answers, revocations and signing keys that need no longer be known, and ephemeral projects.
//! Gives the signing key its successor in time.
//!
//! Every control plane sweeps. Which of them finds something does not matter: a second one finds it done.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use highwater_proto::{
    control::{self, State},
    ids::{ProjectId, TenantId},
    limits::SWEEP_DOCUMENTS_MAX,
};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{
    admin::Caller,
    api::Api,
    catalogue::{Catalogue, Kept},
    http::IfMatch,
    projects, signing_keys,
    write::{Answer, Change, Now},
};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(5);

/// Sweeps for ever.
///
/// # Errors
/// Never.
pub async fn sweep_for_ever(api: Arc<Api>) -> Result<(), Infallible> {
    loop {
        sleep(EVERY).await;
        while sweep(&api).await > 0 {}
        if let Err(refusal) = signing_keys::tend(&api).await {
            warn!(%refusal, "the signing key has no successor");
        }
    }
}

/// Removes some of what is over, and says how much.
pub async fn sweep(api: &Api) -> usize {
    let ms = (api.clock)();
    let (projects, has_forgotten) = api.replica.read(|catalogue| {
        let has_forgotten = forgotten(catalogue, ms).next().is_some();
        (ended(catalogue, ms), has_forgotten)
    });
    let mut swept = 0;
    for at in projects {
        swept += usize::from(end(api, at).await);
    }
    if has_forgotten {
        swept += forget(api).await;
    }
    api.metrics.swept.inc_by(swept as u64);
    swept
}

/// Documents whose time to be forgotten has come.
fn forgotten(catalogue: &Catalogue, ms: u64) -> impl Iterator<Item = String> {
    let requests = catalogue.requests.iter();
    let requests = requests.filter(move |(_, request)| request.value.forgotten_at_ms <= ms);
    let revocations = catalogue.revocations.iter();
    let revocations = revocations.filter(move |(_, token)| token.value.forgotten_at_ms <= ms);
    let keys = catalogue.signing_keys.iter();
    let keys = keys.filter(move |(_, key)| signing_keys::is_over(&key.value, ms));
    let requests = requests.map(|(id, _)| id.to_string());
    requests
        .chain(revocations.map(|(id, _)| id.to_string()))
        .chain(keys.map(|(id, _)| id.to_string()))
}

/// Projects whose time is over.
fn ended(catalogue: &Catalogue, ms: u64) -> Vec<(TenantId, ProjectId)> {
    let over = catalogue
        .projects
        .iter()
        .filter(|(_, p)| is_over(&p.value, ms));
    let at = over.filter_map(|(id, project)| Some((project.value.parent()?, id)));
    at.take(SWEEP_DOCUMENTS_MAX).collect()
}

fn is_over(project: &control::Project, ms: u64) -> bool {
    (1..=ms).contains(&project.expires_at_ms) && project.state() != State::Deleting
}

async fn end(api: &Api, at: (TenantId, ProjectId)) -> bool {
    let service = Caller::service();
    let ended = api.writer.make(|catalogue| {
        let now = Now {
            catalogue,
            caller: &service,
            ms: (api.clock)(),
        };
        // It may have been given more time since.
        match is_over(&projects::find(&now, at)?.value, now.ms) {
            true => projects::delete(&now, at, &IfMatch::default()),
            false => Ok(Change::none(Answer::gone())),
        }
    });
    match ended.await {
        Ok(_) => {
            info!(project = %at.1, "the time of a project is over");
            true
        }
        Err(refusal) => {
            warn!(project = %at.1, %refusal, "a project whose time is over stays");
            false
        }
    }
}

async fn forget(api: &Api) -> usize {
    let service = Caller::service();
    let count = AtomicUsize::new(0);
    let made = api.writer.make(|catalogue| {
        let now = Now {
            catalogue,
            caller: &service,
            ms: (api.clock)(),
        };
        let over = forgotten(catalogue, now.ms).take(SWEEP_DOCUMENTS_MAX);
        let change = over.fold(Change::none(Answer::gone()), |change, id| {
            change.and_delete(&now, &id)
        });
        count.store(change.documents.len(), Ordering::Relaxed);
        Ok(change)
    });
    match made.await {
        Ok(_) => count.into_inner(),
        Err(refusal) => {
            warn!(%refusal, "documents that are over stay");
            0
        }
    }
}
