//! Usage as CSV (RFC 4180): a line for each hour or day, all protocols first and then each.

use super::shape::{Traffic, Usage};

const PROTOCOLS: [&str; 5] = ["http", "grpc", "sse", "websocket", "mqtt"];
const TRAFFIC: [&str; 5] = [
    "messages_in",
    "bytes_in",
    "messages_out",
    "bytes_out",
    "connection_minutes",
];

/// The table, with a first line of names.
pub fn write(usage: &Usage) -> String {
    let mut names: Vec<String> = vec!["start".into()];
    names.extend(TRAFFIC.map(str::to_owned));
    names.extend(["peak_connections".into(), "stored_bytes".into()]);
    for protocol in PROTOCOLS {
        names.extend(TRAFFIC.map(|name| format!("{protocol}_{name}")));
    }
    let mut lines = vec![names.join(",")];
    for item in &usage.items {
        let start = serde_json::to_value(item.start).unwrap_or_default();
        let mut cells = vec![start.as_str().unwrap_or_default().to_owned()];
        cells.extend(traffic(&item.total));
        cells.extend([
            item.peak_connections.to_string(),
            item.stored_bytes.to_string(),
        ]);
        for protocol in PROTOCOLS {
            let used = item.protocols.get(protocol).copied().unwrap_or_default();
            cells.extend(traffic(&used));
        }
        lines.push(cells.join(","));
    }
    lines.push(String::new());
    lines.join("\r\n")
}

fn traffic(traffic: &Traffic) -> [String; 5] {
    [
        traffic.messages_in.to_string(),
        traffic.bytes_in.to_string(),
        traffic.messages_out.to_string(),
        traffic.bytes_out.to_string(),
        traffic.connection_minutes().to_string(),
    ]
}
