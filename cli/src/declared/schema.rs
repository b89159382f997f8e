//! The JSON Schema (draft 2020-12) of the file, made of the types that it is read into.

use serde_json::{Value, json};

use super::document::Document;

/// As text.
pub fn text() -> anyhow::Result<String> {
    let mut schema = schemars::schema_for!(Document).to_value();
    without_null(&mut schema);
    schema["$id"] = json!("urn:highwater:apply:1");
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// What may be left out may all the same not be `null`.
fn without_null(schema: &mut Value) {
    let is_null = |schema: &Value| *schema == json!({ "type": "null" });
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [kind] = &types[..] {
                    members["type"] = kind.clone();
                }
            }
            if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
                choices.retain(|choice| !is_null(choice));
                if let [Value::Object(only)] = &choices[..] {
                    let only = only.clone();
                    members.remove("anyOf");
                    members.extend(only);
                }
            }
            members.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The schema is committed, so that it can be linked to and a change of it is seen. Set `UPDATE_EXPECT` to write it.
    #[test]
    fn the_schema_is_what_is_committed() {
        let text = text().unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("apply.schema.json");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == text,
            "the schema has changed: run again with UPDATE_EXPECT=1"
        );
    }

    #[test]
    fn the_schema_is_closed_and_knows_no_null() {
        let schema: Value = serde_json::from_str(&text().unwrap()).unwrap();
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        let definitions = schema["$defs"].as_object().unwrap().values();
        let mut closed = 0;
        for object in definitions.chain([&schema]) {
            if object.get("properties").is_some() {
                assert_eq!(object["additionalProperties"], false, "{object}");
                closed += 1;
            }
        }
        assert_eq!(closed, 7, "the objects were found");
        assert!(!schema.to_string().contains("\"null\""));
    }
}
