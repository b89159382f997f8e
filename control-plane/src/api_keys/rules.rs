//! How API keys come, change and go. Their secrets are drawn before, and are in no document.

use std::sync::Arc;

use highwater_credentials::SecretHash;
use highwater_proto::{
    control::{self, document::Resource},
    ids::{KeyId, ProjectId, TenantId},
    limits::{KEY_OVERLAP_MS_MAX, PROJECT_KEYS_MAX, TTL_MS_MAX},
};
use serde_json::json;

use super::shape::{ApiKey, ApiKeyPatch, ApiKeySettings, ApiKeyWithSecret, NewApiKey, Rotation};
use crate::{
    catalogue::Stored,
    http::IfMatch,
    projects,
    refusal::{Reason, Result, invalid},
    shapes::expiry_ms,
    write::{Answer, Change, Now},
};

/// A key of a project of a tenant.
type At = (TenantId, ProjectId, KeyId);

/// Characters of a key's text that are shown for ever.
const HINT_CHARS: usize = 4;

/// The text of a key, and what is kept of it.
pub struct Secret {
    /// What clients send.
    pub text: String,
    /// What is kept.
    pub hash: SecretHash,
}

impl Secret {
    fn hint(&self) -> String {
        let start = self.text.len().saturating_sub(HINT_CHARS);
        self.text.get(start..).unwrap_or_default().to_owned()
    }

    fn shown_with(&self, key: &ApiKey) -> ApiKeyWithSecret {
        ApiKeyWithSecret {
            key: key.clone(),
            secret: self.text.clone(),
        }
    }
}

/// A key.
///
/// # Errors
/// When the project has none with this id.
pub fn find<'a>(
    now: &Now<'a>,
    (tenant, project, id): At,
) -> Result<&'a Arc<Stored<control::ApiKey>>> {
    projects::find(now, (tenant, project))?;
    let key = now.catalogue.keys.get(id);
    let key = key.filter(|key| key.value.project == project.to_string());
    key.ok_or_else(|| Reason::NotFound.into())
}

fn changeable<'a>(
    now: &Now<'a>,
    at: At,
    if_match: &IfMatch,
) -> Result<&'a Arc<Stored<control::ApiKey>>> {
    let stored = find(now, at)?;
    if_match.check(stored.version)?;
    Ok(stored)
}

/// A new one.
pub fn create(
    now: &Now<'_>,
    (tenant, project, id): At,
    new: &NewApiKey,
    secret: &Secret,
) -> Result<Change> {
    projects::changeable(now, (tenant, project), &IfMatch::default())?;
    let settings = new.settings(now.ms)?;
    settings.check()?;
    if now.catalogue.keys.count_of(project) >= PROJECT_KEYS_MAX {
        return Err(
            Reason::LimitReached.because(format!("a project has at most {PROJECT_KEYS_MAX} keys"))
        );
    }
    check_name_is_free(now, (project, id), &settings.name)?;
    let mut key = control::ApiKey {
        project: project.to_string(),
        secret_hash: secret.hash.as_bytes().to_vec().into(),
        hint: secret.hint(),
        ..control::ApiKey::default()
    };
    settings.put_into(&mut key);
    let shown = ApiKey::of(now.ms, id, project, &now.fresh(key.clone()));
    let location = format!("/v1/tenants/{tenant}/projects/{project}/api-keys/{id}");
    let answer = Answer::created(location, &secret.shown_with(&shown));
    Ok(
        Change::write(now, &id, None, Resource::ApiKey(key), answer).audited(
            now,
            Some(tenant),
            "api_key.create",
            &id,
            (None, Some(json!(shown))),
        ),
    )
}

/// Other settings.
pub fn patch(now: &Now<'_>, at: At, if_match: &IfMatch, patch: &ApiKeyPatch) -> Result<Change> {
    let (_, project, id) = at;
    let stored = changeable(now, at, if_match)?;
    let before = ApiKeySettings::of(&stored.value);
    let after = patch.apply(&before)?;
    if after == before {
        let shown = ApiKey::of(now.ms, id, project, stored);
        return Ok(Change::none(Answer::of(stored.version, &shown)));
    }
    after.check()?;
    if after.expires_at != before.expires_at {
        expiry_ms(now.ms, after.expires_at, None, TTL_MS_MAX)?;
    }
    check_name_is_free(now, (project, id), &after.name)?;
    let mut key = stored.value.clone();
    after.put_into(&mut key);
    Ok(replace(now, at, stored, key, "api_key.update", None))
}

/// Another secret. The one of before stays good for a while; one from before that does not.
pub fn rotate(now: &Now<'_>, at: At, rotation: &Rotation, secret: &Secret) -> Result<Change> {
    let stored = find(now, at)?;
    if rotation.overlap_ms > KEY_OVERLAP_MS_MAX {
        return Err(invalid(format!(
            "`overlap_ms` is at most {KEY_OVERLAP_MS_MAX}"
        )));
    }
    let mut key = stored.value.clone();
    let previous = std::mem::replace(&mut key.secret_hash, secret.hash.as_bytes().to_vec().into());
    let overlaps = rotation.overlap_ms > 0;
    key.previous_secret_hash = if overlaps {
        previous
    } else {
        Default::default()
    };
    key.previous_until_ms = if overlaps {
        now.ms + rotation.overlap_ms
    } else {
        0
    };
    key.hint = secret.hint();
    Ok(replace(
        now,
        at,
        stored,
        key,
        "api_key.rotate",
        Some(secret),
    ))
}

fn replace(
    now: &Now<'_>,
    (tenant, project, id): At,
    stored: &Stored<control::ApiKey>,
    key: control::ApiKey,
    action: &str,
    secret: Option<&Secret>,
) -> Change {
    let was = ApiKey::of(now.ms, id, project, stored);
    let is = ApiKey::of(now.ms, id, project, &now.changed(stored, key.clone()));
    let answer = match secret {
        Some(secret) => Answer::changed(&secret.shown_with(&is)),
        None => Answer::changed(&is),
    };
    let since = Some(stored.created_at_ms);
    let shown = (Some(json!(was)), Some(json!(is)));
    Change::write(now, &id, since, Resource::ApiKey(key), answer).audited(
        now,
        Some(tenant),
        action,
        &id,
        shown,
    )
}

/// It is gone at once, and what is open with it is closed.
pub fn delete(now: &Now<'_>, at: At, if_match: &IfMatch) -> Result<Change> {
    let (tenant, project, id) = at;
    let stored = changeable(now, at, if_match)?;
    let was = ApiKey::of(now.ms, id, project, stored);
    Ok(Change::delete(now, &id).audited(
        now,
        Some(tenant),
        "api_key.delete",
        &id,
        (Some(json!(was)), None),
    ))
}

fn check_name_is_free(now: &Now<'_>, (project, id): (ProjectId, KeyId), name: &str) -> Result<()> {
    match now.catalogue.keys.named(project, name) {
        Some((other, _)) if other != id => {
            Err(Reason::NameTaken.because("the project has a key with this name"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
