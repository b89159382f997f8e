//! A shard with its log, on a store that can crash; and short words for what tests do with it.

use std::sync::Arc;

use bytes::Bytes;
use highwater_broker::{
    handle::{FeedPage, PageLimits, Published, Retain, RetainedPage, TopicPage},
    segment::Slice,
    state::Answer,
};
use highwater_proto::{
    cluster::{self, command::Command},
    ids::{ProjectId, ShardId, TopicId},
    names::{TopicFilter, TopicName},
};
use highwater_storage::{
    ShardStore, Store,
    kv::{Kv, memory::MemoryKv},
    log::LogId,
};

pub const PROJECT: ProjectId = ProjectId::from_bytes([1; 16]);
pub const OTHER: ProjectId = ProjectId::from_bytes([2; 16]);
pub const SHARD: ShardId = ShardId(3);
pub const ALL: PageLimits = PageLimits {
    records: 1_000_000,
    bytes: usize::MAX,
};

/// Where the store's keys and values are.
pub enum Disk {
    Memory(Arc<MemoryKv>),
    #[cfg(feature = "rocksdb")]
    Rocks(tempfile::TempDir),
}

impl Disk {
    /// The store in memory, if that is where it is.
    pub fn memory(&self) -> Option<&Arc<MemoryKv>> {
        match self {
            Disk::Memory(kv) => Some(kv),
            #[cfg(feature = "rocksdb")]
            Disk::Rocks(_) => None,
        }
    }

    pub fn open(&self) -> Arc<dyn Kv> {
        match self {
            Disk::Memory(kv) => kv.clone(),
            #[cfg(feature = "rocksdb")]
            Disk::Rocks(folder) => {
                use highwater_storage::kv::rocks::RocksKv;
                Arc::new(RocksKv::open(folder.path(), 8 << 20).unwrap())
            }
        }
    }
}

/// A shard, and the log it was fed with.
pub struct World {
    pub disk: Disk,
    pub store: Option<Store>,
    pub shard: Option<Arc<ShardStore>>,
    pub log: Vec<cluster::Command>,
    pub time_ms: u64,
}

/// Runs a test on every kind of store.
pub fn on_each_store(test: impl Fn(World)) {
    test(World::in_memory());
    #[cfg(feature = "rocksdb")]
    test(World::on_rocksdb());
}

impl World {
    pub fn in_memory() -> World {
        World::on(Disk::Memory(Arc::default()))
    }

    #[cfg(feature = "rocksdb")]
    pub fn on_rocksdb() -> World {
        World::on(Disk::Rocks(tempfile::tempdir().unwrap()))
    }

    fn on(disk: Disk) -> World {
        let store = Store::open(disk.open()).unwrap();
        let shard = store.shard(SHARD).unwrap();
        World {
            disk,
            store: Some(store),
            shard: Some(shard),
            log: Vec::new(),
            time_ms: 1_000_000,
        }
    }

    pub fn shard(&self) -> &Arc<ShardStore> {
        self.shard.as_ref().unwrap()
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// Applies a command as the next one of the log.
    pub fn apply(&mut self, command: Command) -> Answer {
        let command = cluster::Command {
            command: Some(command),
        };
        self.log.push(command.clone());
        let id = log_id(self.log.len() as u64);
        self.shard().apply(id, command).unwrap().answer
    }

    /// Publishes messages to a topic of [`PROJECT`], each of its own command.
    pub fn publish(&mut self, topic: &str, messages: &[&str]) -> Vec<Published> {
        let published = messages
            .iter()
            .flat_map(|m| self.publish_batch(vec![run(PROJECT, topic, vec![message(m)])]));
        published.collect()
    }

    pub fn publish_batch(&mut self, runs: Vec<cluster::TopicRun>) -> Vec<Published> {
        let time_ms = self.time_ms;
        let batch = cluster::PublishBatch { time_ms, runs };
        match self.apply(Command::Publish(batch)) {
            Answer::Published(outcomes) => outcomes.into_iter().map(Result::unwrap).collect(),
            other => panic!("a publish was answered with {other:?}"),
        }
    }

    /// Publishes a record to be retained; one without a text clears what was.
    pub fn retain(&mut self, topic: &str, text: &str) -> Published {
        let retain = match text {
            "" => Retain::Clear,
            _ => Retain::Set,
        };
        let publish = cluster::Publish {
            retain: retain.to_wire().into(),
            ..message(text)
        };
        self.publish_batch(vec![run(PROJECT, topic, vec![publish])])[0]
    }

    pub fn delete(&mut self, topic: &str) -> bool {
        let delete = cluster::DeleteTopic {
            project: Bytes::copy_from_slice(PROJECT.as_bytes()),
            topic: topic.to_owned(),
            ..Default::default()
        };
        self.apply(Command::DeleteTopic(delete)) == Answer::Deleted(Ok(true))
    }

    pub fn trim(&mut self, topics: Vec<cluster::TopicTrim>) {
        let time_ms = self.time_ms;
        self.apply(Command::Trim(cluster::Trim { time_ms, topics }));
    }

    pub fn trim_topic(&mut self, topic: &str, first_offset: u64) {
        let id = self.id(topic);
        self.trim(vec![cluster::TopicTrim {
            topic_id: id.0,
            first_offset,
            first_bytes: 0,
        }]);
    }

    pub fn checkpoint(&self) {
        let durable = self.shard().checkpoint().unwrap();
        assert_eq!(durable, self.shard().applied());
    }

    /// Loses what was not checkpointed, starts again and applies the rest of the log.
    pub fn crash(&mut self) {
        self.shard = None;
        self.store = None;
        if let Some(kv) = self.disk.memory() {
            kv.crash();
        }
        let store = Store::open(self.disk.open()).unwrap();
        let shard = store.shard(SHARD).unwrap();
        let applied = shard.applied().map_or(0, |id| id.index);
        for (index, command) in (1..).zip(&self.log).skip(applied as usize) {
            shard.apply(log_id(index), command.clone()).unwrap();
        }
        self.store = Some(store);
        self.shard = Some(shard);
    }

    pub fn id(&self, topic: &str) -> TopicId {
        self.shard().topic(PROJECT, &name(topic)).unwrap().id
    }

    pub fn read(&self, topic: &str, offset: u64) -> TopicPage {
        let shard = self.shard();
        let page = shard.read_topic(PROJECT, &name(topic), None, offset, ALL);
        page.unwrap()
    }

    /// Everything a topic holds, as text.
    pub fn texts(&self, topic: &str) -> Vec<String> {
        let first = self.shard().topic(PROJECT, &name(topic)).unwrap();
        texts(&self.read(topic, first.first_offset).slices)
    }

    pub fn retained(
        &self,
        filter: &str,
        positions: (u64, u64),
        limits: PageLimits,
    ) -> RetainedPage {
        let filters = [TopicFilter::try_from(filter).unwrap()];
        let shard = self.shard();
        shard
            .retained_records(PROJECT, &filters, positions, limits)
            .unwrap()
    }

    /// All that is retained, in order of position.
    pub fn retained_texts(&self, filter: &str) -> Vec<String> {
        let page = self.retained(filter, (0, u64::MAX), ALL);
        assert!(page.at_end);
        texts(&page.slices)
    }

    pub fn feed(&self, filter: &str, position: u64) -> FeedPage {
        let filters = [TopicFilter::try_from(filter).unwrap()];
        let shard = self.shard();
        shard.read_feed(PROJECT, &filters, position, ALL).unwrap()
    }
}

pub fn log_id(index: u64) -> LogId {
    LogId {
        term: 1,
        node: 1,
        index,
    }
}

pub fn name(text: &str) -> TopicName {
    TopicName::try_from(text).unwrap()
}

pub fn message(text: &str) -> cluster::Publish {
    cluster::Publish {
        message: Bytes::copy_from_slice(text.as_bytes()),
        ..cluster::Publish::default()
    }
}

pub fn run(project: ProjectId, topic: &str, publishes: Vec<cluster::Publish>) -> cluster::TopicRun {
    cluster::TopicRun {
        project: Bytes::copy_from_slice(project.as_bytes()),
        topic: topic.to_owned(),
        publishes,
        policy: None,
    }
}

/// A record of a topic that keeps the newest of each key.
pub fn keyed(topic: &str, key: u8, text: &str) -> cluster::TopicRun {
    let publish = cluster::Publish {
        key: Bytes::from(vec![key; 16]),
        ..message(text)
    };
    cluster::TopicRun {
        policy: Some(cluster::TopicPolicy {
            last_value: true,
            must_exist: false,
            ..Default::default()
        }),
        ..run(PROJECT, topic, vec![publish])
    }
}

/// The messages of slices, as text.
pub fn texts(slices: &[Slice]) -> Vec<String> {
    let messages = slices
        .iter()
        .flat_map(|s| &s.segment.messages[s.start..s.end]);
    messages
        .map(|m| String::from_utf8(m.to_vec()).unwrap())
        .collect()
}

/// Topic, offset, position, time and message of each record of slices.
pub fn records(slices: &[Slice]) -> Vec<(TopicId, u64, u64, u64, Bytes)> {
    let mut records = Vec::new();
    for slice in slices {
        let segment = &slice.segment;
        for i in slice.start..slice.end {
            records.push((
                segment.topic.id,
                segment.base_offset + i as u64,
                segment.base_position + i as u64,
                segment.time_ms,
                segment.messages[i].clone(),
            ));
        }
    }
    records
}
