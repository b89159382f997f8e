//! JSON documents as people read them: lists as tables, one document line by line.
//!
//! On a terminal, columns are aligned and have headings; elsewhere they are divided by tabs, for `cut` and `while read`.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::output::Output;

/// A heading, and the member that is in its column; `a/b` is a member of a member.
pub type Column = (&'static str, &'static str);

/// Prints a list: with JSON, a line for each item.
pub fn list(output: Output, columns: &[Column], items: &[Value]) -> anyhow::Result<()> {
    if output.is_json() {
        return items
            .iter()
            .try_for_each(|item| output.result(item, String::new));
    }
    let headings = columns.iter().map(|(heading, _)| *heading).collect();
    let rows = items.iter().map(|item| row(columns, item));
    print(output, Some(headings), rows.collect())
}

/// One item of a list that goes on and on.
pub fn line(columns: &[Column], item: &Value) -> String {
    row(columns, item).join("\t")
}

fn row(columns: &[Column], item: &Value) -> Vec<String> {
    let member = |(_, path): &Column| item.pointer(&format!("/{path}")).map(cell);
    let cells = columns.iter().map(member);
    cells.map(Option::unwrap_or_default).collect()
}

/// Prints one document.
pub fn show(output: Output, document: &Value) -> anyhow::Result<()> {
    if output.is_json() {
        return output.result(document, String::new);
    }
    let mut rows = Vec::new();
    lines("", document, &mut rows);
    print(output, None, rows)
}

fn print(
    output: Output,
    headings: Option<Vec<&str>>,
    rows: Vec<Vec<String>>,
) -> anyhow::Result<()> {
    if rows.is_empty() {
        if output.is_terminal() {
            eprintln!("none");
        }
        return Ok(());
    }
    if !output.is_terminal() {
        let lines: Vec<String> = rows.iter().map(|row| row.join("\t") + "\n").collect();
        return output.bytes(lines.concat().as_bytes());
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    // Lines that are too long are the terminal's to break, so that what is copied is whole.
    table.set_content_arrangement(ContentArrangement::Disabled);
    if let Some(headings) = headings {
        table.set_header(headings);
    }
    table.add_rows(rows);
    // Without the space that would be between the first column and a border.
    let lines = table
        .lines()
        .map(|line| format!("{}\n", line[1..].trim_end()));
    output.bytes(lines.collect::<String>().as_bytes())
}

/// One row a member, with members of members under their whole names.
fn lines(name: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(members) if permission(value).is_none() => {
            for (member, value) in members {
                let name = match name {
                    "" => member.clone(),
                    _ => format!("{name}.{member}"),
                };
                lines(&plain(&name), value, rows);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for item in items {
                rows.push(vec![name.to_owned(), cell(item)]);
            }
        }
        _ => rows.push(vec![name.to_owned(), cell(value)]),
    }
}

/// A value in one line.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => plain(text),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(members) => permission(value).unwrap_or_else(|| {
            let member =
                |(name, value): (&String, &Value)| format!("{}={}", plain(name), cell(value));
            members.iter().map(member).collect::<Vec<_>>().join(" ")
        }),
    }
}

/// A permission as `--allow` takes it.
fn permission(value: &Value) -> Option<String> {
    let operations = value["operations"].as_array()?;
    let operations: Option<Vec<&str>> = operations.iter().map(Value::as_str).collect();
    let topics = plain(value["topics"].as_str()?);
    Some(format!("{}:{topics}", operations?.join(",")))
}

/// Text that does nothing to a terminal but stand there.
pub fn plain(text: &str) -> String {
    let shown = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_shown_line_by_line() {
        let mut rows = Vec::new();
        let document = json!({
            "name": "a\u{1b}[2J",
            "quotas": {"connections": 5},
            "permissions": [
                {"operations": ["publish", "subscribe"], "topics": "a/#"},
                {"operations": ["manage"], "topics": "b"},
            ],
            "origins": ["http://a", "http://b"],
            "disabled": false,
        });
        lines("", &document, &mut rows);
        let rows: Vec<String> = rows.iter().map(|row| row.join(" ")).collect();
        for expected in [
            "name a\\u{1b}[2J",
            "quotas.connections 5",
            "permissions publish,subscribe:a/#",
            "permissions manage:b",
            "origins http://a, http://b",
            "disabled no",
        ] {
            assert!(
                rows.iter().any(|row| row == expected),
                "{expected}: {rows:?}"
            );
        }
        assert_eq!(rows.len(), 6);
    }
}
