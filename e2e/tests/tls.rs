//! TLS by configuration: clients see a certificate, and nodes prove themselves to each other.

use highwater_e2e::{
    Client, Cluster,
    cli::Cli,
    cluster::{Authority, PEER_LOSS_WARNINGS, Setup},
    condition::within_deadline,
    eventually,
    mqtt::{self, Mqtt},
};
use highwater_mqtt::{Qos, Version};

fn setup() -> Setup {
    Setup {
        tls: true,
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_over_tls_between_clients_and_nodes() {
    let cluster = Cluster::start_with(setup()).await;
    // Over gRPC, in at one node and out at another.
    let mut live = cluster
        .client(2)
        .subscribe(&["sealed"], "latest")
        .await
        .unwrap();
    cluster.client(0).publish("sealed", "p#0").await.unwrap();
    let records = within_deadline("it is delivered", live.records(1)).await;
    assert_eq!(records.unwrap()[0].payload, "p#0");

    // Over HTTPS.
    let path = "/v1/messages/sealed";
    let publish = cluster.http().post(cluster.url(1, path));
    let publish = publish.bearer_auth(cluster.key()).body("p#1").send().await;
    assert_eq!(publish.unwrap().status(), 201);
    let page = cluster.get_json(0, &format!("{path}?from=earliest")).await;
    assert_eq!(page["records"].as_array().map(Vec::len), Some(2), "{page}");

    // With the command line.
    let cli = Cli {
        servers: cluster.url(0, ""),
        key: cluster.key().to_owned(),
        folder: cluster.folder().to_owned(),
    };
    cli.json(&["pub", "sealed", "p#2", "--ca", "ca.pem"]).await;
    let listed = cli.json(&["topic", "list", "--ca", "ca.pem"]).await;
    assert_eq!(listed[0]["next_offset"], 3);
    let distrusted = cli.run(&["pub", "sealed", "p#3", "--timeout", "0"]).await;
    assert_eq!(distrusted.code, 3, "{distrusted:?}");
    assert_eq!(cluster.read_everywhere("sealed").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_door_for_clients_speaks_nothing_but_tls_and_its_own_certificate() {
    let cluster = Cluster::start_with(Setup {
        nodes: 1,
        ..setup()
    })
    .await;
    let (address, key) = (cluster.address(0), cluster.key());
    let plain = Client::new(address, key).publish("a", "x").await;
    assert!(plain.is_err(), "{plain:?}");
    let foreign = Authority::generate().pem();
    let misled = Client::with_tls(address, key, &foreign);
    let misled = misled.publish("a", "x").await;
    assert!(misled.is_err(), "{misled:?}");
    cluster.client(0).publish("a", "x").await.unwrap();
}

/// Whatever the port, all protocols are spoken on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_has_ports_of_its_own_with_tls_and_without() {
    let cluster = Cluster::start_with(Setup {
        nodes: 1,
        mqtt_ports: true,
        ..setup()
    })
    .await;
    let ports = cluster.mqtt_ports(0);
    let connect = || mqtt::connect(Version::V3_1_1, "", cluster.key());
    let mut client = Mqtt::open(&ports.plain, connect()).await.unwrap();
    client
        .subscribe(&[("a", Qos::AtLeastOnce)], None)
        .await
        .unwrap();

    // The other has the certificate of the door for clients, and no answer for who does not speak TLS.
    assert!(Mqtt::open(&ports.tls, connect()).await.is_err());
    let url = format!("https://{}/v1/messages/a", ports.tls);
    let publish = cluster.http().post(url).bearer_auth(cluster.key());
    let published = publish.body("p#0").send().await.unwrap();
    assert_eq!(published.status(), 201);
    let message = within_deadline("it is delivered", client.message()).await;
    assert_eq!(message.unwrap().payload, "p#0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_foreign_certificate_is_turned_away() {
    let mut cluster = Cluster::start_with(Setup {
        allowed_warnings: [PEER_LOSS_WARNINGS, &["turned a peer away"]].concat(),
        ..setup()
    })
    .await;
    cluster.stop(2).await;
    let folder = cluster.folder().to_owned();
    // Everything else of the node is right: its id, its address, its data and the secret.
    Authority::generate().issue(&folder, "peer-3");
    let before = [0, 1].map(|node| cluster.log(node).len());
    cluster.start_node(2);
    eventually("both others turn it away", async || {
        let turns_away = |node: usize| {
            let log = cluster.log(node).split_off(before[node]);
            let mut lines = log
                .lines()
                .filter(|line| line.contains("turned a peer away"));
            lines.any(|line| line.contains("invalid peer certificate"))
        };
        turns_away(0) && turns_away(1)
    })
    .await;
    let alone = cluster.get(2, "/readyz?verbose").await;
    let alone = alone.unwrap();
    assert!(alone.contains("no connection to node 1, 2"), "{alone}");
    for node in [0, 1] {
        let text = cluster.get(node, "/readyz?verbose").await.unwrap();
        assert!(text.contains("no connection to node 3"), "{text}");
        cluster.client(node).publish("a", "x").await.unwrap();
    }
    let outside = cluster.client(2).publish("a", "x").await;
    assert!(outside.is_err(), "{outside:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let cluster = Cluster::start_with(Setup {
        nodes: 1,
        allowed_warnings: vec!["the certificate in use stays"],
        ..setup()
    })
    .await;
    let folder = cluster.folder().to_owned();
    let (address, key) = (cluster.address(0), cluster.key());
    let mut live = cluster.client(0).subscribe(&["a"], "latest").await.unwrap();
    // Half of a pair that does not fit: it is not used.
    let certificate = folder.join("client-1.pem");
    let before = std::fs::read(&certificate).unwrap();
    std::fs::write(&certificate, "no certificate").unwrap();
    eventually("the node says so", async || {
        cluster.log(0).contains("the certificate in use stays")
    })
    .await;
    let client = Client::with_tls(
        address,
        key,
        &std::fs::read_to_string(folder.join("ca.pem")).unwrap(),
    );
    client.publish("a", "x").await.unwrap();
    std::fs::write(&certificate, before).unwrap();
    // Another authority's, to be told apart.
    let renewed = Authority::generate();
    renewed.issue(&folder, "client-1");
    eventually("new connections see the new one", async || {
        let client = Client::with_tls(address, key, &renewed.pem());
        client.publish("a", "y").await.is_ok()
    })
    .await;
    // Old connections go on.
    let records = within_deadline("it is delivered", live.records(2)).await;
    assert_eq!(records.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_certificates_of_nodes_are_used_without_a_restart() {
    let mut cluster = Cluster::start_with(Setup {
        allowed_warnings: [
            PEER_LOSS_WARNINGS,
            // While some have another authority than others, or a certificate and no key to it yet.
            &["turned a peer away", "the certificate in use stays"],
        ]
        .concat(),
        ..setup()
    })
    .await;
    cluster.stop(2).await;
    // Of another authority, so that what is old on either side fits nothing that is new.
    let renewed = Authority::generate();
    let folder = cluster.folder().to_owned();
    for id in 1..=cluster.size() {
        renewed.issue(&folder, &format!("peer-{id}"));
    }
    std::fs::write(folder.join("ca.pem"), renewed.pem()).unwrap();
    // What the two others have open goes on, and this one has nothing but what is new.
    cluster.client(0).publish("a", "p#0").await.unwrap();
    cluster.restart(2).await;
    cluster.client(2).publish("a", "p#1").await.unwrap();
    assert_eq!(cluster.read_everywhere("a").await.len(), 2);
    eventually("each node has a connection to each other", async || {
        let mut texts = Vec::new();
        for node in 0..cluster.size() {
            texts.push(cluster.get(node, "/readyz?verbose").await.unwrap());
        }
        texts.iter().all(|text| !text.contains("no connection"))
    })
    .await;
}
