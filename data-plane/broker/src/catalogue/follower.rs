//! Keeps a node's catalogue as the documents of its own replica say.

use std::sync::Arc;

use highwater_proto::{
    control::Document,
    ids::ShardId,
    limits::{DOCUMENTS_TOGETHER_MAX, PAGE_BYTES_MAX},
};

use super::{Catalogue, documents};
use crate::{
    broker::Broker,
    handle::PageLimits,
    refusal::Result,
    subscription::{Delivery, Subscription},
};

/// Reads the documents and shows what they make, commit by commit.
pub struct Follower {
    broker: Arc<Broker>,
    shards: Vec<ShardId>,
    documents: Documents,
    catalogue: Catalogue,
}

impl Follower {
    /// A follower that has read nothing yet.
    pub fn new(broker: Arc<Broker>) -> Follower {
        Follower {
            shards: broker.shards().iter().map(|shard| shard.id()).collect(),
            documents: Documents::of_replica(broker.clone(), 0),
            broker,
            catalogue: Catalogue::default(),
        }
    }

    /// Takes up everything that this node's replica has. Returns the catalogue's version with it.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn catch_up(&mut self) -> Result<u64> {
        while let Some(commits) = self.documents.try_next().await? {
            self.take_up(&commits);
        }
        Ok(self.documents.version())
    }

    /// Waits for the next commits and takes them up.
    ///
    /// # Errors
    /// Those of a read. What was read before was taken up.
    pub async fn follow(&mut self) -> Result<()> {
        let commits = self.documents.next().await?;
        self.take_up(&commits);
        Ok(())
    }

    fn take_up(&mut self, commits: &[Document]) {
        for document in commits {
            if let Err(error) = self.catalogue.apply(document, &self.shards) {
                tracing::error!(%error, "a document of the catalogue cannot be used; it opens nothing");
            }
        }
        let version = self.documents.version();
        self.broker
            .set_catalogue_of(self.catalogue.clone(), version);
    }
}

/// Reads the documents of whole commits, as they were appended.
pub struct Documents {
    records: Subscription,
    /// The documents of a commit whose last one has not come.
    unfinished: Vec<Document>,
    /// The version with what was read.
    version: u64,
}

const PAGE: PageLimits = PageLimits {
    records: DOCUMENTS_TOGETHER_MAX,
    bytes: PAGE_BYTES_MAX,
};

impl Documents {
    /// From the version a reader has, as this node's replica has them.
    pub fn of_replica(broker: Arc<Broker>, version: u64) -> Documents {
        let project = broker.meta_project().clone();
        Documents {
            records: Subscription::of_replica(broker, project, documents::topic(), version),
            unfinished: Vec::new(),
            version,
        }
    }

    /// The version with the commits that were read.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Waits for the next commits. There is at least one document.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn next(&mut self) -> Result<Vec<Document>> {
        loop {
            // Documents have no time to live.
            let records = self.records.next(PAGE, &|| 0).await?;
            let commits = self.finish(&records)?;
            if !commits.is_empty() {
                return Ok(commits);
            }
        }
    }

    /// The next commits, or nothing at the end of what there is.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn try_next(&mut self) -> Result<Option<Vec<Document>>> {
        while let Some(records) = self.records.try_next(PAGE, &|| 0).await? {
            let commits = self.finish(&records)?;
            if !commits.is_empty() {
                return Ok(Some(commits));
            }
        }
        Ok(None)
    }

    /// The documents up to the last one that ends a commit. Of an old commit that one may be gone, when it was
    /// written again since; then what is left of it comes with the commit after it.
    fn finish(&mut self, records: &Delivery) -> Result<Vec<Document>> {
        let mut commits = Vec::new();
        for slice in &records.slices {
            let first_offset = slice.segment.base_offset + slice.start as u64;
            let messages = &slice.segment.messages[slice.start..slice.end];
            for (offset, message) in (first_offset..).zip(messages) {
                let document = documents::document(message, offset)?;
                let (ends_commit, version) = (document.ends_commit, document.version);
                self.unfinished.push(document);
                if ends_commit {
                    commits.append(&mut self.unfinished);
                    self.version = version;
                }
            }
        }
        Ok(commits)
    }
}
