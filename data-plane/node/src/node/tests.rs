//! A node starts on its own data, and says what is wrong with other data.

use std::{fs, path::Path};

use highwater_broker::{catalogue::Catalogue, handle::ShardHandle, system};
use highwater_proto::{
    ids::{ProjectId, ShardId},
    names::TopicName,
};

use super::*;

fn config(folder: &Path, changes: &[(&str, &str)]) -> Config {
    let mut text = r#"
node = 1
cluster = "production"
cluster_secret = "0123456789abcdef"
data_dir = "data"
shards = 2
[client]
listen = "127.0.0.1:0"
[peer]
listen = "127.0.0.1:0"
[peers]
1 = "127.0.0.1:7400"
"#
    .to_owned();
    for (from, to) in changes {
        assert!(text.contains(from));
        text = text.replace(from, to);
    }
    let path = folder.join("node.toml");
    fs::write(&path, text).unwrap();
    Config::read(&path, std::iter::empty()).unwrap()
}

async fn start_and_stop(config: Config) -> anyhow::Result<()> {
    let node = Node::start(config).await?;
    let stop = CancellationToken::new();
    stop.cancel();
    node.run_until(stop).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_another_node_or_another_number_of_shards_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    start_and_stop(config(folder.path(), &[])).await.unwrap();
    let peer = "1 = \"127.0.0.1:7400\"";
    let other = "2 = \"127.0.0.1:7401\"";
    let both = format!("{peer}\n{other}");
    let cases: [(&[_], _); 4] = [
        (&[("shards = 2", "shards = 3")], "shards: "),
        (&[("\"production\"", "\"test\"")], "cluster: "),
        (&[(peer, &both)], "peers: "),
        (&[("node = 1", "node = 2"), (peer, other)], "node: "),
    ];
    for (changes, named) in cases {
        let refused = start_and_stop(config(folder.path(), changes)).await;
        let refused = format!("{:#}", refused.unwrap_err());
        assert!(refused.starts_with(named), "{refused}");
        let data = folder.path().join("data");
        assert!(refused.contains(&data.display().to_string()), "{refused}");
    }
    start_and_stop(config(folder.path(), &[])).await.unwrap();
}

#[test]
fn what_the_system_remembers_is_dropped_in_time() {
    let (shard, _queues) = ShardHandle::new(ShardId(0), Arc::default());
    let (meta, _queues) = ShardHandle::new(ShardId(1), Arc::default());
    let broker = Broker::new(b"secret", Catalogue::default(), vec![shard], meta);
    let in_force = Arc::new(OnceLock::new());
    let retention = retention(in_force.clone());
    let topic = TopicName::try_from(format!("{}1", system::TICKETS).as_str()).unwrap();
    assert!(!retention(system::PROJECT, &topic).is_limited());
    assert!(in_force.set(Arc::new(broker)).is_ok());
    let age_ms = retention(system::PROJECT, &topic).age_ms;
    assert_eq!(age_ms, Some(limits::TICKET_RECORD_MS));
    assert!(!retention(ProjectId::generate(), &topic).is_limited());
    let audit = TopicName::try_from(format!("{}service", system::AUDIT).as_str()).unwrap();
    assert_eq!(
        retention(system::META, &audit).age_ms,
        Some(limits::AUDIT_MS)
    );
    let documents = TopicName::try_from(system::CATALOGUE).unwrap();
    assert!(!retention(system::META, &documents).is_limited());
}
