//! What is done alike with all resources: they are listed, found by name or id, shown, created, changed and deleted.

use serde_json::{Value, json};

use super::{
    api::{Answer, Api},
    confirm::confirm,
};
use crate::{
    exit::Exit,
    output::Output,
    text::{self, Column, cell},
};

/// A kind of resource.
pub struct Kind {
    /// What one is called.
    pub what: &'static str,
    /// The last part of the path of a list of them.
    pub list: &'static str,
    /// What their ids begin with.
    prefix: &'static str,
    /// The member by which people know one, when they have such a name.
    pub name: Option<&'static str>,
    columns: &'static [Column],
    /// What is lost with one that is deleted.
    lost: &'static str,
}

/// Tenants.
pub const TENANT: Kind = Kind {
    what: "tenant",
    list: "tenants",
    prefix: "ten_",
    name: Some("name"),
    columns: &[
        ("NAME", "name"),
        ("ID", "id"),
        ("STATE", "state"),
        ("CREATED", "created_at"),
    ],
    lost: "",
};

/// Projects of a tenant.
pub const PROJECT: Kind = Kind {
    what: "project",
    list: "projects",
    prefix: "prj_",
    name: Some("name"),
    columns: &[
        ("NAME", "name"),
        ("ID", "id"),
        ("STATE", "state"),
        ("SPREAD", "spread"),
        ("CREATED", "created_at"),
        ("EXPIRES", "expires_at"),
    ],
    lost: "Its keys and all its data are lost.",
};

/// API keys of a project.
pub const KEY: Kind = Kind {
    what: "key",
    list: "api-keys",
    prefix: "key_",
    name: Some("name"),
    columns: &[
        ("NAME", "name"),
        ("ID", "id"),
        ("ENDS WITH", "hint"),
        ("DISABLED", "disabled"),
        ("PERMISSIONS", "permissions"),
        ("EXPIRES", "expires_at"),
    ],
    lost: "What is open with it is closed.",
};

/// Who else signs tokens for a project.
pub const ISSUER: Kind = Kind {
    what: "issuer",
    list: "issuers",
    prefix: "iss_",
    name: Some("name"),
    columns: &[
        ("NAME", "name"),
        ("ID", "id"),
        ("ISSUER", "issuer"),
        ("AUDIENCES", "audiences"),
        ("KEYS AT", "jwks_url"),
    ],
    lost: "Its tokens are good no more.",
};

/// Who may administer a tenant.
pub const MEMBER: Kind = Kind {
    what: "member",
    list: "members",
    prefix: "mbr_",
    name: Some("subject"),
    columns: &[
        ("SUBJECT", "subject"),
        ("ID", "id"),
        ("ROLE", "role"),
        ("ADDED", "created_at"),
    ],
    lost: "",
};

/// Tokens of a project that are good no more.
pub const REVOCATION: Kind = Kind {
    what: "revocation",
    list: "revocations",
    prefix: "rev_",
    name: None,
    columns: &[
        ("ID", "id"),
        ("TOKEN", "token_id"),
        ("SUBJECT", "subject"),
        ("ALL", "all"),
        ("ISSUED BEFORE", "issued_before"),
        ("FORGOTTEN", "forgotten_at"),
    ],
    lost: "Its tokens are good again.",
};

/// What the service signs tokens with.
pub const SIGNING_KEY: Kind = Kind {
    what: "signing key",
    list: "signing-keys",
    prefix: "sig_",
    name: None,
    columns: &[
        ("ID", "id"),
        ("SIGNS FROM", "signs_from"),
        ("ACCEPTED UNTIL", "accepted_until"),
        ("CREATED", "created_at"),
    ],
    lost: "What it has signed is good no more.",
};

/// The resources of a kind at one place.
pub struct Collection<'a> {
    api: &'a Api,
    path: String,
    kind: &'static Kind,
}

impl Collection<'_> {
    /// Those below a path.
    pub fn new<'a>(api: &'a Api, below: &str, kind: &'static Kind) -> Collection<'a> {
        Collection {
            api,
            path: format!("{below}/{}", kind.list),
            kind,
        }
    }

    /// All of them.
    pub async fn all(&self) -> anyhow::Result<Vec<Value>> {
        self.api.list(&self.path, &[]).await
    }

    /// Prints all of them.
    pub async fn list(&self, output: Output) -> anyhow::Result<()> {
        text::list(output, self.kind.columns, &self.all().await?)
    }

    /// The path of one of them, which is named by its id or its name.
    ///
    /// # Errors
    /// When there is none with this name. That there is one with an id, only its use shows.
    pub async fn find(&self, reference: &str) -> anyhow::Result<String> {
        if self.kind.is_id(reference) {
            return Ok(self.at(reference));
        }
        let what = self.kind.what;
        if self.kind.name.is_none() {
            let message = format!(
                "`{reference}` is not the id of a {what}: {}…",
                self.kind.prefix
            );
            return Err(Exit::usage(message).into());
        }
        match self.named(reference).await? {
            Some(found) => Ok(self.at(found["id"].as_str().unwrap_or_default())),
            None => {
                let reference = text::plain(reference);
                let message = format!("there is no {what} `{reference}` that you may see");
                Err(Exit::not_found(message).into())
            }
        }
    }

    /// The one with a name.
    pub async fn named(&self, name: &str) -> anyhow::Result<Option<Value>> {
        let found = self.api.list(&self.path, &[("name", name)]).await?;
        Ok(found.into_iter().next())
    }

    /// The path of the one with an id.
    pub fn at(&self, id: &str) -> String {
        format!("{}/{id}", self.path)
    }

    /// Prints one.
    pub async fn show(&self, reference: &str, output: Output) -> anyhow::Result<()> {
        let path = self.find(reference).await?;
        text::show(output, &self.api.get(&path).await?.body)
    }

    /// Creates one.
    pub async fn create(&self, new: &Value) -> anyhow::Result<Value> {
        Ok(self.api.post(&self.path, new).await?.body)
    }

    /// Creates one, and prints it.
    pub async fn create_and_show(&self, new: &Value, output: Output) -> anyhow::Result<()> {
        let created = self.create(new).await?;
        text::show(output, &created)
    }

    /// Changes what is named of one, and prints what it is then.
    ///
    /// # Errors
    /// When nothing is named, and those of the control plane.
    pub async fn update(
        &self,
        reference: &str,
        patch: &Value,
        output: Output,
    ) -> anyhow::Result<()> {
        if patch.as_object().is_none_or(serde_json::Map::is_empty) {
            return Err(Exit::usage("say what is to change; --help lists what can").into());
        }
        let path = self.find(reference).await?;
        let changed = self.api.patch(&path, patch, None).await?;
        text::show(output, &changed.body)
    }

    /// Deletes one as it is now, when whoever asks is sure.
    pub async fn delete(
        &self,
        reference: &str,
        is_sure: bool,
        output: Output,
    ) -> anyhow::Result<String> {
        let path = self.find(reference).await?;
        let Answer { body, etag } = self.api.get(&path).await?;
        let id = cell(&body["id"]);
        let name = self
            .kind
            .name
            .map_or(String::new(), |name| cell(&body[name]));
        let shown = format!("{} {name} ({id})", self.kind.what).replace("  ", " ");
        confirm(
            is_sure,
            format!("delete {shown}? {}", self.kind.lost).trim_end(),
        )?;
        self.api.delete(&path, etag.as_deref()).await?;
        let json = json!({ "deleted": id, "kind": self.kind.what });
        output.result(&json, || format!("deleted {shown}"))?;
        Ok(path)
    }
}

impl Kind {
    /// Whether a text is an id of one.
    pub fn is_id(&self, text: &str) -> bool {
        let rest = text.strip_prefix(self.prefix);
        rest.is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_told_from_a_name() {
        let id = format!("prj_{}", "0".repeat(32));
        assert!(PROJECT.is_id(&id) && !TENANT.is_id(&id));
        for name in [
            "prj_",
            "prj_0",
            "staging",
            &format!("{id}0"),
            &id.replace('0', "/"),
        ] {
            assert!(!PROJECT.is_id(name), "{name}");
        }
    }
}
