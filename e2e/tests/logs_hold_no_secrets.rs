//! What nodes log holds no payload, no key and no secret, at whatever level they log.

use highwater_e2e::{
    Cluster,
    client::request,
    cluster::{CLUSTER_SECRET, PEER_LOSS_WARNINGS, Setup},
    condition::within_deadline,
};
use highwater_proto::client::Header;

const PAYLOAD: &str = "the payload that nobody else may see";
const BIG: &str = "a payload that is too large";
const HEADER: &str = "the header that nobody else may see";

/// How bytes look where a program prints them as numbers.
fn as_numbers(text: &str) -> String {
    let debugged = format!("{:?}", text.as_bytes());
    debugged.trim_matches(['[', ']']).to_owned()
}

/// Publishes, reads and subscribes in every way, is refused in some, and restarts a node.
async fn check(log_level: &'static str) {
    let setup = Setup {
        log_level,
        // What is in the lines counts here, not their level: debug has more of both.
        allowed_warnings: [PEER_LOSS_WARNINGS, &[""]].concat(),
        ..Setup::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    for node in 0..cluster.size() {
        let client = cluster.client(node);
        let mut live = client.subscribe(&["secret/#"], "latest").await.unwrap();
        let mut publish = request("secret/a", PAYLOAD, "");
        publish.message.as_mut().unwrap().headers = vec![Header {
            name: "name".into(),
            value: HEADER.into(),
        }];
        client.publish_request(publish).await.unwrap();
        let stream = client.publish_stream_of("secret/b", PAYLOAD, 10, 5);
        stream.await.unwrap();
        let records = within_deadline("all is delivered", live.records(11)).await;
        assert_eq!(records.unwrap().len(), 11);
        client.read_all("secret/a", "earliest").await.unwrap();

        // Over HTTP, and refused.
        let path = "/v1/messages/secret/a";
        let wrong_key = format!("{}2", cluster.key());
        for (path, key, body) in [
            (path, cluster.key(), PAYLOAD.to_owned()),
            (path, cluster.key(), BIG.repeat(100_000)),
            (path, &wrong_key, PAYLOAD.to_owned()),
            ("/v1/messages", cluster.key(), format!("[{{\"{PAYLOAD}\"")),
            ("/v1/messages/a/%23", cluster.key(), PAYLOAD.to_owned()),
        ] {
            let publish = cluster.http().post(cluster.url(node, path));
            let publish = publish.bearer_auth(key).body(body).send().await;
            // An answer, or a connection that is closed on what is too large.
            drop(publish);
        }
        let in_address = format!("{path}?key={}", cluster.key());
        cluster.get(node, &in_address).await.unwrap();
    }
    cluster.stop(2).await;
    cluster.restart(2).await;

    let secret_of_key = cluster.key().rsplit('_').next().unwrap();
    for node in 0..cluster.size() {
        let log = cluster.log(node);
        assert!(log.contains("\"started\""), "it is the log of a node");
        for secret in [PAYLOAD, BIG, HEADER, secret_of_key, CLUSTER_SECRET] {
            for text in [secret.to_owned(), as_numbers(secret)] {
                let line = log.lines().find(|line| line.contains(&text));
                assert_eq!(line, None, "node {node} logged {secret:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_logged_as_nodes_come() {
    check("info").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_logged_at_the_finest_level() {
    check("trace").await;
}
