//! How a record is printed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use highwater_proto::client::{Gap, Record};
use serde_json::{Value, json};

use crate::output::Output;

/// What is printed of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct Style {
    /// Print payloads only, one a line
    #[arg(long, conflicts_with = "output")]
    pub raw: bool,
}

impl Style {
    /// Prints one record.
    pub fn print(self, output: Output, record: &Record) -> anyhow::Result<()> {
        if self.raw {
            let mut line = record.payload.to_vec();
            line.push(b'\n');
            return output.bytes(&line);
        }
        output.result(&to_json(record), || {
            let payload = String::from_utf8_lossy(&record.payload);
            format!("{}\t{}\t{payload}", record.topic, record.offset)
        })
    }
}

/// The record in the service's own JSON.
fn to_json(record: &Record) -> Value {
    let mut json = json!({
        "topic": record.topic,
        "offset": record.offset,
        "cursor": record.cursor,
        "published_at_ms": record.published_at_ms,
    });
    let mut put = |name: &str, value: Value| json[name] = value;
    if !record.content_type.is_empty() {
        put("content_type", record.content_type.as_str().into());
    }
    if !record.headers.is_empty() {
        let pairs = record.headers.iter().map(|h| json!([h.name, h.value]));
        put("headers", pairs.collect());
    }
    if !record.key.is_empty() {
        put("key", record.key.as_str().into());
    }
    if record.ttl_ms > 0 {
        put("ttl_ms", record.ttl_ms.into());
    }
    if !record.traceparent.is_empty() {
        put("traceparent", record.traceparent.as_str().into());
    }
    if record.retain {
        put("retain", true.into());
    }
    if !record.reply_to.is_empty() {
        put("reply_to", record.reply_to.as_str().into());
    }
    if !record.correlation.is_empty() {
        let encoded = STANDARD.encode(&record.correlation);
        put("correlation_base64", encoded.into());
    }
    if record.is_text {
        put("is_text", true.into());
    }
    match std::str::from_utf8(&record.payload) {
        Ok(text) if record.is_text || is_text(&record.content_type) => put("data", text.into()),
        _ => put("data_base64", STANDARD.encode(&record.payload).into()),
    }
    json
}

/// Whether the service shows payloads of this type as text.
fn is_text(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence.starts_with("text/") || essence == "application/json" || essence.ends_with("+json")
}

/// Says that data is gone: in the results of a script, to a person otherwise.
pub fn print_gap(output: Output, gap: &Gap) -> anyhow::Result<()> {
    eprintln!(
        "gap ({}): asked for {}, the first available is {}",
        gap.reason, gap.requested, gap.first_available
    );
    match output.is_json() {
        true => output.result(
            &json!({ "gap": {
                "topic": gap.topic,
                "requested": gap.requested,
                "first_available": gap.first_available,
                "reason": gap.reason,
            }}),
            String::new,
        ),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_that_was_given_is_printed() {
        let record = Record {
            retain: true,
            reply_to: "answers".into(),
            correlation: vec![0xff].into(),
            is_text: true,
            payload: "text".into(),
            ..Default::default()
        };
        let json = to_json(&record);
        for (name, value) in [
            ("retain", json!(true)),
            ("reply_to", json!("answers")),
            ("correlation_base64", json!("/w==")),
            ("is_text", json!(true)),
            ("data", json!("text")),
        ] {
            assert_eq!(json[name], value);
            assert_eq!(to_json(&Record::default()).get(name), None);
        }
    }

    #[test]
    fn a_payload_is_text_when_its_type_and_its_bytes_say_so() {
        let record = |content_type: &str, payload: &'static [u8]| Record {
            content_type: content_type.into(),
            payload: payload.into(),
            ..Default::default()
        };
        let json = to_json(&record("application/json; charset=utf-8", b"{}"));
        assert_eq!(
            (json["data"].as_str(), json["data_base64"].as_str()),
            (Some("{}"), None)
        );
        for (content_type, payload) in [("", &b"{}"[..]), ("text/plain", b"\xff")] {
            let json = to_json(&record(content_type, payload));
            assert!(json["data"].is_null() && json["data_base64"].is_string());
        }
    }
}
