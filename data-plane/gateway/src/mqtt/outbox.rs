//! What waits to be written to one client.

use std::{io, mem};

use bytes::{Buf, Bytes, BytesMut};
use highwater_mqtt::{Packet, Version};
use highwater_proto::limits::MQTT_QUEUE_BYTES_MAX;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Packets one after the other. Its owner adds nothing to it while it is full, except what ends the
/// connection.
#[derive(Debug)]
pub struct Outbox {
    bytes: BytesMut,
    /// Something was written that the layer below may still hold.
    is_unflushed: bool,
    version: Version,
    /// The largest packet that the client takes.
    packet_bytes_max: usize,
    wants_remarks: bool,
}

impl Outbox {
    /// An empty queue to a client that takes packets of at most so many bytes, and reason strings or not.
    pub fn new(version: Version, packet_bytes_max: usize, wants_remarks: bool) -> Outbox {
        Outbox {
            bytes: BytesMut::new(),
            is_unflushed: false,
            version,
            packet_bytes_max,
            wants_remarks,
        }
    }

    /// Whether more may be added.
    pub fn has_room(&self) -> bool {
        self.bytes.len() < MQTT_QUEUE_BYTES_MAX
    }

    /// Whether there is something to write or to flush.
    pub fn is_pending(&self) -> bool {
        !self.bytes.is_empty() || self.is_unflushed
    }

    /// Adds a packet. One that the client does not take at all is left out (MQTT-3.1.2-24).
    pub fn push(&mut self, packet: Packet) {
        let packet = self.fit(packet);
        if let Some(packet) = packet {
            // What cannot be said in this version is not said.
            let _ = packet.encode(self.version, &mut self.bytes);
        }
    }

    /// The bytes of a packet that is added later; empty for one that the client does not take.
    pub fn encode(&self, packet: Packet) -> Bytes {
        let mut bytes = BytesMut::new();
        if let Some(packet) = self.fit(packet) {
            let _ = packet.encode(self.version, &mut bytes);
        }
        bytes.freeze()
    }

    fn fit(&self, packet: Packet) -> Option<Packet> {
        let says_why_anyway = matches!(packet, Packet::ConnAck(_) | Packet::Disconnect(_));
        let packet = match self.wants_remarks || says_why_anyway {
            true => packet,
            false => packet.without_remarks(),
        };
        packet.within(self.version, self.packet_bytes_max)
    }

    /// Adds a packet that was encoded before.
    pub fn push_bytes(&mut self, packet: &[u8]) {
        self.bytes.extend_from_slice(packet);
    }

    /// The end of the queue, to encode a packet there, and the most bytes that it may have.
    pub fn end(&mut self) -> (&mut BytesMut, usize) {
        (&mut self.bytes, self.packet_bytes_max)
    }

    /// Throws away what waits: nobody takes it any more.
    pub fn discard(&mut self) {
        self.bytes = BytesMut::new();
        self.is_unflushed = false;
    }

    /// Writes as much as one write takes. Nothing is lost or written twice when it is dropped before it
    /// resolves.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn write_some(&mut self, io: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if !self.bytes.is_empty() {
            let written = io.write(&self.bytes).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.is_unflushed = true;
            self.bytes.advance(written);
        }
        if self.bytes.is_empty() {
            // What was written from is not kept by a client that is sent nothing.
            drop(mem::take(&mut self.bytes));
            io.flush().await?;
            self.is_unflushed = false;
        }
        Ok(())
    }
}
