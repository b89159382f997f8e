//! What `highwater dev` prints when the cluster is ready: a box for people, one line for scripts.

use std::time::Duration;

use serde_json::json;

use super::layout::Layout;
use crate::output::Output;

/// So many nodes, in words.
pub fn nodes(count: u32) -> String {
    match count {
        1 => "1 node".into(),
        _ => format!("{count} nodes"),
    }
}

/// Prints it.
pub fn print(output: Output, layout: &Layout, pids: &[u32], took: Duration) -> anyhow::Result<()> {
    let identity = &layout.identity;
    let each = || layout.nodes.iter().zip(pids);
    let json = json!({
        "ready_ms": took.as_millis() as u64,
        "tenant": identity.tenant,
        "project": identity.project,
        "key": identity.key,
        "control_plane": format!("http://{}", layout.control_plane.address),
        "operator_key": identity.operator_key,
        "shards": identity.shards,
        "data_dir": layout.folder,
        "servers": layout.nodes.iter().map(|n| format!("http://{}", n.client)).collect::<Vec<_>>(),
        "nodes": each().map(|(node, pid)| json!({
            "id": node.id,
            "http": format!("http://{}", node.client),
            "grpc": format!("http://{}", node.client),
            "peer": node.peer.to_string(),
            "pid": pid,
            "data_dir": node.data_dir,
            "config": node.config,
            "log": node.log,
        })).collect::<Vec<_>>(),
    });
    output.result(&json, || text(layout, pids, took))
}

fn text(layout: &Layout, pids: &[u32], took: Duration) -> String {
    let identity = &layout.identity;
    let count = nodes(identity.nodes);
    let mut lines = vec![
        format!("Highwater · {count} · ready in {:.1} s", took.as_secs_f64()),
        String::new(),
    ];
    for (node, pid) in layout.nodes.iter().zip(pids) {
        lines.push(format!(
            "node {}   http://{}   HTTP and gRPC   pid {pid}",
            node.id, node.client
        ));
    }
    let server = format!("http://{}", layout.nodes[0].client);
    let control_plane = format!("http://{}", layout.control_plane.address);
    lines.extend([
        format!("control  {control_plane}   console in a browser; REST, {control_plane}/docs"),
        String::new(),
        format!("tenant   {}", identity.tenant),
        format!("project  {}", identity.project),
        format!("key      {}", identity.key),
        format!("operator {}", identity.operator_key),
        format!("data     {}", layout.folder.display()),
        format!("health   {server}/readyz?verbose"),
        format!("metrics  {server}/metrics"),
    ]);
    format!("{}\n{}", boxed(&lines), paste(layout, &server))
}

/// Lines to paste, outside the box so that a copy holds no border.
fn paste(layout: &Layout, server: &str) -> String {
    let this = std::env::args()
        .next()
        .unwrap_or_else(|| "highwater".into());
    let servers: Vec<_> = layout
        .nodes
        .iter()
        .map(|n| format!("http://{}", n.client))
        .collect();
    [
        String::from("In another terminal:\n"),
        format!("  export HIGHWATER_KEY={}", layout.identity.key),
        format!("  export HIGHWATER_SERVER={}", servers.join(",")),
        format!("  {this} sub 'orders/#' --from earliest &"),
        format!("  {this} pub orders/eu/42 '{{\"total\": 7}}'"),
        format!(
            "  curl -H \"Authorization: Bearer $HIGHWATER_KEY\" -d hello {server}/v1/messages/orders/eu/43"
        ),
        format!(
            "  curl -H \"Authorization: Bearer $HIGHWATER_KEY\" '{server}/v1/messages/orders/eu/43?from=earliest'"
        ),
        format!("  {this} bench"),
        format!("  export HIGHWATER_ADMIN_KEY={}", layout.identity.operator_key),
        format!("  export HIGHWATER_CONTROL_PLANE=http://{}", layout.control_plane.address),
        format!(
            "  export HIGHWATER_TENANT={} HIGHWATER_PROJECT={}",
            layout.identity.tenant, layout.identity.project
        ),
        format!("  {this} key list"),
        String::from(
            "  curl -H \"Authorization: Bearer $HIGHWATER_ADMIN_KEY\" $HIGHWATER_CONTROL_PLANE/v1/tenants",
        ),
        String::from("\nCtrl-C stops everything."),
    ]
    .join("\n")
}

fn boxed(lines: &[String]) -> String {
    let width = lines
        .iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    let border = "─".repeat(width + 2);
    let mut text = format!("╭{border}╮\n");
    for line in lines {
        let pad = " ".repeat(width - line.chars().count());
        text += &format!("│ {line}{pad} │\n");
    }
    text + &format!("╰{border}╯\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_box_is_as_wide() {
        let text = boxed(&["a".into(), "längér · line".into(), String::new()]);
        let widths: Vec<_> = text.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths, [17; 5]);
    }
}
