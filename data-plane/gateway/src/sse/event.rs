//! The events of a stream as text: fields in lines, and an empty line at the end of each event.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use highwater_proto::client::Message;
use prost::Message as _;
use serde::Serialize;
use serde_json::json;

use crate::{deliver::RecordParts, http::problem::Document, json, json::GapBody};

/// Writes a record as an event with a JSON object. JSON has no line breaks of its own.
pub fn put_record(record: &RecordParts<'_>, buf: &mut BytesMut) {
    put_line("id", record.cursor, buf);
    buf.put_slice(b"data: ");
    json::put_record(record, buf);
    buf.put_slice(b"\n\n");
}

/// Writes a record as an event with its payload. Each line of it is a line of data, and the client puts
/// them together again with line feeds. What is not text comes as base64, in an event named `binary`.
pub fn put_payload(record: &RecordParts<'_>, buf: &mut BytesMut) {
    put_line("id", record.cursor, buf);
    let message = Message::decode(record.message.clone()).unwrap_or_default();
    match std::str::from_utf8(&message.payload) {
        Ok(text) => lines(text).for_each(|line| put_line("data", line, buf)),
        Err(_) => {
            put_line("event", "binary", buf);
            put_line("data", &STANDARD.encode(&message.payload), buf);
        }
    }
    buf.put_u8(b'\n');
}

/// The receipt, with where the credential is renewed, and how long to wait before a reconnection.
pub fn subscribed(cursor: &str, refresh: &str, retry_ms: u64) -> Bytes {
    let mut buf = BytesMut::new();
    put_line("retry", &retry_ms.to_string(), &mut buf);
    put_line("id", cursor, &mut buf);
    named(
        "subscribed",
        &json!({ "cursor": cursor, "refresh": refresh }),
        buf,
    )
}

/// Data that was asked for and is gone.
pub fn gap(gap: &GapBody<'_>) -> Bytes {
    named("gap", gap, BytesMut::new())
}

/// The credential is good until then, unless it is renewed there.
pub fn auth_expiring(expires_at_ms: u64, refresh: &str) -> Bytes {
    let warning = json!({ "expires_at_ms": expires_at_ms, "refresh": refresh });
    named("auth-expiring", &warning, BytesMut::new())
}

/// Why the stream ends. A client that reconnects is answered with the same, and a status.
pub fn error(problem: &Document) -> Bytes {
    named("error", problem, BytesMut::new())
}

/// The node is about to stop: clients come back at different times.
pub fn draining(reconnect_after_ms: u64) -> Bytes {
    let mut buf = BytesMut::new();
    put_line("retry", &reconnect_after_ms.to_string(), &mut buf);
    let end = json!({ "reason": "draining", "reconnect_after_ms": reconnect_after_ms });
    named("end", &end, buf)
}

/// A comment, which clients pass over.
pub fn heartbeat() -> Bytes {
    Bytes::from_static(b":\n\n")
}

/// An event with a name, after the lines that are there.
fn named(name: &str, data: &impl Serialize, mut buf: BytesMut) -> Bytes {
    put_line("event", name, &mut buf);
    buf.put_slice(b"data: ");
    json::put(data, &mut buf);
    buf.put_slice(b"\n\n");
    buf.freeze()
}

fn put_line(field: &str, value: &str, buf: &mut BytesMut) {
    for part in [field, ": ", value, "\n"] {
        buf.put_slice(part.as_bytes());
    }
}

/// The lines of a text as an event stream knows them: ended by LF, CR LF or CR.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else {
            rest = None;
            return Some(text);
        };
        let (line, after) = text.split_at(end);
        rest = after.strip_prefix("\r\n").or_else(|| after.get(1..));
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(payload: &[u8]) -> String {
        let message = Message {
            payload: Bytes::copy_from_slice(payload),
            ..Message::default()
        };
        let record = RecordParts {
            message: &message.encode_to_vec().into(),
            topic: "a",
            offset: 1,
            published_at_ms: 2,
            cursor: "c",
        };
        let mut buf = BytesMut::new();
        put_payload(&record, &mut buf);
        String::from_utf8(buf.to_vec()).unwrap()
    }

    #[test]
    fn a_raw_payload_is_cut_into_lines_of_data() {
        for (payload, data) in [
            ("", "data: \n"),
            ("one", "data: one\n"),
            (" one", "data:  one\n"),
            ("one\ntwo", "data: one\ndata: two\n"),
            ("one\r\ntwo\rthree", "data: one\ndata: two\ndata: three\n"),
            ("one\n", "data: one\ndata: \n"),
            ("\n\r\n", "data: \ndata: \ndata: \n"),
            ("data: x\n\nid: y", "data: data: x\ndata: \ndata: id: y\n"),
            ("ä\r€", "data: ä\ndata: €\n"),
        ] {
            assert_eq!(
                event(payload.as_bytes()),
                format!("id: c\n{data}\n"),
                "{payload:?}"
            );
        }
        assert_eq!(event(&[0xff, 0x00]), "id: c\nevent: binary\ndata: /wA=\n\n");
    }
}
