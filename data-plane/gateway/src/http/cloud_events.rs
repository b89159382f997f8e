//! CloudEvents 1.0 over HTTP, in both modes, as the headers `ce-…` of a message.
//!
//! Binary mode brings the attributes as `ce-` headers and the data as the body (HTTP binding, section
//! 3.1); structured mode brings both as one JSON document (section 3.2). Either way the message holds
//! the data as its payload, `datacontenttype` as its content type, and every other attribute as a header
//! of the same name as in binary mode, so that a reader sees no difference.

use axum::http::HeaderMap;
use highwater_broker::Result;
use highwater_proto::client::{Header, Message};
use serde_json::{Map, Value, value::RawValue};

use super::invalid;
use crate::json::{from_base64, is_text};

const REQUIRED: [&str; 4] = ["ce-id", "ce-source", "ce-specversion", "ce-type"];

/// Puts the attributes of an event into the message, if the request is one.
///
/// # Errors
/// `invalid_request` when the event lacks a required attribute or is of another version.
pub fn understand(headers: &HeaderMap, message: &mut Message) -> Result<()> {
    let essence = message.content_type.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/cloudevents+json") {
        read_structured(message)?;
    } else if headers.contains_key("ce-specversion") {
        read_binary(headers, message)?;
    } else {
        return Ok(());
    }
    for name in REQUIRED {
        let given = message.headers.iter().find(|h| h.name == name);
        match given.map(|h| h.value.as_str()) {
            None | Some("") => return Err(invalid(format!("the event has no attribute `{name}`"))),
            Some(version) if name == "ce-specversion" && version != "1.0" => {
                return Err(invalid("only CloudEvents 1.0 are understood"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn read_binary(headers: &HeaderMap, message: &mut Message) -> Result<()> {
    for (name, value) in headers {
        if !name.as_str().starts_with("ce-") {
            continue;
        }
        let not_text = || invalid(format!("the attribute `{name}` is not text"));
        let value = percent_decode(value.as_bytes()).ok_or_else(not_text)?;
        message.headers.push(Header {
            name: name.to_string(),
            value,
        });
    }
    Ok(())
}

/// Undoes the encoding of header values (HTTP binding, section 3.1.3.2). A `%` that encodes nothing
/// stands for itself.
fn percent_decode(value: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&first, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                decoded.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

fn read_structured(message: &mut Message) -> Result<()> {
    let malformed = |_| invalid("the event is not a JSON object");
    let fields: Map<String, Value> = serde_json::from_slice(&message.payload).map_err(malformed)?;
    // Read again for `data`, whose text is kept as it came.
    let data: RawData<'_> = serde_json::from_slice(&message.payload).map_err(malformed)?;
    let mut content_type = None;
    let mut headers = Vec::with_capacity(fields.len());
    for (name, value) in &fields {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Null => continue,
            _ if name == "data" => continue,
            _ => {
                return Err(invalid(
                    "attributes of an event are strings, numbers or booleans",
                ));
            }
        };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        match name.as_str() {
            "data" | "data_base64" => {}
            "datacontenttype" => content_type = Some(text),
            name if !name.is_empty() && name.bytes().all(plain) => {
                headers.push(Header {
                    name: format!("ce-{name}"),
                    value: text,
                });
            }
            _ => {
                return Err(invalid(
                    "names of attributes are lower-case letters and digits",
                ));
            }
        }
    }
    let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
    let payload = match (data.data, data.data_base64) {
        (Some(_), Some(_)) => {
            return Err(invalid("an event has `data` or `data_base64`, not both"));
        }
        (None, Some(encoded)) => from_base64("data_base64", &encoded)?,
        (Some(raw), None) => match fields.get("data") {
            // A string is the data itself, unless the data is JSON (JSON format, section 3.1.1).
            Some(Value::String(text)) if !is_json(&content_type) => text.clone().into_bytes(),
            _ => raw.get().as_bytes().to_vec(),
        },
        (None, None) => Vec::new(),
    };
    message.content_type = content_type;
    message.payload = payload.into();
    message.headers.append(&mut headers);
    Ok(())
}

#[derive(serde::Deserialize)]
struct RawData<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

fn is_json(content_type: &str) -> bool {
    let is_plain_text = content_type
        .trim_start()
        .to_ascii_lowercase()
        .starts_with("text/");
    is_text(content_type) && !is_plain_text
}
