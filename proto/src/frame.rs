//! A protobuf message that is already encoded: bytes shared by every subscriber they go to.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType},
};

/// The encoding of one response, in place of the message it encodes.
///
/// It can only be sent. Decoding is what clients do, with the messages of [`crate::client`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    segments: Vec<Bytes>,
}

impl Frame {
    /// A response made of encoded pieces; protobuf lets fields be concatenated.
    pub fn new(segments: Vec<Bytes>) -> Frame {
        Frame { segments }
    }

    /// Encodes a message on its own.
    pub fn encode(message: &impl Message) -> Frame {
        Frame::new(vec![message.encode_to_vec().into()])
    }

    /// The encoded pieces, in order.
    pub fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    /// The whole encoding in one piece.
    pub fn to_bytes(&self) -> Bytes {
        match self.segments.as_slice() {
            [one] => one.clone(),
            many => {
                let mut whole = BytesMut::with_capacity(self.encoded_len());
                many.iter().for_each(|segment| whole.put_slice(segment));
                whole.freeze()
            }
        }
    }
}

impl Message for Frame {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.segments
            .iter()
            .for_each(|segment| buf.put_slice(segment));
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        // Never reached by the server, which only sends frames.
        prost::encoding::skip_field(wire_type, tag, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        self.segments.iter().map(Bytes::len).sum()
    }

    fn clear(&mut self) {
        self.segments.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Record, SubscribeResponse};

    #[test]
    fn frames_of_concatenated_records_decode_as_one_response() {
        let record = |offset| Record {
            offset,
            payload: Bytes::from_static(b"x"),
            ..Record::default()
        };
        let one = |offset| {
            SubscribeResponse {
                records: vec![record(offset)],
                ..Default::default()
            }
            .encode_to_vec()
            .into()
        };
        let frame = Frame::new(vec![one(7), one(8)]);
        let decoded = SubscribeResponse::decode(frame.encode_to_vec().as_slice()).unwrap();
        assert_eq!(decoded.records, vec![record(7), record(8)]);
        assert_eq!(frame.to_bytes().len(), frame.encoded_len());
    }
}
