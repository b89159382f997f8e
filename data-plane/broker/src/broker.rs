//! The one object the front doors hold: shards by id, the catalogue, and the cluster's secrets in use.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use highwater_credentials::{KeyHasher, SecretHash, ServiceCredential, token::TOKEN_PREFIX};
use highwater_proto::{
    ErrorCode,
    ids::{KeyId, ProjectId, ShardId, TopicId},
    limits::VERIFIED_TOKENS_MAX,
    names::TopicName,
};
use quick_cache::sync::Cache;
use tokio::sync::watch;

use crate::{
    catalogue::{Catalogue, Principal, Project, documents, tokens::Token},
    cursor::{Cursor, Cursors, NO_TOPIC, TopicCursor},
    handle::{Published, ReadRequest, ShardHandle, TopicEnd, TopicView},
    refusal::{Refusal, Result},
    system,
    ticket::Tickets,
};

/// A node's view of the service.
pub struct Broker {
    shards: Vec<ShardHandle>,
    meta: ShardHandle,
    system: Arc<Project>,
    meta_project: Arc<Project>,
    catalogue: ArcSwap<Catalogue>,
    catalogue_is_known: AtomicBool,
    /// Of the documents that the catalogue in force is made of.
    catalogue_version: AtomicU64,
    catalogue_changes: watch::Sender<()>,
    cursors: Cursors,
    keys: KeyHasher,
    /// Tokens whose signature was right, by the hash of their text.
    verified: Cache<[u8; 32], Arc<Token>>,
    service: ServiceCredential,
    pub(crate) tickets: Tickets,
}

impl Broker {
    /// A broker over these shards, at least one, whose ids are their indices, and the meta group, whose id
    /// is the next one.
    pub fn new(
        cluster_secret: &[u8],
        catalogue: Catalogue,
        shards: Vec<ShardHandle>,
        meta: ShardHandle,
    ) -> Broker {
        assert_eq!(
            meta.id().0 as usize,
            shards.len(),
            "the meta group is the last"
        );
        for (index, shard) in shards.iter().enumerate() {
            assert_eq!(shard.id().0 as usize, index, "shards are numbered from 0");
        }
        let ids = shards.iter().map(ShardHandle::id).collect();
        Broker {
            shards,
            system: Arc::new(system::project(ids)),
            meta_project: Arc::new(system::meta_project(meta.id())),
            meta,
            catalogue: ArcSwap::from_pointee(catalogue),
            catalogue_is_known: AtomicBool::new(true),
            catalogue_version: AtomicU64::new(0),
            catalogue_changes: watch::Sender::new(()),
            cursors: Cursors::new(cluster_secret),
            keys: KeyHasher::new(cluster_secret),
            verified: Cache::new(VERIFIED_TOKENS_MAX),
            service: ServiceCredential::new(cluster_secret),
            tickets: Tickets::new(cluster_secret),
        }
    }

    /// The catalogue as it is now.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
    }

    /// Replaces the catalogue.
    pub fn set_catalogue(&self, catalogue: Catalogue) {
        self.catalogue.store(Arc::new(catalogue));
        self.catalogue_changes.send_replace(());
    }

    /// Replaces the catalogue by what documents of this version make.
    pub(crate) fn set_catalogue_of(&self, catalogue: Catalogue, version: u64) {
        self.set_catalogue(catalogue);
        self.catalogue_version.store(version, Ordering::SeqCst);
    }

    /// Whether the catalogue in force has everything that was committed before the call, anywhere in the
    /// cluster.
    ///
    /// # Errors
    /// `no_leader` when nobody can tell.
    pub async fn catalogue_is_newest(&self) -> Result<bool> {
        let version = self.committed_catalogue_version().await?;
        Ok(self.catalogue_version.load(Ordering::SeqCst) >= version)
    }

    /// The version of the catalogue with everything that was committed before the call; this node's replica has
    /// it.
    ///
    /// # Errors
    /// `no_leader` when nobody can tell.
    pub async fn committed_catalogue_version(&self) -> Result<u64> {
        self.meta.frontier().await?;
        let view = self.view(&self.meta_project, &documents::topic()).await?;
        Ok(view.map_or(0, |view| view.next_offset))
    }

    /// Whether the node can tell who may do what.
    pub fn catalogue_is_known(&self) -> bool {
        self.catalogue_is_known.load(Ordering::SeqCst)
    }

    /// Says whether the node would hear of a change of the catalogue. While it would not, nobody is let in.
    pub fn set_catalogue_known(&self, is_known: bool) {
        if self.catalogue_is_known.swap(is_known, Ordering::SeqCst) != is_known {
            self.catalogue_changes.send_replace(());
        }
    }

    /// The catalogue, if it can be relied on.
    pub(crate) fn known_catalogue(&self) -> Result<arc_swap::Guard<Arc<Catalogue>>> {
        match self.catalogue_is_known() {
            true => Ok(self.catalogue.load()),
            false => {
                let message =
                    "this node is cut off and cannot tell who may do what; use another one";
                Err(Refusal::new(ErrorCode::NoLeader, message).retry_after_ms(1_000))
            }
        }
    }

    /// Tells when the catalogue was replaced, so that whoever holds a [`Principal`] checks it again.
    pub fn catalogue_changes(&self) -> watch::Receiver<()> {
        self.catalogue_changes.subscribe()
    }

    /// The system's own project, see [`system`].
    pub fn system(&self) -> &Arc<Project> {
        &self.system
    }

    /// The project of the meta group, see [`system`].
    pub fn meta_project(&self) -> &Arc<Project> {
        &self.meta_project
    }

    /// The meta group.
    pub fn meta(&self) -> &ShardHandle {
        &self.meta
    }

    /// The project with this id, be it a customer's or one of the system's.
    pub fn project(&self, id: ProjectId) -> Option<Arc<Project>> {
        let own = [&self.system, &self.meta_project];
        match own.into_iter().find(|project| project.id == id) {
            Some(own) => Some(own.clone()),
            None => self.catalogue.load().project(id).cloned(),
        }
    }

    /// Seals and opens cursors.
    pub fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// Checks an API key or a token at a time, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// `unauthenticated` when it is not valid, `forbidden` when its project or tenant is suspended,
    /// `no_leader` while the node cannot know.
    pub fn authenticate(&self, credential: &str, now_ms: u64) -> Result<Principal> {
        let catalogue = self.known_catalogue()?;
        if !credential.starts_with(TOKEN_PREFIX) {
            return catalogue.authenticate(&self.keys, credential, now_ms);
        }
        // To check a signature takes as long as everything else about a publish, so it is done once. The
        // rest is looked at each time.
        let digest = *blake3::hash(credential.as_bytes()).as_bytes();
        let known = self.verified.get(&digest);
        // What was verified before its issuer was changed is verified again.
        let token = match known.filter(|token| catalogue.accepts(token, now_ms)) {
            Some(token) => token,
            None => {
                let token = Arc::new(catalogue.verify_token(credential, now_ms)?);
                self.verified.insert(digest, token.clone());
                token
            }
        };
        catalogue.bearer(&token, now_ms)
    }

    /// Whether a credential is that of a control plane of this cluster.
    pub fn is_service(&self, credential: &str) -> bool {
        self.service.is(credential)
    }

    /// What a principal is now, by the catalogue in force.
    ///
    /// # Errors
    /// Those of [`Broker::authenticate`].
    pub fn recheck(&self, principal: &Principal, now_ms: u64) -> Result<Principal> {
        self.known_catalogue()?.recheck(principal, now_ms)
    }

    /// Who a key is at a time, for what is done on its behalf while it is not there.
    ///
    /// # Errors
    /// `unauthenticated` when there is no such key any more.
    pub fn principal_of(&self, key: KeyId, now_ms: u64) -> Result<Principal> {
        let catalogue = self.catalogue.load();
        catalogue.principal_of(key, now_ms).ok_or_else(gone)
    }

    /// The same for a token, which may have ended since.
    ///
    /// # Errors
    /// `unauthenticated` when it was revoked or nobody trusts its signer any more.
    pub fn principal_of_token(&self, token: Token, now_ms: u64) -> Result<Principal> {
        let at_its_end_ms = now_ms.min(token.ends_at_ms.saturating_sub(1));
        let catalogue = self.catalogue.load();
        catalogue.bearer(&Arc::new(token), at_its_end_ms)
    }

    /// The hash that a key's tickets are sealed with: of its newest secret.
    pub(crate) fn secret_of(&self, key: KeyId) -> Option<SecretHash> {
        self.catalogue.load().secret_of(key)
    }

    /// All shards of projects.
    pub fn shards(&self) -> &[ShardHandle] {
        &self.shards
    }

    /// The shard with this id.
    ///
    /// # Errors
    /// `cursor_invalid` when there is none, since ids of shards come from cursors only.
    pub fn shard(&self, id: ShardId) -> Result<&ShardHandle> {
        let unknown = || Refusal::new(ErrorCode::CursorInvalid, "the cursor names no shard");
        self.shards.get(id.0 as usize).ok_or_else(unknown)
    }

    /// The shard that keeps a topic.
    pub fn shard_of(&self, project: &Project, topic: &TopicName) -> &ShardHandle {
        let shard = project.shard_of(topic);
        match shard == self.meta.id() {
            true => &self.meta,
            false => &self.shards[shard.0 as usize],
        }
    }

    /// The cursor after a record that was published.
    pub fn published_cursor(&self, project: &Project, shard: ShardId, at: Published) -> String {
        self.topic_cursor(project, shard, at.topic, at.offset + 1)
    }

    /// The cursor of an offset of a topic.
    pub fn topic_cursor(
        &self,
        project: &Project,
        shard: ShardId,
        topic: TopicId,
        next_offset: u64,
    ) -> String {
        let cursor = TopicCursor {
            shard,
            topic,
            next_offset,
            owes_retained: false,
        };
        self.cursors.seal_topic(project.id, cursor)
    }

    /// The end of the topic that a conditional publish requires, from the cursor it brings.
    ///
    /// # Errors
    /// `cursor_invalid` or `cursor_foreign` when it is no cursor of this topic's shard and project.
    pub fn expected_end(
        &self,
        project: &Project,
        topic: &TopicName,
        cursor: &str,
    ) -> Result<TopicEnd> {
        let shard = self.shard_of(project, topic);
        match self.cursors.open(project.id, cursor)? {
            Cursor::Topic(cursor) if cursor.shard == shard.id() => Ok(TopicEnd {
                // The end of a topic that did not exist: offset 0 says it all.
                topic: (cursor.topic != NO_TOPIC).then_some(cursor.topic),
                next_offset: cursor.next_offset,
            }),
            _ => {
                let message = "this is not a cursor of the topic";
                Err(Refusal::new(ErrorCode::CursorForeign, message))
            }
        }
    }

    /// Describes a topic, with everything in it that was acknowledged before the call.
    ///
    /// # Errors
    /// `not_found` when it does not exist.
    pub async fn topic(&self, project: &Project, topic: &TopicName) -> Result<TopicView> {
        self.shard_of(project, topic).frontier().await?;
        let missing = || Refusal::new(ErrorCode::NotFound, "there is no such topic");
        self.view(project, topic).await?.ok_or_else(missing)
    }

    /// A topic as this node's replica has applied it.
    async fn view(&self, project: &Project, topic: &TopicName) -> Result<Option<TopicView>> {
        let view = |reply| ReadRequest::Topic {
            project: project.id,
            topic: topic.clone(),
            reply,
        };
        self.shard_of(project, topic).read(view).await
    }
}

fn gone() -> Refusal {
    let message = "the credential is not valid any more";
    Refusal::new(ErrorCode::Unauthenticated, message)
}
