//! A deleted project is closed at once, and soon nothing of it is left: neither topics nor sessions, nor itself.

use highwater_e2e::{
    Cluster,
    cluster::{PEER_LOSS_WARNINGS, Setup},
    eventually,
    mqtt::{Mqtt, connect_to_session},
};
use highwater_mqtt::Qos;
use highwater_proto::control::{State, document::Resource};
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
