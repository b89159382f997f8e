//! A deleted project is closed at once, and soon nothing of it is left: neither topics nor sessions, nor itself.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use highwater_e2e::{
    Cluster,
    client::request,
    cluster::{PEER_LOSS_WARNINGS, Setup},
    eventually,
    mqtt::{Mqtt, connect_to_session},
};
use highwater_mqtt::Qos;
use highwater_proto::control::{State, document::Resource};
use tokio::time::sleep;
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_project_leaves_nothing_behind_and_others_are_as_they_were() {
    let mut cluster = Cluster::start_with(Setup {
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    })
    .await;
    for project in 0..2 {
        let client = cluster.client_of(project, project);
        for number in 0..50 {
            let topic = format!("a/{}", number % 10);
            client.publish(&topic, format!("p#{number}")).await.unwrap();
        }
    }
    let login = connect_to_session("stays", cluster.key_of(1), 3_600);
    let mut mqtt = Mqtt::open(cluster.address(0), login).await.unwrap();
    mqtt.subscribe(&[("a/#", Qos::AtLeastOnce)], None)
        .await
        .unwrap();

    cluster
        .edit_project(1, |project| project.set_state(State::Deleting))
        .await;
    for node in 0..cluster.size() {
        let client = cluster.client_of(node, 1);
        eventually("nobody is let in", async || {
            let outcome = client.publish("a/1", "x").await;
            outcome.is_err_and(|status| status.code() == Code::Unauthenticated)
        })
        .await;
    }
    let id = format!("prj_{:032x}", 2);
    let is_known = async |cluster: &Cluster| {
        let (documents, _) = cluster.documents().await;
        let mut left = documents
            .iter()
            .filter(|document| !matches!(document.resource, Some(Resource::Deleted(_))));
        left.any(|document| document.id == id)
    };
    eventually("the project is gone", async || !is_known(&cluster).await).await;

    // Put back under its old id, it finds nothing that it had.
    cluster
        .edit(&id, |resource| {
            *resource = Some(Resource::Project(highwater_proto::control::Project {
                tenant: format!("ten_{:032x}", 1),
                spread: 2,
                ..Default::default()
            }));
        })
        .await;
    let client = cluster.client_of(2, 1);
    eventually("it is let in", async || {
        client.read("a/1", "earliest", 1).await.is_ok()
    })
    .await;
    for number in 0..10 {
        let page = client
            .read(&format!("a/{number}"), "earliest", 100)
            .await
            .unwrap();
        assert!(page.records.is_empty(), "{page:?}");
    }
    let login = connect_to_session("stays", cluster.key_of(1), 3_600);
    let mqtt = Mqtt::open(cluster.address(1), login).await.unwrap();
    assert!(!mqtt.accepted.session_present, "its session is gone");

    cluster.restart_all().await;
    for number in 0..10 {
        let page = cluster
            .client(1)
            .read(&format!("a/{number}"), "earliest", 100)
            .await;
        assert_eq!(
            page.unwrap().records.len(),
            5,
            "another project has all it had"
        );
    }
}

/// Files of all nodes in which these bytes are.
fn files_with(cluster: &Cluster, bytes: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = (0..cluster.size())
        .map(|node| cluster.data_dir(node).to_owned())
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // A file may go meanwhile.
            let contents = fs::read(&path).unwrap_or_default();
            let has_them = contents.windows(bytes.len()).any(|window| window == bytes);
            found.extend(has_them.then_some(path));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bytes_of_a_deleted_project_are_in_no_file_of_any_node() {
    const SECRET: &[u8] = b"bytes-that-nobody-may-find-after-the-deletion";
    let mut cluster = Cluster::start_with(Setup {
        erasure_interval_ms: 1_000,
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    })
    .await;
    let (doomed, other) = (cluster.client_of(0, 1), cluster.client_of(1, 0));
    for number in 0..20 {
        let topic = format!("a/{number}");
        doomed.publish(&topic, SECRET.to_vec()).await.unwrap();
        other.publish(&topic, "stays").await.unwrap();
    }
    let mut retained = request("kept", SECRET.to_vec(), "");
    retained.message.as_mut().unwrap().retain = true;
    doomed.publish_request(retained).await.unwrap();
    assert!(
        !files_with(&cluster, SECRET).is_empty(),
        "it would be found"
    );
    cluster
        .edit_project(1, |project| project.set_state(State::Deleting))
        .await;
    let begun = Instant::now();
    while !files_with(&cluster, SECRET).is_empty() {
        let left = files_with(&cluster, SECRET);
        assert!(begun.elapsed() < Duration::from_secs(120), "{left:?}");
        sleep(Duration::from_millis(500)).await;
    }
    cluster.restart_all().await;
    assert_eq!(files_with(&cluster, SECRET), Vec::<PathBuf>::new());
    let (records, _) = other.read_all("a/#", "earliest").await.unwrap();
    assert_eq!(records.len(), 20, "another project has all it had");
}
