//! The server's gRPC codec: prost's, with a limit on what a request unfolds to, and small buffers.
//!
//! An empty message takes two bytes on the wire and two hundred in memory, so a limit on the bytes of a
//! request is none on the memory it takes. The fields of a request are counted before it is decoded.
//!
//! A call has a buffer in each direction for as long as it lasts, and most streams are silent most of the time: the
//! buffers begin with no more than a short message takes, and grow with what is said.

use std::marker::PhantomData;

use bytes::{Buf, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::{
    client,
    limits::{GRPC_BUFFER_BYTES, GRPC_CHUNK_BYTES_MAX, REQUEST_FIELDS_MAX},
};

/// Where messages lie in a message: those fields, by number, are looked into.
#[derive(Debug)]
pub struct Shape(&'static [(u32, Shape)]);

/// A request whose fields can be counted.
pub trait Request: Message + Default {
    /// Where its messages lie.
    const SHAPE: Shape;
}

const FLAT: Shape = Shape(&[]);
const PUBLISH: Shape = Shape(&[(2, FLAT)]);

impl Request for client::PublishRequest {
    const SHAPE: Shape = PUBLISH;
}

impl Request for client::PublishStreamRequest {
    const SHAPE: Shape = Shape(&[(1, PUBLISH)]);
}

impl Request for client::SubscribeRequest {
    const SHAPE: Shape = Shape(&[(1, FLAT)]);
}

impl Request for client::SocketRequest {
    const SHAPE: Shape = Shape(&[(2, FLAT), (3, FLAT), (5, PUBLISH), (6, FLAT)]);
}

impl Request for client::ReadRequest {
    const SHAPE: Shape = FLAT;
}

impl Request for client::GetTopicRequest {
    const SHAPE: Shape = FLAT;
}

/// Encodes any message, decodes requests.
#[derive(Debug)]
pub struct RequestCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for RequestCodec<T, U> {
    fn default() -> RequestCodec<T, U> {
        RequestCodec(PhantomData)
    }
}

impl<T, U> Codec for RequestCodec<T, U>
where
    T: Message + Send + 'static,
    U: Request + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ResponseEncoder<T>;
    type Decoder = RequestDecoder<U>;

    fn encoder(&mut self) -> ResponseEncoder<T> {
        ResponseEncoder(PhantomData)
    }

    fn decoder(&mut self) -> RequestDecoder<U> {
        RequestDecoder(PhantomData)
    }
}

/// Encodes a response where there is room for all of it.
#[derive(Debug)]
pub struct ResponseEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for ResponseEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, response: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // Not step by step, which would copy what is there already each time.
        buffer.reserve(response.encoded_len());
        response.encode_raw(buffer);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

fn buffers() -> BufferSettings {
    BufferSettings::new(GRPC_BUFFER_BYTES, GRPC_CHUNK_BYTES_MAX)
}

/// Decodes a request that has not too many fields.
#[derive(Debug)]
pub struct RequestDecoder<U>(PhantomData<U>);

impl<U: Request> Decoder for RequestDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // The text of the decoder's error is for whoever looks into the code.
        let invalid = |_: DecodeError| Status::invalid_argument("the request cannot be decoded");
        let bytes: Bytes = buffer.copy_to_bytes(buffer.remaining());
        let mut left = REQUEST_FIELDS_MAX;
        if !count(&bytes, &U::SHAPE, &mut left).map_err(invalid)? {
            let message = format!("a request has at most {REQUEST_FIELDS_MAX} fields");
            // As tonic says it of too many bytes. The gateway finds the place of both in the error table.
            return Err(Status::out_of_range(message));
        }
        U::decode(bytes).map(Some).map_err(invalid)
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

/// Decodes a request that came in another way than over gRPC; nothing when it has too many fields.
///
/// # Errors
/// When the bytes are no such request.
pub fn decode<U: Request>(bytes: Bytes) -> Result<Option<U>, DecodeError> {
    let mut left = REQUEST_FIELDS_MAX;
    match count(&bytes, &U::SHAPE, &mut left)? {
        true => U::decode(bytes).map(Some),
        false => Ok(None),
    }
}

/// Takes the fields off what is left. Returns whether it was enough.
fn count(mut bytes: &[u8], shape: &Shape, left: &mut usize) -> Result<bool, DecodeError> {
    while !bytes.is_empty() {
        let Some(fewer) = left.checked_sub(1) else {
            return Ok(false);
        };
        *left = fewer;
        let (tag, wire_type) = decode_key(&mut bytes)?;
        let inner = shape.0.iter().find(|(field, _)| *field == tag);
        match inner.filter(|_| wire_type == WireType::LengthDelimited) {
            Some((_, inner)) => {
                let len = decode_varint(&mut bytes)? as usize;
                // A length beyond the end is for the decoder to refuse.
                let (nested, rest) = bytes.split_at(len.min(bytes.len()));
                if !count(nested, inner, left)? {
                    return Ok(false);
                }
                bytes = rest;
            }
            None => skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?,
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Header, Message as ClientMessage, PublishRequest, PublishStreamRequest};

    fn fits(request: &impl Request) -> bool {
        fn shape_of<T: Request>(_: &T) -> Shape {
            T::SHAPE
        }
        let mut left = REQUEST_FIELDS_MAX;
        count(&request.encode_to_vec(), &shape_of(request), &mut left).unwrap()
    }

    fn publish(headers: usize) -> PublishRequest {
        PublishRequest {
            message: Some(ClientMessage {
                // What looks like fields in a payload is none.
                payload: [0x0a, 0x00].repeat(1_000).into(),
                headers: vec![Header::default(); headers],
                ..ClientMessage::default()
            }),
            ..PublishRequest::default()
        }
    }

    #[test]
    fn requests_that_unfold_are_told_by_their_fields_at_any_depth() {
        let of = |publishes| PublishStreamRequest { publishes };
        assert!(fits(&of(vec![publish(3); 1_000])));
        assert!(!fits(&of(vec![
            PublishRequest::default();
            REQUEST_FIELDS_MAX + 1
        ])));
        assert!(!fits(&of(vec![publish(REQUEST_FIELDS_MAX)])));
        assert!(!fits(&publish(REQUEST_FIELDS_MAX)));
        assert!(fits(&publish(64)));
    }

    #[test]
    fn broken_bytes_are_an_error_or_left_to_the_decoder() {
        let whole = PublishStreamRequest {
            publishes: vec![publish(2); 3],
        }
        .encode_to_vec();
        for cut in 0..whole.len() {
            let mut left = REQUEST_FIELDS_MAX;
            let counted = count(&whole[..cut], &PublishStreamRequest::SHAPE, &mut left);
            assert!(!matches!(counted, Ok(false)));
        }
    }
}
