//! Permissions as they are typed: `publish,subscribe:orders/#`.

use serde_json::{Value, json};

const OPERATIONS: &[&str] = &["publish", "subscribe", "manage"];

/// What is allowed.
#[derive(Debug, clap::Args)]
pub struct Allowed {
    /// What it allows, as operations:topics, such as publish,subscribe:orders/#; may be repeated. Operations are
    /// publish, subscribe and manage, or all of them with `all`
    #[arg(long = "allow", value_name = "PERMISSION", value_parser = parse)]
    allow: Vec<Value>,
}

impl Allowed {
    /// As a document, when any is given.
    pub fn document(&self) -> Option<Value> {
        (!self.allow.is_empty()).then(|| self.allow.clone().into())
    }
}

fn parse(text: &str) -> Result<Value, String> {
    let wrong = || format!("`{text}` is not a permission like publish,subscribe:orders/#");
    let (operations, topics) = text.split_once(':').ok_or_else(wrong)?;
    let operations: Vec<&str> = match operations {
        "all" => OPERATIONS.to_vec(),
        _ => operations.split(',').collect(),
    };
    match !topics.is_empty() && operations.iter().all(|o| OPERATIONS.contains(o)) {
        true => Ok(json!({ "operations": operations, "topics": topics })),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_is_typed_as_it_is_shown() {
        for text in ["publish:a", "publish,subscribe:orders/#", "manage:urn:x"] {
            assert_eq!(crate::text::cell(&parse(text).unwrap()), text);
        }
        assert_eq!(parse("all:#").unwrap()["operations"], json!(OPERATIONS));
        for text in ["", "publish", "a:b", "publish:", ":a", "publish,:a"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
