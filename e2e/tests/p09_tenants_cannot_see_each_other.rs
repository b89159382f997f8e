//! P9: no topic name, filter, cursor, retained message, session, group, error or metric crosses a project.
//!
//! One project, the owner's, has a secret in everything that it has. Another one, the stranger's, asks for it through
//! every door and in every way that might lead there, and gets what it would get if the owner were not there.

use std::time::Duration;

use highwater_e2e::{
    Cluster,
    client::request,
    cluster::Setup,
    events::Events,
    mqtt::{Mqtt, connect, connect_to_session},
    refusal::Refusal,
    socket::Socket,
};
use highwater_mqtt::{Qos, Version};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

const OWNER: usize = 0;
const STRANGER: usize = 1;
/// In every payload of the owner's, and in the names of its topics.
const SECRET: &str = "owners-secret";
/// How long it is waited for what should not come.
const NOTHING_COMES: Duration = Duration::from_millis(300);

/// Topics of the owner's, which the stranger knows the names of.
const TOPICS: [&str; 4] = ["a", "a/b", "owners-secret/topic", "//"];

/// Names with which one might get out of a project.
const HOSTILE: [&str; 14] = [
    "../a",
    "..",
    "a/../../a",
    "//",
    "/a",
    "a//b",
    "%2e%2e/a",
    "..%2fa",
    "a%00b",
    "$SYS/a",
    "$share/g/a",
    "prj_00000000000000000000000000000001/a",
    "\u{202e}a",
    "a\\..\\a",
];

async fn cluster() -> Cluster {
    let cluster = Cluster::start_with(Setup {
        projects: 2,
        ..Setup::default()
    })
    .await;
    let owner = cluster.client_of(0, OWNER);
    for topic in TOPICS {
        for number in 0..3 {
            let payload = format!("{SECRET} {number}");
            owner.publish(topic, payload).await.unwrap();
        }
        let mut retained = request(topic, format!("{SECRET} retained"), "");
        retained.message.as_mut().unwrap().retain = true;
        owner.publish_request(retained).await.unwrap();
    }
    cluster
}

/// An answer over HTTP: its status, and everything it says. The path is sent as it is: libraries would tidy it up.
async fn ask(cluster: &Cluster, project: usize, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(cluster.address(1)).await.unwrap();
    let key = cluster.key_of(project);
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    read.expect("an answer").unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or_default(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_finds_nothing_by_name_or_filter_through_any_door() {
    let cluster = cluster().await;
    let key = cluster.key_of(STRANGER);
    let filters = [
        "#",
        "+",
        "+/+",
        "a/#",
        "owners-secret/#",
        "//",
        "/#",
        "+/+/+",
    ];
    for from in ["earliest", "retained", "last:100", "time:0"] {
        for filter in filters.iter().chain(&TOPICS) {
            let topic = filter.replace('#', "%23").replace('+', "%2B");
            let (status, text) = ask(
                &cluster,
                STRANGER,
                "GET",
                &format!("/v1/messages?topic={topic}&from={from}"),
            )
            .await;
            assert_eq!(status, 200, "{filter} {text}");
            assert!(!text.contains(SECRET), "{filter} {from}: {text}");

            let door = (cluster.address(1), key);
            let mut events = Events::open(cluster.http(), door, &[filter], from)
                .await
                .unwrap();
            let mut socket = Socket::open(door.0, key).await.unwrap();
            socket.subscribe(1, &[filter], from).await.unwrap();
            let mut mqtt = Mqtt::open(door.0, connect(Version::V5, "", key))
                .await
                .unwrap();
            let filters = [(*filter, Qos::AtLeastOnce)];
            mqtt.subscribe(&filters, Some(from)).await.unwrap();
            let client = cluster.client_of(1, STRANGER);
            let mut live = client.subscribe(&[filter], from).await.unwrap();
            let came = tokio::select! {
                event = events.next() => format!("{event:?}"),
                message = socket.next() => format!("{message:?}"),
                message = mqtt.message() => format!("{message:?}"),
                response = live.next() => format!("{response:?}"),
                () = sleep(NOTHING_COMES) => continue,
            };
            panic!("{filter} {from}: {came}");
        }
    }
    // The system's own topics are nobody's.
    let system = ask(&cluster, STRANGER, "GET", "/v1/messages?topic=$SYS/%23").await;
    assert_eq!(system.0, 403, "{}", system.1);
    let (_, topics) = ask(&cluster, STRANGER, "GET", "/v1/topics").await;
    assert!(!topics.contains("owners"), "{topics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_name_stays_in_its_project_whatever_door_it_comes_through() {
    let cluster = cluster().await;
    let owner = cluster.client_of(2, OWNER);
    let before: Vec<_> = owner.read_all("#", "earliest").await.unwrap().0;
    let stranger = cluster.client_of(1, STRANGER);
    let mut socket = Socket::open(cluster.address(1), cluster.key_of(STRANGER))
        .await
        .unwrap();
    for (at, name) in HOSTILE.into_iter().enumerate() {
        // As it is, and as text of an address; what is made of it may be a topic or a refusal, but none of the owner's.
        for path in [
            name.to_owned(),
            name.replace('/', "%2F"),
            name.replace('.', "%2E"),
        ] {
            for method in ["GET", "HEAD", "POST", "DELETE"] {
                let path = format!("/v1/messages/{path}");
                let (status, text) = ask(&cluster, STRANGER, method, &path).await;
                assert!(!text.contains(SECRET), "{method} {path}: {text}");
                assert!(
                    (200..500).contains(&status),
                    "{method} {path}: {status} {text}"
                );
            }
            let path = format!("/v1/topics/{path}");
            let (status, _) = ask(&cluster, STRANGER, "DELETE", &path).await;
            assert!((200..500).contains(&status), "{path}: {status}");
        }
        let _ = stranger.publish(name, "from the stranger").await;
        let publish =
            json!({"type": "publish", "id": at, "topic": name, "data": "from the stranger"});
        socket.send(&publish).await.unwrap();
        let _ = socket.next().await;
        let mut mqtt = Mqtt::open(
            cluster.address(1),
            connect(Version::V3_1_1, "", cluster.key_of(STRANGER)),
        )
        .await
        .unwrap();
        if !name.contains('\0') {
            let _ = mqtt
                .publish(name, "from the stranger", Qos::AtLeastOnce)
                .await;
        }
    }
    // The owner has what it had, and nothing from the stranger.
    let after = owner.read_all("#", "earliest").await.unwrap().0;
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_of_another_project_is_refused_by_every_door_and_says_nothing() {
    let cluster = cluster().await;
    let owner = cluster.client_of(0, OWNER);
    let of_topic = owner.publish("a", SECRET).await.unwrap().cursor;
    let of_feed = owner.subscribe(&["#"], "earliest").await.unwrap().cursor;
    // The stranger has a topic of the same name.
    let stranger = cluster.client_of(1, STRANGER);
    stranger.publish("a", "own").await.unwrap();
    let key = cluster.key_of(STRANGER);
    for (cursor, filter) in [(of_topic, "a"), (of_feed, "#")] {
        let from = format!("cursor:{cursor}");
        let is_foreign = |refusal: &Refusal| {
            assert!(refusal.code.starts_with("cursor_"), "{refusal:?}");
            assert!(!refusal.message.contains("prj_") && !refusal.message.contains(SECRET));
        };
        let refused = stranger.read(filter, &from, 1).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
        let refused = stranger.subscribe(&[filter], &from).await.err().unwrap();
        let refused = refused.downcast::<tonic::Status>().unwrap();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
        let refused =
            Events::open(cluster.http(), (cluster.address(1), key), &[filter], &from).await;
        is_foreign(&refused.unwrap_err().downcast().unwrap());
        let mut socket = Socket::open(cluster.address(1), key).await.unwrap();
        is_foreign(
            &socket
                .subscribe(1, &[filter], &from)
                .await
                .unwrap_err()
                .downcast()
                .unwrap(),
        );
        let mut mqtt = Mqtt::open(cluster.address(1), connect(Version::V5, "", key))
            .await
            .unwrap();
        mqtt.subscribe(&[(filter, Qos::AtLeastOnce)], Some(&from))
            .await
            .unwrap_err();
        let path = format!(
            "/v1/messages?topic={}&from={from}",
            filter.replace('#', "%23")
        );
        let (status, text) = ask(&cluster, STRANGER, "GET", &path).await;
        assert_eq!(status, 400, "{text}");
        // Nor can it be appended to.
        let mut conditional = request(if filter == "#" { "a" } else { filter }, "x", "");
        conditional.if_cursor = cursor;
        assert!(stranger.publish_request(conditional).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_names_of_sessions_groups_and_keys_are_others_in_another_project() {
    let cluster = cluster().await;
    let (owners_key, strangers_key) = (cluster.key_of(OWNER), cluster.key_of(STRANGER));
    let open = async |key: &str| {
        let connect = connect_to_session("device", key, 600);
        Mqtt::open(cluster.address(0), connect).await.unwrap()
    };
    let mut owners = open(owners_key).await;
    owners
        .subscribe(&[("inbox", Qos::AtLeastOnce)], None)
        .await
        .unwrap();
    // It is neither taken over nor gone on with by a client of the same name.
    let mut strangers = open(strangers_key).await;
    assert!(!strangers.accepted.session_present);
    strangers
        .subscribe(&[("inbox", Qos::AtLeastOnce)], None)
        .await
        .unwrap();
    cluster
        .client_of(1, OWNER)
        .publish("inbox", SECRET)
        .await
        .unwrap();
    let message = timeout(Duration::from_secs(10), owners.message())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&message.payload[..], SECRET.as_bytes());
    assert!(timeout(NOTHING_COMES, strangers.message()).await.is_err());

    // A group of the same name shares nothing.
    let join = async |key: &str| {
        let mut socket = Socket::open(cluster.address(0), key).await.unwrap();
        socket.join(1, ("workers", "jobs"), 10).await.unwrap();
        socket
    };
    let (mut owners, mut strangers) = (join(owners_key).await, join(strangers_key).await);
    cluster
        .client_of(1, OWNER)
        .publish("jobs", SECRET)
        .await
        .unwrap();
    let received = timeout(Duration::from_secs(10), owners.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(received["type"], "message", "{received}");
    assert!(timeout(NOTHING_COMES, strangers.next()).await.is_err());

    // Nor is a message with the same idempotency key a retry.
    for project in [OWNER, STRANGER] {
        let client = cluster.client_of(0, project);
        let result = client
            .publish_request(request("once", "x", "the-same"))
            .await
            .unwrap();
        assert!(!result.duplicate && result.offset == 0);
    }
    // Nor is the stranger's topic of a name the owner's.
    let stranger = cluster.client_of(0, STRANGER);
    assert_eq!(stranger.publish("a/b", "x").await.unwrap().offset, 0);
    let deleted = ask(&cluster, STRANGER, "DELETE", "/v1/topics/a/b").await;
    assert!((200..300).contains(&deleted.0), "{deleted:?}");
    let records = cluster
        .client_of(0, OWNER)
        .read_all("a/b", "earliest")
        .await
        .unwrap()
        .0;
    assert_eq!(records.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_and_metrics_tell_nothing_of_others() {
    let cluster = cluster().await;
    // A topic that another project has is as one that nobody has.
    for (method, path) in [
        ("GET", "/v1/messages/NAME?from=earliest"),
        ("HEAD", "/v1/messages/NAME"),
        ("DELETE", "/v1/topics/NAME"),
    ] {
        let answer = async |name: &str| {
            let path = path.replace("NAME", name);
            let (status, text) = ask(&cluster, STRANGER, method, &path).await;
            let stable = |line: &&str| {
                !["date", "cursor", "next", "request"]
                    .iter()
                    .any(|part| line.contains(part))
            };
            let text: String = text.split([',', '\n']).filter(stable).collect();
            (status, text.replace(name, "NAME"))
        };
        let (taken, free) = (
            answer("owners-secret/topic").await,
            answer("no-bodys-secret/topic").await,
        );
        assert_eq!(taken.0, free.0, "{method} {path}");
        assert_eq!(
            taken.1.len(),
            free.1.len(),
            "{method} {path}: {taken:?} {free:?}"
        );
    }
    for node in 0..cluster.size() {
        let metrics = cluster.get(node, "/metrics").await.unwrap();
        for part in [SECRET, "prj_0", "ten_0", "key_0", "device"] {
            assert!(!metrics.contains(part), "{part} is in the metrics");
        }
    }
    // A ticket opens the project of whoever it was issued to.
    let url = cluster.url(0, "/v1/tickets");
    let issued = cluster
        .http()
        .post(url)
        .bearer_auth(cluster.key_of(STRANGER))
        .send()
        .await
        .unwrap();
    let issued: Value = issued.json().await.unwrap();
    let ticket = issued["ticket"].as_str().unwrap();
    let url = cluster.url(
        1,
        &format!("/v1/sse?topic=%23&from=earliest&ticket={ticket}"),
    );
    let mut events = Events::of(cluster.http().get(url)).await.unwrap();
    assert!(timeout(NOTHING_COMES, events.next()).await.is_err());
}
