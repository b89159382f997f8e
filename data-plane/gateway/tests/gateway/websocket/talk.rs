//! What is said on an open connection.

use futures_util::{SinkExt, StreamExt};
use highwater_broker::Refusal;
use highwater_gateway::Options;
use highwater_proto::{
    ErrorCode,
    client::{
        Message as Payload, PublishRequest, SocketRequest, SocketResponse,
        socket_request::Request as Kind, socket_response::Response, subscribe_request::Start,
    },
};
use prost::Message as _;
use serde_json::{Value, json};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use super::peer::{Peer, in_proto, with_key};
use crate::stage::{Stage, within};

#[tokio::test]
async fn a_publish_is_answered_with_its_id_and_place() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage).await;
    for (offset, id) in [(0, json!(7)), (1, json!("seven"))] {
        let published = peer
            .ask(json!({
                "type": "publish", "id": id, "topic": "a/b", "data": {"n": 1}, "key": "k",
                "headers": [["n", "v"]], "ttl_ms": 60_000,
            }))
            .await;
        assert_eq!(published["type"], "published");
        assert_eq!(published["id"], id);
        assert_eq!(published["offset"], offset);
        assert_eq!(published["topic"], "a/b");
        assert_eq!(published["duplicate"], false);
    }
    let once = json!({
        "type": "publish", "id": 1, "topic": "a/b", "data_base64": "/wA=", "idempotency_key": "x",
    });
    let first = peer.ask(once.clone()).await;
    let again = peer.ask(once).await;
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["cursor"], first["cursor"]);
    peer.subscribe("s", &["a/b"], "earliest").await;
    let records = peer.records("s", 3).await;
    assert_eq!(records[0]["data"], r#"{"n": 1}"#.replace(' ', ""));
    assert_eq!(records[0]["content_type"], "application/json");
    assert_eq!(records[0]["headers"], json!([["n", "v"]]));
    assert_eq!(records[2]["data_base64"], "/wA=");
    assert_eq!(records[2]["cursor"], first["cursor"]);
}

#[tokio::test]
async fn a_receipt_is_live_and_its_cursor_goes_on_elsewhere() {
    let stage = Stage::with(3, Options::default(), None).await;
    let mut peer = Peer::open(&stage).await;
    for topics in [&["a/1"][..], &["a/+", "b"][..]] {
        let receipt = peer.subscribe("s", topics, "").await;
        for number in 0..5 {
            stage.publish("a/1", &number.to_string()).await;
        }
        let records = peer.records("s", 5).await;
        let data: Vec<&Value> = records.iter().map(|r| &r["data"]).collect();
        assert_eq!(data, ["0", "1", "2", "3", "4"]);
        // From the receipt, and from the record in the middle, on another connection.
        let mut other = Peer::open(&stage).await;
        other
            .subscribe(1, topics, &format!("cursor:{receipt}"))
            .await;
        assert_eq!(other.records(1, 5).await, records);
        let middle = records[2]["cursor"].as_str().unwrap();
        other
            .subscribe(2, topics, &format!("cursor:{middle}"))
            .await;
        assert_eq!(other.records(2, 2).await, records[3..]);
        let ended = peer.ask(json!({"type": "unsubscribe", "id": "s"})).await;
        assert_eq!(ended["type"], "unsubscribed");
        assert_eq!(ended["cursor"], records[4]["cursor"]);
    }
}

#[tokio::test]
async fn many_publishes_are_under_way_at_once_and_many_subscriptions_open() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage).await;
    for id in 0..20 {
        peer.subscribe(id, &[&format!("t/{id}")], "latest").await;
    }
    for id in 0..20 {
        let publish = json!({"type": "publish", "id": id, "topic": format!("t/{id}"), "data": "x"});
        peer.send(publish).await;
    }
    let (mut published, mut delivered) = (Vec::new(), Vec::new());
    while published.len() + delivered.len() < 40 {
        let message = peer.next().await;
        match message["type"].as_str().unwrap() {
            "published" => published.push(message["id"].as_u64().unwrap()),
            "message" => delivered.push(message["sub"].as_u64().unwrap()),
            _ => panic!("{message}"),
        }
    }
    published.sort_unstable();
    delivered.sort_unstable();
    assert!(published.iter().copied().eq(0..20));
    assert_eq!(delivered, published);
}

#[tokio::test]
async fn a_publish_to_a_full_shard_is_refused_with_the_time_to_wait() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage).await;
    let refusal = Refusal::new(ErrorCode::Overloaded, "the queue is full").retry_after_ms(1_500);
    stage.shards[0].refuse(Some(refusal));
    let publish = json!({"type": "publish", "id": "p", "topic": "a", "data": "x"});
    let error = peer.ask(publish.clone()).await;
    assert_eq!(
        (&error["type"], &error["id"], &error["code"]),
        (&json!("error"), &json!("p"), &json!("overloaded"))
    );
    assert_eq!(
        (
            &error["retry_after_ms"],
            &error["retryable"],
            &error["has_no_side_effects"]
        ),
        (&json!(1_500), &json!(true), &json!(true))
    );
    // Nothing of it was written, and the connection goes on.
    stage.shards[0].refuse(None);
    assert_eq!(peer.ask(publish).await["offset"], 0);
}

#[tokio::test]
async fn credit_bounds_what_is_sent() {
    let stage = Stage::open().await;
    for number in 0..5 {
        stage.publish("a", &number.to_string()).await;
    }
    let mut peer = Peer::open(&stage).await;
    let subscribe = json!({
        "type": "subscribe", "id": 1, "topics": ["a"], "from": "earliest", "credit": {"messages": 2},
    });
    assert_eq!(peer.ask(subscribe).await["type"], "subscribed");
    assert_eq!(peer.records(1, 2).await.len(), 2);
    // The answer to a ping is the next message: no record comes without credit.
    let pong = peer.ask(json!({"type": "ping", "id": "p"})).await;
    assert_eq!(pong, json!({"type": "pong", "id": "p"}));
    peer.send(json!({"type": "flow", "sub": 1, "credit": {"messages": 3}}))
        .await;
    assert_eq!(peer.records(1, 3).await[2]["data"], "4");
}

#[tokio::test]
async fn what_is_gone_is_told() {
    let stage = Stage::open().await;
    let first = stage.publish("a", "0").await;
    for number in 1..5 {
        stage.publish("a", &number.to_string()).await;
    }
    stage.shards[0].trim(stage.project.id, &"a".try_into().unwrap(), 3);
    let mut peer = Peer::open(&stage).await;
    let from = format!("cursor:{}", first["cursor"].as_str().unwrap());
    peer.subscribe("s", &["a"], &from).await;
    let gap = peer.next().await;
    assert_eq!((&gap["type"], &gap["sub"]), (&json!("gap"), &json!("s")));
    assert_eq!(gap["requested"], first["cursor"]);
    assert_eq!(peer.records("s", 2).await[0]["offset"], 3);
}

#[tokio::test]
async fn a_refused_request_is_answered_and_the_connection_goes_on() {
    let stage = Stage::open().await;
    let mut peer = Peer::with(with_key(&stage, &stage.narrow_key)).await;
    for (request, code) in [
        (
            json!({"type": "publish", "topic": "c", "data": "x"}),
            "forbidden",
        ),
        (
            json!({"type": "publish", "topic": "a/#", "data": "x"}),
            "invalid_topic",
        ),
        (
            json!({"type": "publish", "topic": "a/b", "date": "x"}),
            "invalid_request",
        ),
        (
            json!({"type": "publish", "topic": "a/b", "data": "x", "data_base64": "eA=="}),
            "invalid_request",
        ),
        (json!({"type": "publish"}), "invalid_request"),
        (json!({"type": "subscribe", "topics": ["a/c"]}), "forbidden"),
        (
            json!({"type": "subscribe", "topics": []}),
            "invalid_request",
        ),
        (
            json!({"type": "subscribe", "topics": ["a/b"], "from": "x"}),
            "invalid_request",
        ),
        (
            json!({"type": "subscribe", "topics": ["a/b"], "from": "cursor:x"}),
            "cursor_invalid",
        ),
        (json!({"type": "unsubscribe"}), "invalid_request"),
        (
            json!({"type": "auth", "credential": "x"}),
            "unauthenticated",
        ),
        (
            json!({"type": "auth", "credential": stage.strangers_key}),
            "forbidden",
        ),
    ] {
        let mut request = request;
        request["id"] = json!("r");
        let error = peer.ask(request.clone()).await;
        assert_eq!(error["code"], code, "{request} {error}");
        assert_eq!(
            (&error["type"], &error["id"]),
            (&json!("error"), &json!("r"))
        );
        assert!(error["message"].is_string() && error["retryable"].is_boolean());
    }
    peer.subscribe("s", &["a/b"], "latest").await;
    let twice = json!({"type": "subscribe", "id": "s", "topics": ["a/b"]});
    assert_eq!(peer.ask(twice).await["code"], "invalid_request");
    // It is no more than a message may have, and more than a payload.
    let large = "x".repeat(stage.project.payload_bytes_max + 1);
    let publish = json!({"type": "publish", "topic": "a/b", "data": large});
    assert_eq!(peer.ask(publish).await["code"], "payload_too_large");
    let pong = peer.ask(json!({"type": "ping"})).await;
    assert_eq!(pong, json!({"type": "pong"}));
}

#[tokio::test]
async fn a_message_that_is_none_ends_the_connection() {
    let stage = Stage::open().await;
    for (message, code) in [
        (Message::text("{"), 1008),
        (Message::text("[]"), 1008),
        (Message::text(r#"{"id": 1}"#), 1008),
        (Message::text(r#"{"type": "dance"}"#), 1008),
        (Message::text(r#"{"type": "ping", "id": {}}"#), 1008),
        (
            Message::text(format!(
                r#"{{"type": "ping", "id": "{}"}}"#,
                "x".repeat(100)
            )),
            1008,
        ),
        (Message::binary(b"{\"type\": \"ping\"}".to_vec()), 1003),
        (Message::text("x".repeat((2 << 20) + 1)), 1009),
    ] {
        let mut peer = Peer::open(&stage).await;
        within(peer.0.send(message)).await.unwrap();
        assert_eq!(peer.closed().await, code);
    }
    for (message, code) in [
        (Message::binary(vec![0xFF]), 1008),
        (Message::text(""), 1003),
    ] {
        let (socket, _) = within(connect_async(in_proto(&stage))).await.unwrap();
        let mut peer = Peer(socket);
        within(peer.0.send(message)).await.unwrap();
        assert_eq!(peer.closed().await, code);
    }
}

#[tokio::test]
async fn the_binary_subprotocol_says_the_same() {
    let stage = Stage::open().await;
    let (mut socket, _) = within(connect_async(in_proto(&stage))).await.unwrap();
    let ask = |id: &str, request| {
        let message = SocketRequest {
            id: id.to_owned(),
            request: Some(request),
        };
        Message::binary(message.encode_to_vec())
    };
    let start = Start {
        topics: vec!["a/#".to_owned()],
        ..Start::default()
    };
    let publish = PublishRequest {
        topic: "a/b".to_owned(),
        message: Some(Payload {
            payload: b"\xff\x00".to_vec().into(),
            ..Payload::default()
        }),
        ..PublishRequest::default()
    };
    let mut next = async |outgoing: Option<Message>| {
        if let Some(message) = outgoing {
            within(socket.send(message)).await.unwrap();
        }
        match within(socket.next()).await.unwrap().unwrap() {
            Message::Binary(bytes) => {
                let response = SocketResponse::decode(bytes).unwrap();
                (response.id, response.response.unwrap())
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(next(None).await, (_, Response::Hello(_))));
    let (id, receipt) = next(Some(ask("s", Kind::Subscribe(start)))).await;
    assert!(matches!(receipt, Response::Subscribed(_)) && id == "s");
    let mut cursors = Vec::new();
    let mut outgoing = Some(ask("p", Kind::Publish(publish)));
    for _ in 0..2 {
        match next(outgoing.take()).await {
            (id, Response::Published(result)) => {
                assert_eq!(id, "p");
                assert_eq!(result.topic, "a/b");
            }
            (id, Response::Delivery(delivery)) => {
                assert_eq!(id, "s");
                let [record] = delivery.records.as_slice() else {
                    panic!("{delivery:?}");
                };
                assert_eq!(
                    (&record.payload[..], &*record.topic),
                    (&b"\xff\x00"[..], "a/b")
                );
                cursors.push(record.cursor.clone());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(cursors.len(), 1);
}
