//! How the catalogue is changed: decide with what the replica shows, commit if nothing has changed since, or
//! decide again.
//!
//! A decision is a pure function of the catalogue, so it may be made several times; what it draws at random,
//! ids and secrets, is drawn before. Who may do it is a part of the decision, so a role that ends
//! meanwhile ends it. One change is made at a time in a process: a burst of creations would otherwise fight
//! with itself.
//!
//! **A commit whose outcome is unknown** is sent again *with the same version*: of commits that were decided with one
//! version, one at most succeeds, so it cannot be made twice. When the catalogue turns out to have moved, the
//! replica shows whether it was by this commit.

use std::{sync::Arc, time::Duration};

use highwater_proto::{
    control::{CommitRequest, Document},
    limits::{COMMIT_BYTES_MAX, COMMIT_DOCUMENTS_MAX, CONTROL_WRITES_WAITING_MAX},
};
use prost::Message as _;
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, sleep, timeout_at},
};
use tracing::{error, warn};

use crate::{
    admin::{Caller, Need},
    catalogue::{Beside, Catalogue, Stored},
    clock::Clock,
    metrics::Metrics,
    nodes::{Nodes, Outcome},
    refusal::{Reason, Refusal, Result},
    replica::Replica,
};

mod change;
mod idempotency;

pub use change::{Answer, Change};
pub use idempotency::{Idempotency, Memory, random};

/// Time for a change, waiting for its turn included.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for the replica to show what was committed.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a change is decided at most.
const DECISIONS: usize = 64;
/// Pause before a commit with an unknown outcome is sent again.
const DOUBT_PAUSE: Duration = Duration::from_millis(100);

/// What a decision is made with.
#[derive(Clone, Copy)]
pub struct Now<'a> {
    /// Everything that there is.
    pub catalogue: &'a Catalogue,
    /// Who asks.
    pub caller: &'a Caller,
    /// When, in milliseconds since the Unix epoch.
    pub ms: u64,
}

impl Now<'_> {
    /// A resource as it will be stored when it is new.
    pub fn fresh<T>(&self, value: T) -> Stored<T> {
        Stored {
            version: 0,
            created_at_ms: self.ms,
            updated_at_ms: self.ms,
            value,
        }
    }

    /// A resource as it will be stored when it changes.
    pub fn changed<T>(&self, stored: &Stored<T>, value: T) -> Stored<T> {
        let mut changed = stored.with(value);
        changed.updated_at_ms = self.ms;
        changed
    }
}

/// Makes changes.
pub struct Writer {
    replica: Arc<Replica>,
    nodes: Arc<Nodes>,
    memory: Memory,
    clock: Clock,
    metrics: Arc<Metrics>,
    turn: Mutex<()>,
    waiting: Semaphore,
}

/// What became of one attempt.
enum Settled {
    /// It is in the catalogue.
    Committed,
    /// It is not, and the catalogue has moved.
    Moved,
}

impl Writer {
    /// A writer through these nodes.
    pub fn new(
        replica: Arc<Replica>,
        nodes: Arc<Nodes>,
        memory: Memory,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Writer {
        Writer {
            replica,
            nodes,
            memory,
            clock,
            metrics,
            turn: Mutex::new(()),
            waiting: Semaphore::new(CONTROL_WRITES_WAITING_MAX),
        }
    }

    /// Makes the change that `decide` comes to, for a caller who meets the `need`, or repeats the answer to a
    /// request that was made before. Returns when the replica shows it.
    ///
    /// # Errors
    /// What `decide` refuses; [`Reason::InDoubt`] when the outcome stays unknown.
    pub async fn write(
        &self,
        caller: &Caller,
        need: Need,
        key: Option<&Idempotency>,
        decide: impl Fn(&Now<'_>) -> Result<Change>,
    ) -> Result<Answer> {
        let decide = |catalogue: &Catalogue| {
            let ms = (self.clock)();
            let now = Now {
                catalogue,
                caller,
                ms,
            };
            need.check(catalogue, &caller.principal)?;
            match key.map(|key| self.memory.recall(key, &now)).transpose()? {
                Some(Some(answer)) => Ok(Change::none(answer)),
                _ => self.memory.remember(key, decide(&now)?, ms),
            }
        };
        self.make(decide).await
    }

    /// Makes a change that the service itself decides on.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn make(&self, decide: impl Fn(&Catalogue) -> Result<Change>) -> Result<Answer> {
        let until = Instant::now() + WRITE_TIMEOUT;
        let _waiting = self.waiting.try_acquire().map_err(|_| Reason::Overloaded)?;
        let turn = timeout_at(until, self.turn.lock()).await;
        let _turn = turn.map_err(|_| Reason::Overloaded)?;
        if !self.replica.becomes_current(until).await {
            return Err(Reason::NoNode.because("the catalogue has not been read yet"));
        }
        for _ in 0..DECISIONS {
            let (version, change) = self
                .replica
                .read(|catalogue| (catalogue.version(), decide(catalogue)));
            let mut change = change?;
            if change.is_nothing() {
                return Ok(change.answer);
            }
            change.answer.version_is(version + 1);
            match self.commit(version, change.commit(version), until).await? {
                Settled::Committed => {
                    let last = version + change.documents.len() as u64;
                    // A replica that lags does not undo what was committed.
                    self.replica
                        .reaches(last, Instant::now() + CATCH_UP_TIMEOUT)
                        .await;
                    self.metrics.commits.inc();
                    return Ok(change.answer);
                }
                Settled::Moved => self.metrics.conflicts.inc(),
            };
            if !self.replica.reaches(version + 1, until).await {
                return Err(Reason::NoNode.because("the catalogue cannot be read at the moment"));
            }
        }
        Err(Reason::Overloaded.because("too many changes are made at once"))
    }

    /// Commits until it is known what became of it. The catalogue is at `version`, as far as is known.
    async fn commit(
        &self,
        version: u64,
        request: CommitRequest,
        until: Instant,
    ) -> Result<Settled> {
        let count = request.documents.len() + request.audit.len();
        if count > COMMIT_DOCUMENTS_MAX || request.encoded_len() > COMMIT_BYTES_MAX {
            return Err(Reason::BodyTooLarge.because("too much would have to be written at once"));
        }
        let mut in_doubt = false;
        while Instant::now() < until {
            match self.nodes.commit(request.clone()).await {
                Outcome::Committed(_) => return Ok(Settled::Committed),
                Outcome::Moved if !in_doubt => return Ok(Settled::Moved),
                Outcome::Moved => return self.look_for(version, &request.documents, until).await,
                Outcome::Refused(reason) if !in_doubt => {
                    error!(reason, "a node refuses a change of the catalogue");
                    return Err(Reason::NoNode.because("the cluster refuses the change"));
                }
                Outcome::Unknown(reason) | Outcome::Refused(reason) => {
                    if !in_doubt {
                        warn!(reason, "the outcome of a commit is unknown");
                        self.metrics.doubts.inc();
                    }
                    in_doubt = true;
                    sleep(DOUBT_PAUSE).await;
                }
            }
        }
        Err(Reason::InDoubt.into())
    }

    /// Catches up beyond `version`, and looks whether the documents are what has moved the catalogue.
    async fn look_for(
        &self,
        version: u64,
        written: &[Document],
        until: Instant,
    ) -> Result<Settled> {
        if !self.replica.reaches(version + 1, until).await {
            return Err(Reason::InDoubt.into());
        }
        let found: Vec<Beside> = self.replica.read(|catalogue| {
            let beside = |document| catalogue.beside(document, version);
            written.iter().map(beside).collect()
        });
        settle(&found).ok_or_else(|| Refusal::from(Reason::InDoubt))
    }
}

/// What the documents of a commit say together: all of them were written, or none. One without any may say twice
/// what it has to say.
fn settle(found: &[Beside]) -> Option<Settled> {
    if found.is_empty() || found.contains(&Beside::Unwritten) {
        return Some(Settled::Moved);
    }
    found.contains(&Beside::Same).then_some(Settled::Committed)
}
