//! Typed ids in JSON and in paths.

use std::{borrow::Cow, fmt::Display, str::FromStr};

use highwater_proto::ids::{
    AdministratorId, IssuerId, KeyId, ProjectId, RevocationId, SigningKeyId, TenantId, TokenId,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

/// An id with its prefix.
pub trait TypedId: Copy + FromStr + Display {
    /// What its text begins with.
    const PREFIX: &'static str;
    /// What it is called in descriptions.
    const NAME: &'static str;
}

macro_rules! typed {
    ($($name:ident),*) => {
        $(impl TypedId for $name {
            const PREFIX: &'static str = $name::PREFIX;
            const NAME: &'static str = stringify!($name);
        })*
    };
}

typed!(
    TenantId,
    ProjectId,
    KeyId,
    IssuerId,
    AdministratorId,
    SigningKeyId,
    RevocationId,
    TokenId
);

/// An id as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id<T>(pub T);

// Names without parameters, as descriptions have them.

/// A tenant's.
pub type TenantRef = Id<TenantId>;
/// A project's.
pub type ProjectRef = Id<ProjectId>;
/// A key's.
pub type KeyRef = Id<KeyId>;
/// An issuer's.
pub type IssuerRef = Id<IssuerId>;
/// A member's.
pub type MemberRef = Id<AdministratorId>;
/// A signing key's.
pub type SigningKeyRef = Id<SigningKeyId>;
/// A revocation's.
pub type RevocationRef = Id<RevocationId>;
/// A token's.
pub type TokenRef = Id<TokenId>;

impl<T: TypedId> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: TypedId> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id<T>, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let id = text
            .parse()
            .map_err(|_| D::Error::custom("not such an id"))?;
        Ok(Id(id))
    }
}

impl<T: TypedId> PartialSchema for Id<T> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(format!("^{}[0-9a-f]{{32}}$", T::PREFIX)))
            .into()
    }
}

impl<T: TypedId> ToSchema for Id<T> {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed(T::NAME)
    }
}
