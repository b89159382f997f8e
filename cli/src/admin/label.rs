//! Labels as they are typed.

use serde_json::{Map, Value};

/// What is to be written beside a resource.
#[derive(Debug, clap::Args)]
pub struct Labels {
    /// A label as key=value; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse)]
    set: Vec<(String, String)>,
}

/// What is to change of it.
#[derive(Debug, clap::Args)]
pub struct LabelChanges {
    #[command(flatten)]
    labels: Labels,
    /// A label to take away; may be repeated
    #[arg(long, value_name = "KEY")]
    remove_label: Vec<String>,
}

fn parse(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is not key=value"))
}

impl Labels {
    /// As a document.
    pub fn document(&self) -> Option<Value> {
        let labels: Map<String, Value> = self
            .set
            .iter()
            .map(|(key, value)| (key.clone(), value.as_str().into()))
            .collect();
        (!labels.is_empty()).then(|| labels.into())
    }
}

impl LabelChanges {
    /// As a patch.
    pub fn patch(&self) -> Option<Value> {
        let mut patch = match self.labels.document() {
            Some(Value::Object(labels)) => labels,
            _ => Map::new(),
        };
        for key in &self.remove_label {
            patch.insert(key.clone(), Value::Null);
        }
        (!patch.is_empty()).then(|| patch.into())
    }
}
