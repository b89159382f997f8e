//! What commits append, and what nodes make of them.

use std::time::Duration;

use highwater_credentials::KeyHasher;
use highwater_proto::ids::AuditId;
use tokio::task::JoinSet;

use super::*;
use crate::{
    Broker,
    catalogue::follower::{Documents, Follower},
    fake::FakeShard,
    tail::Tail,
};

const SECRET: &[u8] = b"secret of the cluster";

/// A broker with its meta group, and nothing in it.
struct Stage {
    broker: Arc<Broker>,
    _running: JoinSet<()>,
}

impl Stage {
    fn new() -> Stage {
        let mut running = JoinSet::new();
        let mut shard = |id| {
            let (shard, run) = FakeShard::new(ShardId(id), Tail::default(), Arc::new(|| 1));
            running.spawn(run);
            shard.handle().clone()
        };
        let shards = vec![shard(0), shard(1)];
        let broker = Broker::new(SECRET, Catalogue::default(), shards, shard(2));
        Stage {
            broker: Arc::new(broker),
            _running: running,
        }
    }

    async fn commit(&self, if_version: u64, documents: Vec<Document>) -> Result<u64> {
        let audit = documents.iter().map(|document| AuditEntry {
            id: AuditId::generate().to_string(),
            resource: document.id.clone(),
            ..AuditEntry::default()
        });
        let request = CommitRequest {
            if_version,
            audit: audit.collect(),
            documents,
        };
        let count = request.documents.len();
        let publishes = commit(self.broker.meta_project(), request)?;
        let published = self.broker.meta().append(publishes).await?;
        Ok(published[count - 1].offset + 1)
    }

    fn opens(&self, key: &str) -> Result<u64> {
        let principal = self.broker.authenticate(key, 0)?;
        Ok(principal.project.payload_bytes_max as u64)
    }
}

fn document(id: impl ToString, resource: Resource) -> Document {
    Document {
        id: id.to_string(),
        resource: Some(resource),
        ..Document::default()
    }
}

/// A tenant, its project and a key.
fn customer() -> ([Document; 3], String) {
    let (tenant, project, key) = (
        TenantId::generate(),
        ProjectId::generate(),
        KeyId::generate(),
    );
    let (text, hash) = KeyHasher::new(SECRET).make_key(key, &[7; 32]);
    let documents = [
        document(tenant, Resource::Tenant(control::Tenant::default())),
        document(
            project,
            Resource::Project(control::Project {
                tenant: tenant.to_string(),
                spread: 2,
                ..control::Project::default()
            }),
        ),
        document(
            key,
            Resource::ApiKey(control::ApiKey {
                project: project.to_string(),
                secret_hash: hash.as_bytes().to_vec().into(),
                permissions: vec![control::Permission {
                    operations: vec!["publish".to_owned()],
                    topics: "a/#".to_owned(),
                }],
                ..control::ApiKey::default()
            }),
        ),
    ];
    (documents, text)
}

fn deleted(document: &Document) -> Document {
    Document {
        resource: Some(Resource::Deleted(control::Deleted::default())),
        ..document.clone()
    }
}

#[tokio::test]
async fn a_node_knows_what_was_committed_and_forgets_what_was_deleted() {
    let stage = Stage::new();
    let mut follower = Follower::new(stage.broker.clone());
    assert_eq!(follower.catch_up().await, Ok(0));
    let (documents, key) = customer();
    assert!(stage.opens(&key).is_err());
    let version = stage.commit(0, documents.to_vec()).await.unwrap();
    assert_eq!(version, 3);
    assert_eq!(follower.catch_up().await, Ok(3));
    assert!(stage.opens(&key).is_ok());
    // One that starts later reads the same.
    stage.broker.set_catalogue(Catalogue::default());
    let mut later = Follower::new(stage.broker.clone());
    assert_eq!(later.catch_up().await, Ok(3));
    assert!(stage.opens(&key).is_ok());
    let deletion = vec![deleted(&documents[2])];
    assert_eq!(stage.commit(version, deletion).await, Ok(4));
    let waiting = follower.follow();
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        stage.opens(&key).unwrap_err().code(),
        ErrorCode::Unauthenticated
    );
}

#[tokio::test]
async fn of_two_writers_who_saw_the_same_version_one_commits() {
    let stage = Stage::new();
    let (one, _) = customer();
    let (other, _) = customer();
    assert_eq!(stage.commit(0, one.to_vec()).await, Ok(3));
    let refused = stage.commit(0, other.to_vec()).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::PreconditionFailed);
    // At a version that the end will only reach by another commit, nothing is appended either.
    let refused = stage.commit(4, other.to_vec()).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::PreconditionFailed);
    assert_eq!(stage.commit(3, other.to_vec()).await, Ok(6));
    let audit = audit_topic("").unwrap();
    let told = stage
        .broker
        .topic(stage.broker.meta_project(), &audit)
        .await;
    assert_eq!(
        told.unwrap().next_offset,
        6,
        "of what was refused nothing is told"
    );
}

#[tokio::test]
async fn a_commit_is_seen_whole() {
    let stage = Stage::new();
    let (documents, _) = customer();
    let request = CommitRequest {
        documents: documents.to_vec(),
        ..CommitRequest::default()
    };
    let mut publishes = commit(stage.broker.meta_project(), request).unwrap();
    let last = publishes.pop().unwrap();
    publishes[0].if_end = None;
    stage.broker.meta().append(publishes).await.unwrap();
    let mut reader = Documents::of_replica(stage.broker.clone(), 0);
    assert_eq!(reader.try_next().await, Ok(None));
    assert_eq!(reader.version(), 0);
    stage.broker.meta().append(vec![last]).await.unwrap();
    let read = reader.try_next().await.unwrap().unwrap();
    let ids: Vec<&str> = read.iter().map(|d| d.id.as_str()).collect();
    assert_eq!(ids, documents.each_ref().map(|d| d.id.as_str()));
    let versions: Vec<u64> = read.iter().map(|d| d.version).collect();
    assert_eq!((versions, reader.version()), (vec![1, 2, 3], 3));
    let mut from_there = Documents::of_replica(stage.broker.clone(), 3);
    assert_eq!(from_there.try_next().await, Ok(None));
}

#[test]
fn what_cannot_be_understood_opens_nothing() {
    let shards = [ShardId(0), ShardId(1)];
    let hasher = KeyHasher::new(SECRET);
    let (documents, text) = customer();
    let opens = |catalogue: &Catalogue| catalogue.authenticate(&hasher, &text, 0).is_ok();
    let mut good = Catalogue::default();
    for document in &documents {
        good.apply(document, &shards).unwrap();
    }
    assert!(opens(&good));
    let spoil = |at: usize, change: &dyn Fn(&mut Document)| {
        let mut document = documents[at].clone();
        change(&mut document);
        let mut catalogue = good.clone();
        let told = catalogue.apply(&document, &shards);
        (told.map_err(|e| e.to_string()), opens(&catalogue))
    };
    let project = |change: fn(&mut control::Project)| {
        move |document: &mut Document| match &mut document.resource {
            Some(Resource::Project(project)) => change(project),
            other => panic!("{other:?}"),
        }
    };
    let key = |change: fn(&mut control::ApiKey)| {
        move |document: &mut Document| match &mut document.resource {
            Some(Resource::ApiKey(key)) => change(key),
            other => panic!("{other:?}"),
        }
    };
    type Change = Box<dyn Fn(&mut Document)>;
    let cases: [(usize, Change, &str); 9] = [
        (0, Box::new(|d| d.resource = None), "does not know"),
        (
            1,
            Box::new(project(|p| p.spread = 3)),
            "spread: from 1 to 2",
        ),
        (
            1,
            Box::new(project(|p| p.spread = 0)),
            "spread: from 1 to 2",
        ),
        (1, Box::new(project(|p| p.state = 9)), "a state"),
        (
            1,
            Box::new(project(|p| p.tenant.clear())),
            "an id of this kind",
        ),
        (
            1,
            Box::new(project(|p| p.origins.push("x".into()))),
            "an origin is",
        ),
        (2, Box::new(key(|k| k.secret_hash = "x".into())), "32 bytes"),
        (
            2,
            Box::new(key(|k| k.permissions[0].topics = "a/#/b".into())),
            "filter",
        ),
        (
            2,
            Box::new(key(|k| k.permissions[0].operations[0].push('x'))),
            "no operation",
        ),
    ];
    for (at, change, message) in cases {
        let (told, opens) = spoil(at, &*change);
        let told = told.unwrap_err();
        assert!(told.contains(message), "{told}");
        assert!(!opens, "{message}");
    }
    let disabled = key(|key| key.is_disabled = true);
    assert_eq!(spoil(2, &disabled), (Ok(()), false));
    assert!(opens(&good));
}

#[test]
fn a_commit_that_no_reader_could_take_up_is_refused() {
    let project = system::meta_project(ShardId(2));
    let refused = |documents: Vec<Document>, audit: Vec<AuditEntry>| {
        let request = CommitRequest {
            if_version: 0,
            documents,
            audit,
        };
        commit(&project, request).unwrap_err().code()
    };
    let (documents, _) = customer();
    let [tenant, ..] = documents;
    let large = document(
        TenantId::generate(),
        Resource::Tenant(control::Tenant {
            name: "x".repeat(COMMIT_BYTES_MAX),
            ..control::Tenant::default()
        }),
    );
    let of_nobody = AuditEntry {
        tenant: "nobody/#".into(),
        ..AuditEntry::default()
    };
    let invalid = ErrorCode::InvalidRequest;
    assert_eq!(refused(vec![], vec![]), invalid);
    assert_eq!(refused(vec![tenant.clone(); 2], vec![]), invalid);
    assert_eq!(refused(vec![Document::default()], vec![]), invalid);
    assert_eq!(refused(vec![large], vec![]), invalid);
    assert_eq!(refused(vec![tenant.clone()], vec![of_nobody]), invalid);
    let many = vec![AuditEntry::default(); COMMIT_DOCUMENTS_MAX];
    assert_eq!(refused(vec![tenant], many), invalid);
}
