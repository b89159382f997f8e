//! Ids in paths. One that is none names nothing, so the answer is that of a resource that does not exist.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use crate::{
    admin::Caller,
    api::Api,
    refusal::{Reason, Refusal},
    shapes::{IssuerRef, KeyRef, MemberRef, ProjectRef, RevocationRef, SigningKeyRef, TenantRef},
};

/// What the path names.
pub struct InPath<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Api>> for InPath<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<InPath<T>, Refusal> {
        // Who is not known learns nothing from a path.
        Caller::of(parts, api)?;
        let path = Path::<T>::from_request_parts(parts, api).await;
        path.map(|Path(ids)| InPath(ids))
            .map_err(|_| Reason::NotFound.into())
    }
}

/// A tenant.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct TenantPath {
    /// Id of the tenant.
    pub tenant: TenantRef,
}

/// A project.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ProjectPath {
    /// Id of the tenant.
    pub tenant: TenantRef,
    /// Id of the project.
    pub project: ProjectRef,
}

/// An API key.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct KeyPath {
    /// Id of the tenant.
    pub tenant: TenantRef,
    /// Id of the project.
    pub project: ProjectRef,
    /// Id of the key.
    pub key: KeyRef,
}

/// An issuer.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct IssuerPath {
    /// Id of the tenant.
    pub tenant: TenantRef,
    /// Id of the project.
    pub project: ProjectRef,
    /// Id of the issuer.
    pub issuer: IssuerRef,
}

/// A member.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct MemberPath {
    /// Id of the tenant.
    pub tenant: TenantRef,
    /// Id of the member.
    pub member: MemberRef,
}

/// A revocation.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RevocationPath {
    /// Id of the tenant.
    pub tenant: TenantRef,
    /// Id of the project.
    pub project: ProjectRef,
    /// Id of the revocation.
    pub revocation: RevocationRef,
}

/// A signing key.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SigningKeyPath {
    /// Id of the signing key.
    pub signing_key: SigningKeyRef,
}
