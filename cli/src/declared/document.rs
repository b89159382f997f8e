//! What a file may say. Members that nobody knows are errors, and so is `null`.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// The version of what is said here.
const VERSION: u64 = 1;

/// What a tenant is to be. What is not mentioned is left as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "A Highwater tenant, for `highwater apply`")]
pub struct Document {
    /// Where editors find this schema.
    #[serde(
        rename = "$schema",
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub schema: Option<String>,
    /// The version of this format: 1.
    pub version: Version,
    /// Name or id of the tenant. One that is not there is created, which is for operators. `--tenant` names another.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = 128))]
    pub tenant: Option<String>,
    /// Whether the tenant may be used. For operators.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub state: Option<State>,
    /// All labels of the tenant.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub labels: Option<Named<String>>,
    /// All that limits what the projects of the tenant may use together. For operators.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub quotas: Option<Quotas>,
    /// Who may administer the tenant, by what tokens say in `sub`, or a verified email address.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub members: Option<Named<Role>>,
    /// Projects of the tenant, by their names.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub projects: Option<Named<Project>>,
}

/// The version of this format.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Version(#[schemars(range(min = 1, max = 1))] u64);

/// Whether something may be used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It may.
    Active,
    /// Nothing is let in, and what is open is closed. Data stays.
    Suspended,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read.
    Viewer,
    /// And change what is in projects, keys included.
    Editor,
    /// And the tenant's name and labels, and who its members are.
    Owner,
}

/// An isolated namespace of topics, keys and connections.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Over how many shards its topics are spread. It is set when the project is created, and never changes.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1, max = 64))]
    pub spread: Option<u64>,
    /// Whether it may be used.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub state: Option<State>,
    /// When it is deleted by itself: a time, or `never`.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<Expiry>,
    /// All web pages that may use it, by their origins: `https://app.example.com`, `http://localhost:*`.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 256))]
    pub origins: Option<Vec<String>>,
    /// All its labels.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub labels: Option<Named<String>>,
    /// All that limits what it may use.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub quotas: Option<Quotas>,
    /// All its topic policies, in their order: the first whose filter matches a topic decides.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 256))]
    pub policies: Option<Vec<Policy>>,
    /// API keys, by their names. Their secrets are nowhere in here.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub keys: Option<Named<Key>>,
    /// Who else signs tokens for it, by their names.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub issuers: Option<Named<Issuer>>,
}

/// What may be used, in the whole cluster. What is not named is without limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// Messages that are taken, a second.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1))]
    pub publish_messages_per_second: Option<u64>,
    /// Bytes of payload that are taken, a second.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1))]
    pub publish_bytes_per_second: Option<u64>,
    /// Messages that are delivered, a second.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1))]
    pub delivery_messages_per_second: Option<u64>,
    /// Bytes of payload that are delivered, a second.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1))]
    pub delivery_bytes_per_second: Option<u64>,
    /// Connections that are open at once.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1))]
    pub connections: Option<u64>,
    /// Subscriptions that are open at once.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1))]
    pub subscriptions: Option<u64>,
    /// Topics.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1))]
    pub topics: Option<u64>,
    /// Bytes that are stored.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1))]
    pub stored_bytes: Option<u64>,
    /// Largest payload of one message.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub payload_bytes: Option<u64>,
}

/// How the topics of a filter are kept. What is not named is without limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Which topics: `orders/#`, `devices/+/state`.
    #[schemars(length(min = 1))]
    pub filter: String,
    /// How long records stay.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1))]
    pub retention_ms: Option<u64>,
    /// How many bytes of records stay.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1))]
    pub retention_bytes: Option<u64>,
    /// How many records stay.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1))]
    pub retention_records: Option<u64>,
    /// Keep only the newest record of each key.
    #[serde(default)]
    pub last_value: bool,
    /// Refuse a publish rather than create the topic.
    #[serde(default)]
    pub must_exist: bool,
}

/// An API key, without its secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Whether nothing is let in with it.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub disabled: Option<bool>,
    /// When it opens nothing any more: a time, or `never`.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<Expiry>,
    /// What it allows.
    #[schemars(length(min = 1, max = 64))]
    pub permissions: Vec<Permission>,
}

/// Who else signs tokens for a project. It has either `jwks` or `jwks_url`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// What tokens say in `iss`, letter for letter.
    #[schemars(length(min = 1, max = 1024))]
    pub issuer: String,
    /// One of these is what tokens must say in `aud`.
    #[schemars(length(min = 1, max = 16))]
    pub audiences: Vec<String>,
    /// Where its public keys are: an `https` address.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub jwks_url: Option<String>,
    /// Longest time from `iat` to `exp` of a token.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1, max = 86_400_000))]
    pub token_lifetime_ms_max: Option<u64>,
    /// Tokens allow no more than this. Empty, what they say is what they allow.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 64))]
    pub permissions_max: Option<Vec<Permission>>,
    /// Its public keys, as a JSON Web Key Set (RFC 7517).
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub jwks: Option<Value>,
}

/// Operations that are allowed on the topics of a filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// At least one.
    #[schemars(length(min = 1, max = 3))]
    pub operations: Vec<Operation>,
    /// A topic filter: `orders/#`, `devices/+/state`.
    #[schemars(length(min = 1))]
    pub topics: String,
}

/// What is allowed on topics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Send messages to them.
    Publish,
    /// Read and follow them.
    Subscribe,
    /// Delete them.
    Manage,
}

/// Things by their names, of which none comes twice.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Named<T>(pub BTreeMap<String, T>);

/// When something ends, as the control plane writes it; none is never.
#[derive(Debug, Clone, PartialEq)]
pub struct Expiry(pub Option<String>);

const NEVER: &str = "never";

impl Document {
    /// # Errors
    /// What is wrong, and where.
    pub fn from_toml(text: &str) -> Result<Document, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// # Errors
    /// What is wrong, and where.
    pub fn from_json(text: &str) -> Result<Document, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Whether the file mentions a project.
    pub fn mentions(&self, project: &str) -> bool {
        let projects = self.projects.as_ref();
        projects.is_some_and(|projects| projects.0.contains_key(project))
    }
}

impl Default for Version {
    fn default() -> Version {
        Version(VERSION)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        match u64::deserialize(deserializer)? {
            VERSION => Ok(Version(VERSION)),
            other => Err(D::Error::custom(format!(
                "version {other} of this format is not known here; it is {VERSION}"
            ))),
        }
    }
}

/// What is mentioned is something: `null` could be taken for leaving alone and for taking away.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Named<T>, D::Error> {
        struct Once<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Once<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("things by their names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut named = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if named.contains_key(&name) {
                        return Err(A::Error::custom(format!("`{name}` comes twice")));
                    }
                    named.insert(name, map.next_value()?);
                }
                Ok(Named(named))
            }
        }

        deserializer.deserialize_map(Once(PhantomData))
    }
}

impl Serialize for Expiry {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_deref().unwrap_or(NEVER))
    }
}

impl<'de> Deserialize<'de> for Expiry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Expiry, D::Error> {
        struct Time;

        impl<'de> Visitor<'de> for Time {
            type Value = Expiry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time like 2027-01-31T12:00:00Z (RFC 3339), or `never`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Expiry, E> {
                match text {
                    NEVER => Ok(Expiry(None)),
                    _ => canonical(text)
                        .map(|time| Expiry(Some(time)))
                        .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            /// A time of TOML's own.
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Expiry, A::Error> {
                let time = toml::value::Datetime::deserialize(MapAccessDeserializer::new(map))?;
                self.visit_str(&time.to_string())
            }
        }

        deserializer.deserialize_any(Time)
    }
}

impl JsonSchema for Expiry {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expiry".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A time (RFC 3339), or `never`.",
            "anyOf": [{ "type": "string", "format": "date-time" }, { "const": NEVER }],
        })
    }
}

/// A time as the control plane writes it: in UTC, with milliseconds.
fn canonical(text: &str) -> Option<String> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let time = time.checked_to_offset(UtcOffset::UTC)?;
    Some(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    ))
}

#[cfg(test)]
mod tests;
