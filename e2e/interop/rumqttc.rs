//! rumqttc, 5.0 and 3.1.1, which keeps its half of a session by itself.

use std::time::Duration;

use highwater_e2e::{Cluster, condition::within_deadline, ledger::text};
use rumqttc::{
    Event, EventLoop, Incoming, MqttOptions, QoS,
    v5::{self, mqttbytes::v5::Packet},
};
use tokio::sync::mpsc;

use crate::{cluster, forwarder::Forwarder};

const MESSAGES: usize = 120;

fn host(address: &str) -> (&str, u16) {
    let (host, port) = address.split_once(':').expect("host:port");
    (host, port.parse().expect("a port"))
}

fn options(cluster: &Cluster, address: &str, name: &str) -> v5::MqttOptions {
    let (host, port) = host(address);
    let mut options = v5::MqttOptions::new(name, host, port);
    options
        .set_credentials("rumqttc", cluster.key())
        .set_clean_start(false)
        .set_session_expiry_interval(Some(3_600));
    options
}

/// Polls for ever, and tells what is published to it. What breaks is connected again by the next poll.
fn follow(mut events: v5::EventLoop) -> mpsc::Receiver<(String, String)> {
    let (sender, messages) = mpsc::channel(1_024);
    tokio::spawn(async move {
        loop {
            match events.poll().await {
                Ok(v5::Event::Incoming(Packet::Publish(publish))) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let message = (text(&publish.topic), text(&publish.payload));
                    if sender.send(message).await.is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    messages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rumqttc_5_0_goes_on_with_its_sessions_while_nodes_are_killed() {
    let mut cluster = cluster().await;
    let to_subscriber = Forwarder::to(cluster.address(0)).await;
    let to_publisher = Forwarder::to(cluster.address(1)).await;
    let (subscriber, events) =
        v5::AsyncClient::new(options(&cluster, to_subscriber.address(), "subscriber"), 16);
    subscriber
        .subscribe("rumqttc/1", v5::mqttbytes::QoS::AtLeastOnce)
        .await
        .unwrap();
    let mut messages = follow(events);
    let (publisher, events) =
        v5::AsyncClient::new(options(&cluster, to_publisher.address(), "publisher"), 16);
    let _answers = follow(events);
    // The first one that comes says that the subscription is there; those before it are not missed.
    let mut first = None;
    while first.is_none() {
        publisher
            .publish("rumqttc/1", v5::mqttbytes::QoS::AtLeastOnce, false, "?")
            .await
            .unwrap();
        first = tokio::time::timeout(Duration::from_millis(200), messages.recv())
            .await
            .ok();
    }

    let mut next = 0;
    for number in 0..MESSAGES {
        publisher
            .publish(
                "rumqttc/1",
                v5::mqttbytes::QoS::ExactlyOnce,
                false,
                number.to_string(),
            )
            .await
            .unwrap();
        if number % 40 == 20 {
            let killed = number / 40;
            cluster.kill(killed).await;
            let [left, other] = [(killed + 1) % 3, (killed + 2) % 3];
            to_subscriber.lead_to(cluster.address(left));
            to_publisher.lead_to(cluster.address(other));
            while next < number - 10 {
                next = see(&mut messages, next).await;
            }
            cluster.restart(killed).await;
        }
    }
    while next < MESSAGES {
        next = see(&mut messages, next).await;
    }
    let records = cluster.read_everywhere("rumqttc/1").await;
    let stored = records.iter().map(text).filter(|text| *text != "?");
    let expected: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    assert_eq!(stored.collect::<Vec<_>>(), expected, "QoS 2 is stored once");
}

/// Takes a message: the next one, or one that is repeated.
async fn see(messages: &mut mpsc::Receiver<(String, String)>, next: usize) -> usize {
    let message = within_deadline("a message comes", messages.recv()).await;
    let (_, text) = message.expect("the client goes on");
    match text.parse::<usize>() {
        Ok(number) => {
            assert!(number <= next, "{number} comes before {next}");
            next.max(number + 1)
        }
        Err(_) => next,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rumqttc_3_1_1_publishes_and_subscribes_with_every_qos() {
    let cluster = cluster().await;
    let options = |node: usize, name: &str| {
        let (host, port) = host(cluster.address(node));
        let mut options = MqttOptions::new(name, host, port);
        options.set_credentials("rumqttc", cluster.key());
        options
    };
    let (client, mut events) = ::rumqttc::AsyncClient::new(options(0, "one"), 16);
    client.subscribe("old/#", QoS::ExactlyOnce).await.unwrap();
    until(&mut events, |packet| matches!(packet, Incoming::SubAck(_))).await;
    let (publisher, mut other) = ::rumqttc::AsyncClient::new(options(1, "two"), 16);
    let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for (number, qos) in qos.into_iter().enumerate() {
        let topic = format!("old/{number}");
        publisher.publish(topic, qos, false, "x").await.unwrap();
    }
    tokio::spawn(async move { while other.poll().await.is_ok() {} });
    for _ in qos {
        let packet = until(&mut events, |packet| matches!(packet, Incoming::Publish(_))).await;
        let Incoming::Publish(publish) = packet else {
            unreachable!("it was looked for");
        };
        assert_eq!(publish.topic, format!("old/{}", publish.qos as u8));
    }
}

async fn until(events: &mut EventLoop, is_it: impl Fn(&Incoming) -> bool) -> Incoming {
    let found = async {
        loop {
            if let Event::Incoming(packet) = events.poll().await.expect("it is connected")
                && is_it(&packet)
            {
                return packet;
            }
        }
    };
    within_deadline("a packet comes", found).await
}
