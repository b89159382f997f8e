//! Which sessions are served by connections of this node, so that a session's next connection finds the last.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use highwater_broker::session::SessionKey;
use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long a client's new connection waits for what its last one has to say.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The sessions that are connected here.
#[derive(Debug, Default)]
pub struct Registry {
    connections: Mutex<HashMap<SessionKey, Entry>>,
    entered: AtomicU64,
    /// Sessions whose connections could not write the last of them.
    left: Mutex<HashSet<SessionKey>>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// Distinct on this node.
    id: u64,
    /// Told to leave, because the session has a newer connection.
    taken_over: CancellationToken,
    /// Cancelled when the connection has written what it had to.
    gone: CancellationToken,
    /// The connection's number in its session; 0 while the session is being opened.
    epoch: u64,
}

/// A connection's place in the registry, for as long as it lives.
#[derive(Debug)]
pub struct Registered<'a> {
    registry: &'a Registry,
    key: SessionKey,
    entry: Entry,
}

impl Registry {
    /// Takes the place of a session's connection. The one that had it is told to leave, and waited for, but
    /// not for long: it cannot write once the session was written by another.
    pub async fn enter(&self, key: SessionKey) -> Registered<'_> {
        let entry = Entry {
            id: self.entered.fetch_add(1, Ordering::Relaxed),
            taken_over: CancellationToken::new(),
            gone: CancellationToken::new(),
            epoch: 0,
        };
        let before = self.connections.lock().insert(key.clone(), entry.clone());
        let registered = Registered {
            registry: self,
            key,
            entry,
        };
        if let Some(before) = before {
            before.taken_over.cancel();
            // Whether it has left in time or not, the session is this connection's now.
            let _ = timeout(LEAVE_TIMEOUT, before.gone.cancelled()).await;
        }
        registered
    }

    /// A session was written with this connection's number. An older connection of it here has to go.
    pub fn on_written(&self, key: &SessionKey, epoch: u64) {
        let connections = self.connections.lock();
        if let Some(entry) = connections.get(key)
            && entry.epoch != 0
            && entry.epoch < epoch
        {
            entry.taken_over.cancel();
        }
    }

    /// A connection could not settle its session: that is left to be done.
    pub fn leave(&self, key: SessionKey) {
        self.left.lock().insert(key);
    }

    /// The sessions that were left since this was asked last.
    pub fn take_left(&self) -> HashSet<SessionKey> {
        std::mem::take(&mut *self.left.lock())
    }

    /// Whether a connection of this node serves the session.
    pub fn serves(&self, key: &SessionKey) -> bool {
        self.connections.lock().contains_key(key)
    }
}

impl Registered<'_> {
    /// The session was opened.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.entry.epoch = epoch;
        let mut connections = self.registry.connections.lock();
        if let Some(entry) = connections.get_mut(&self.key)
            && entry.id == self.entry.id
        {
            entry.epoch = epoch;
        }
    }

    /// What the session is found by.
    pub fn key(&self) -> &SessionKey {
        &self.key
    }

    /// Cancelled when the session has a newer connection.
    pub fn taken_over(&self) -> &CancellationToken {
        &self.entry.taken_over
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut connections = self.registry.connections.lock();
        if connections
            .get(&self.key)
            .is_some_and(|entry| entry.id == self.entry.id)
        {
            connections.remove(&self.key);
        }
        self.entry.gone.cancel();
    }
}
