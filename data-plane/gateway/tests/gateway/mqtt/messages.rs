//! Messages in both directions, on one connection.

use highwater_mqtt::{
    Packet, Qos, ReasonCode, Version,
    packet::{Ack, publish::Delivery},
};

use super::peer::{
    Peer, VERSIONS, at_least_once, exactly_once, id, message, subscription, topic_and_payload,
};
use crate::stage::Stage;

#[tokio::test]
async fn a_message_comes_with_the_lower_of_both_qos() {
    let stage = Stage::open().await;
    for version in VERSIONS {
        let mut peer = Peer::open(&stage, version).await;
        let filters = [
            ("q0/+", Qos::AtMostOnce),
            ("q1/+", Qos::AtLeastOnce),
            ("q2/+", Qos::ExactlyOnce),
        ];
        let granted = peer
            .subscribe(
                filters
                    .map(|(filter, qos)| subscription(filter, qos))
                    .to_vec(),
            )
            .await;
        assert_eq!(
            granted,
            [
                ReasonCode::Success,
                ReasonCode::GrantedQos1,
                ReasonCode::GrantedQos2
            ]
        );
        let mut publisher = Peer::open(&stage, version).await;
        for (topic, wanted) in [
            ("q0/a", [0, 0, 0]),
            ("q1/a", [0, 1, 1]),
            ("q2/a", [0, 1, 2]),
        ] {
            publisher
                .send(Packet::Publish(message(topic, "x", Delivery::AtMostOnce)))
                .await;
            publisher.publish(topic, "x").await;
            publisher
                .send(Packet::Publish(message(topic, "x", exactly_once(7))))
                .await;
            assert_eq!(
                publisher.next().await,
                Packet::PubRec(Ack::new(id(7), ReasonCode::Success))
            );
            publisher
                .send(Packet::PubRel(Ack::new(id(7), ReasonCode::Success)))
                .await;
            assert_eq!(
                publisher.next().await,
                Packet::PubComp(Ack::new(id(7), ReasonCode::Success))
            );
            for qos in wanted {
                let got = peer.message().await;
                assert_eq!(topic_and_payload(&got), (topic.to_owned(), "x".to_owned()));
                assert_eq!(got.delivery.qos() as u8, qos);
                match got.delivery {
                    Delivery::AtMostOnce => {}
                    Delivery::AtLeastOnce { id, dup } => {
                        assert!(!dup);
                        peer.send(Packet::PubAck(Ack::new(id, ReasonCode::Success)))
                            .await;
                    }
                    Delivery::ExactlyOnce { id, dup } => {
                        assert!(!dup);
                        peer.send(Packet::PubRec(Ack::new(id, ReasonCode::Success)))
                            .await;
                        assert_eq!(
                            peer.next().await,
                            Packet::PubRel(Ack::new(id, ReasonCode::Success))
                        );
                        peer.send(Packet::PubComp(Ack::new(id, ReasonCode::Success)))
                            .await;
                    }
                }
            }
        }
        peer.silent().await;
        publisher.leave().await;
    }
}

#[tokio::test]
async fn a_message_of_another_protocol_comes_with_its_cursor_and_all_it_has() {
    let stage = Stage::open().await;
    let mut peer = Peer::open(&stage, Version::V5).await;
    peer.subscribe(vec![subscription("a/b", Qos::AtLeastOnce)])
        .await;
    let published = stage.publish("a/b", "hello").await;
    let got = peer.message().await;
    assert_eq!(got.delivery, at_least_once(1));
    assert_eq!(
        got.properties.content_type.as_ref().unwrap().as_str(),
        "text/plain"
    );
    let (name, cursor) = &got.properties.user_properties[0];
    assert_eq!(name.as_str(), "hw-cursor");
    assert_eq!(cursor.as_str(), published["cursor"].as_str().unwrap());
}
