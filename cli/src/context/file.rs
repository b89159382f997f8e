//! The file with the contexts, which is for its owner only.

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::secret::Secret;
use crate::exit::Exit;

const FILE: &str = "contexts.toml";

/// All contexts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By their names.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// One of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Context {
    /// Addresses of nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub server: Vec<String>,
    /// Addresses of control planes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub control_plane: Vec<String>,
    /// The tenant, by its name or id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The project, by its name or id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// A file with authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// The credential for administration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_key: Option<Secret>,
}

impl Context {
    /// As it is shown.
    pub fn shown(&self, with_secrets: bool) -> Value {
        let mut shown = json!({});
        let some = |addresses: &[String]| (!addresses.is_empty()).then(|| json!(addresses));
        let ca = self.ca.as_ref().map(|path| path.display().to_string());
        let secret =
            |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.shown(with_secrets));
        for (name, value) in [
            ("server", some(&self.server)),
            ("control_plane", some(&self.control_plane)),
            ("tenant", self.tenant.clone().map(Value::from)),
            ("project", self.project.clone().map(Value::from)),
            ("ca", ca.map(Value::from)),
            ("key", secret(&self.key)),
            ("admin_key", secret(&self.admin_key)),
        ] {
            if let Some(value) = value {
                shown[name] = value;
            }
        }
        shown
    }
}

impl Contexts {
    /// Those of the user; none without a file.
    ///
    /// # Errors
    /// When the file cannot be read, or others could have written it.
    pub fn read() -> anyhow::Result<Contexts> {
        match folder() {
            Some(folder) => Contexts::read_in(&folder),
            None => Ok(Contexts::default()),
        }
    }

    /// Changes those of the user, one change at a time.
    ///
    /// # Errors
    /// Those of the change, or of the file.
    pub fn change(change: impl FnOnce(&mut Contexts) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let folder = folder().ok_or_else(|| {
            Exit::usage(
                "there is no home folder: set HIGHWATER_CONFIG_DIR to where contexts are kept",
            )
        })?;
        Contexts::change_in(&folder, change)
    }

    fn read_in(folder: &Path) -> anyhow::Result<Contexts> {
        let path = folder.join(FILE);
        let shown = path.display();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contexts::default()),
            // Another user's home, as with sudo: commands that need no context go on.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                eprintln!("note: {shown} cannot be read, so there are no contexts");
                return Ok(Contexts::default());
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
        };
        let mode = fs::metadata(&path)?.mode();
        // It names commands that are run and servers that get credentials.
        if mode & 0o022 != 0 {
            let message = format!("{shown} can be written by others: `chmod 600 {shown}` first");
            return Err(Exit::usage(message).into());
        }
        if mode & 0o044 != 0 {
            eprintln!("warning: {shown} can be read by others: `chmod 600 {shown}`");
        }
        Ok(toml::from_str(&text).map_err(|error| Exit::usage(format!("{shown}: {error}")))?)
    }

    fn change_in(
        folder: &Path,
        change: impl FnOnce(&mut Contexts) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let cannot = || format!("cannot write in {}", folder.display());
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(folder).with_context(cannot)?;
        let lock = fs::File::create(folder.join(".contexts.lock")).with_context(cannot)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let mut contexts = Contexts::read_in(folder)?;
        change(&mut contexts)?;
        // Where it really is, when the folder has a link.
        let path = folder.join(FILE);
        let path = fs::canonicalize(&path).unwrap_or(path);
        let folder = path.parent().unwrap_or(folder);
        // Others cannot read a temporary file, so none can read what it becomes.
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
        file.write_all(toml::to_string(&contexts)?.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path).with_context(cannot)?;
        Ok(())
    }

    /// The name of a context that is there: this one, or else the one in use.
    ///
    /// # Errors
    /// When there is none.
    pub fn name_or_current(&self, name: Option<&str>) -> anyhow::Result<String> {
        let name = name.or(self.current.as_deref());
        let name = name.ok_or_else(|| {
            Exit::usage("no context is in use: `highwater context use` takes one into use")
        })?;
        match self.contexts.contains_key(name) {
            true => Ok(name.to_owned()),
            false => {
                let message =
                    format!("there is no context `{name}`: `highwater context list` lists them");
                Err(Exit::usage(message).into())
            }
        }
    }
}

/// The user's folder for configuration.
fn folder() -> Option<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    variable("HIGHWATER_CONFIG_DIR")
        .or_else(|| Some(variable("XDG_CONFIG_HOME")?.join("highwater")))
        .or_else(|| Some(variable("HOME")?.join(".config/highwater")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn with_one(contexts: &mut Contexts) -> anyhow::Result<()> {
        let context = Context {
            server: vec!["http://a".into()],
            tenant: Some("acme".into()),
            key: Some(Secret::Value("hw_secret".into())),
            admin_key: Some(Secret::Env("ADMIN".into())),
            ..Context::default()
        };
        contexts.contexts.insert("a".into(), context);
        contexts.current = Some("a".into());
        Ok(())
    }

    #[test]
    fn contexts_are_kept_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("deep/er");
        assert_eq!(Contexts::read_in(&folder).unwrap(), Contexts::default());
        Contexts::change_in(&folder, with_one).unwrap();
        let kept = Contexts::read_in(&folder).unwrap();
        assert_eq!(kept.name_or_current(None).unwrap(), "a");
        assert!(kept.name_or_current(Some("b")).is_err());
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&folder.join(FILE)), 0o600);
        assert_eq!(mode(&folder), 0o700);
        // A change that fails changes nothing.
        Contexts::change_in(&folder, |contexts| {
            contexts.contexts.clear();
            anyhow::bail!("no")
        })
        .unwrap_err();
        assert_eq!(Contexts::read_in(&folder).unwrap(), kept);
        fs::set_permissions(folder.join(FILE), fs::Permissions::from_mode(0o620)).unwrap();
        assert!(Contexts::read_in(&folder).is_err());
    }

    #[test]
    fn secrets_are_shown_when_asked_for() {
        let mut contexts = Contexts::default();
        with_one(&mut contexts).unwrap();
        let shown = |with_secrets| contexts.contexts["a"].shown(with_secrets).to_string();
        assert!(!shown(false).contains("hw_secret") && shown(false).contains("ADMIN"));
        assert!(shown(true).contains("hw_secret"));
    }
}
