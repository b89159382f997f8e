//! A quota that is used up is told by its name, and with when there is room again, in each protocol's own way.

use highwater_broker::catalogue::Quotas;
use highwater_mqtt::{Packet, ReasonCode, Version};
use highwater_proto::client::PublishRequest;
use reqwest::Method;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    mqtt::peer as mqtt,
    stage::{Stage, refused, within},
    websocket::peer as websocket,
};

/// Sets what our project may use from now on.
fn limit(stage: &Stage, quotas: Quotas) {
    let catalogue = stage.broker.catalogue();
    let project = catalogue.project(stage.project.id).unwrap();
    project.usage.set_quotas(&quotas);
}

/// A stage whose clock stands still, on which one message was taken of one a second.
async fn used_up() -> Stage {
    let stage = Stage::open().await;
    limit(
        &stage,
        Quotas {
            publish_messages_per_second: Some(1),
            ..Quotas::default()
        },
    );
    stage.publish("a", "x").await;
    stage
}

#[tokio::test]
async fn a_publish_beyond_the_rate_is_refused_in_each_protocols_way() {
    let stage = used_up().await;
    let problem = refused(stage.post("/v1/messages/a", "y"), "rate_limited").await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("publish_messages_per_second"), "{detail}");
    let response = within(stage.post("/v1/messages/a", "y").send())
        .await
        .unwrap();
    let headers = response.headers();
    assert_eq!(headers["retry-after"], "1");
    let policy = "\"publish_messages_per_second\";q=1;w=1";
    assert_eq!(headers["ratelimit-policy"], policy);
    let left = "\"publish_messages_per_second\";r=0;t=1";
    assert_eq!(headers["ratelimit"], left);

    let message = stage.call(PublishRequest {
        topic: "a".to_owned(),
        message: Some(Default::default()),
        ..Default::default()
    });
    let status = within(stage.grpc().await.publish(message))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let delay = status
        .get_details_retry_info()
        .unwrap()
        .retry_delay
        .unwrap();
    assert_eq!(delay.as_millis(), 1_000);

    let mut socket = websocket::Peer::open(&stage).await;
    let publish = json!({"type": "publish", "id": 1, "topic": "a", "data": "y"});
    socket.send(publish).await;
    let error = within(socket.next()).await;
    assert_eq!(error["code"], "rate_limited");
    assert_eq!(error["retry_after_ms"], 1_000);

    let mut client = mqtt::Peer::open(&stage, Version::V5).await;
    for (number, delivery) in [(7, mqtt::at_least_once(7)), (8, mqtt::exactly_once(8))] {
        let message = mqtt::message("a", "y", delivery);
        let answer = client.ask(Packet::Publish(message)).await;
        let (Packet::PubAck(ack) | Packet::PubRec(ack)) = answer else {
            panic!("{answer:?} answers nothing");
        };
        assert_eq!(ack.packet_id, mqtt::id(number));
        assert_eq!(ack.reason, ReasonCode::QuotaExceeded);
    }
    stage.advance(1_000);
    stage.publish("a", "z").await;
}

#[tokio::test]
async fn a_page_beyond_the_delivery_rate_is_refused_until_there_is_room() {
    let stage = Stage::open().await;
    for number in 0..5 {
        stage.publish("a", &number.to_string()).await;
    }
    limit(
        &stage,
        Quotas {
            delivery_messages_per_second: Some(2),
            ..Quotas::default()
        },
    );
    let page = || stage.get("/v1/messages/a?from=earliest");
    assert_eq!(within(page().send()).await.unwrap().status(), 200);
    let problem = refused(page(), "rate_limited").await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("delivery_messages_per_second"), "{detail}");
    stage.advance(2_000);
    assert_eq!(within(page().send()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn connections_and_subscriptions_beyond_the_quota_are_refused_by_name() {
    let stage = Stage::open().await;
    let quotas = Quotas {
        connections: Some(1),
        ..Quotas::default()
    };
    limit(&stage, quotas);
    let socket = websocket::Peer::open(&stage).await;
    let problem = refused(stage.get("/v1/sse?topic=a"), "quota_exceeded").await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("connections"), "{detail}");
    assert_eq!(
        websocket::refused_with(websocket::with_key(&stage, &stage.key)).await,
        429
    );
    // One that needs no connection of its own is not concerned.
    let request = stage.request(Method::GET, "/v1/topics");
    assert_eq!(within(request.send()).await.unwrap().status(), 200);
    drop(socket);

    let quotas = Quotas {
        subscriptions: Some(1),
        ..Quotas::default()
    };
    limit(&stage, quotas);
    let mut socket = websocket::Peer::open(&stage).await;
    let subscribe = |id| json!({"type": "subscribe", "id": id, "topics": ["a"]});
    socket.send(subscribe(1)).await;
    assert_eq!(within(socket.next()).await["type"], "subscribed");
    socket.send(subscribe(2)).await;
    let error = within(socket.next()).await;
    assert_eq!(
        (&error["code"], &error["id"]),
        (&json!("quota_exceeded"), &json!(2))
    );
}
