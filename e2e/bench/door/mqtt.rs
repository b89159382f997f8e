//! A subscriber of MQTT with QoS 0, in the version that all servers know.

use anyhow::Result;
use bytes::BytesMut;
use highwater_e2e::mqtt;
use highwater_mqtt::{
    Packet, PacketId, Qos, Text, Version,
    packet::{Subscribe, subscribe::Subscription},
    topic::Filter,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{expect, send};

const VERSION: Version = Version::V3_1_1;

pub async fn subscribe(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    key: &str,
    topic: &str,
) -> Result<()> {
    let connect = mqtt::connect(VERSION, "", key);
    send(socket, &encode(connect.into())?).await?;
    // CONNACK, accepted.
    expect(socket, &[0x20, 2, 0, 0]).await?;
    let filter = Filter::try_from(Text::try_from(topic)?).expect("a topic is a filter");
    let subscription = Subscription::new(filter, Qos::AtMostOnce);
    let id = PacketId::new(1).expect("not 0");
    let subscribe = Packet::Subscribe(Subscribe::new(id, vec![subscription]));
    send(socket, &encode(subscribe)?).await?;
    // SUBACK, granted.
    expect(socket, &[0x90, 3, 0, 1, 0]).await
}

fn encode(packet: Packet) -> Result<BytesMut> {
    let mut bytes = BytesMut::new();
    packet.encode(VERSION, &mut bytes)?;
    Ok(bytes)
}
