//! Changes of a resource as a JSON Merge Patch (RFC 7396): what is named changes, `null` takes away, the rest stays.

use std::{borrow::Cow, marker::PhantomData};

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{SchemaType, Type},
    },
};

use crate::refusal::{Result, invalid};

/// What of a `T` is to change.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch<T> {
    members: Map<String, Value>,
    of: PhantomData<fn(T)>,
}

impl<T: Serialize + DeserializeOwned> Patch<T> {
    /// The settings as they are to be, when they are `current` now.
    ///
    /// # Errors
    /// When the outcome is no `T`.
    pub fn apply(&self, current: &T) -> Result<T> {
        let mut value = serde_json::to_value(current).map_err(|e| invalid(e.to_string()))?;
        merge(&mut value, &Value::Object(self.members.clone()));
        serde_json::from_value(value).map_err(|e| invalid(e.to_string()))
    }
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.remove(name)),
            value => merge(target.entry(name).or_insert(Value::Null), value),
        }
    }
}

impl<'de, T> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Patch<T>, D::Error> {
        Ok(Patch {
            members: Map::deserialize(deserializer)?,
            of: PhantomData,
        })
    }
}

/// The schema of the settings, in which nothing is required.
impl<T: ToSchema> PartialSchema for Patch<T> {
    fn schema() -> RefOr<Schema> {
        let mut schema = T::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.required.clear();
            object.description = Some(format!(
                "What is to change (RFC 7396). {}",
                object.description.take().unwrap_or_default()
            ));
            for property in object.properties.values_mut() {
                if let RefOr::T(Schema::Object(property)) = property {
                    property.default = None;
                    if let SchemaType::Type(kind) = property.schema_type.clone() {
                        property.schema_type = SchemaType::from_iter([kind, Type::Null]);
                    }
                }
            }
        }
        schema
    }
}

impl<T: ToSchema> ToSchema for Patch<T> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("{}Patch", T::name()))
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_examples_of_the_specification_hold() {
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [1]}),
                json!({"a": [2, null]}),
                json!({"a": [2, null]}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, expected, "{target} {patch}");
        }
    }
}
