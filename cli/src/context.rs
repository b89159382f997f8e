//! `highwater context`: where commands go and whose credentials they use, kept under names in a file.
//!
//! What is typed wins over the context that is typed (`--context`), that over the environment, and that over the
//! context in use. A credential of a context goes to the addresses of that context only: whoever names others
//! names the credential for them, too.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{exit::Exit, output::Output, text};

mod file;
mod secret;
mod sources;

use file::{Context, Contexts};
use secret::Secret;
pub use sources::{ContextArg, ControlPlane, Sources, Who};

/// Arguments of `highwater context`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add a context; the first one is in use from then on
    Add {
        /// What it is called
        name: String,
        #[command(flatten)]
        settings: Settings,
        /// Take it into use
        #[arg(long = "use")]
        take: bool,
    },
    /// Change what is given of a context
    Set {
        /// Which one [default: the one in use]
        name: Option<String>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Take a context into use
    Use {
        /// Which one
        name: String,
    },
    /// List the contexts
    List,
    /// Show a context
    Show {
        /// Which one [default: the one in use]
        name: Option<String>,
        /// Show its credentials, too
        #[arg(long)]
        show_secrets: bool,
    },
    /// Remove a context
    Remove {
        /// Which one
        name: String,
    },
}

/// What a context says; each may be left out.
#[derive(Debug, clap::Args)]
struct Settings {
    /// Address of a node; several (repeated, or divided by commas) are tried in turn
    #[arg(long = "server", value_name = "URL", value_delimiter = ',')]
    servers: Vec<String>,
    /// Address of a control plane; several are tried in turn
    #[arg(long = "control-plane", value_name = "URL", value_delimiter = ',')]
    control_planes: Vec<String>,
    /// The tenant, by its name or id
    #[arg(long)]
    tenant: Option<String>,
    /// The project, by its name or id
    #[arg(long)]
    project: Option<String>,
    /// Authorities (PEM) of the servers' certificates, when they are not the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// File whose first line is the API key to keep; - asks for it, or reads it from stdin
    #[arg(long, value_name = "FILE", group = "key")]
    key_file: Option<PathBuf>,
    /// The variable that will hold the API key
    #[arg(long, value_name = "VARIABLE", group = "key")]
    key_env: Option<String>,
    /// The command, for sh, that will print the API key
    #[arg(long, value_name = "COMMAND", group = "key")]
    key_command: Option<String>,
    /// File whose first line is the credential to keep for administration; - asks for it, or reads it from stdin
    #[arg(long, value_name = "FILE", group = "admin_key")]
    admin_key_file: Option<PathBuf>,
    /// The variable that will hold the credential for administration
    #[arg(long, value_name = "VARIABLE", group = "admin_key")]
    admin_key_env: Option<String>,
    /// The command, for sh, that will print the credential for administration
    #[arg(long, value_name = "COMMAND", group = "admin_key")]
    admin_key_command: Option<String>,
}

/// Runs it.
pub fn run(args: Args, output: Output) -> anyhow::Result<()> {
    match args.command {
        Command::Add {
            name,
            settings,
            take,
        } => add(&name, settings, take, output),
        Command::Set { name, settings } => set(name, settings, output),
        Command::Use { name } => take(&name, output),
        Command::List => list(output),
        Command::Show { name, show_secrets } => show(name, show_secrets, output),
        Command::Remove { name } => remove(&name, output),
    }
}

fn add(name: &str, settings: Settings, take: bool, output: Output) -> anyhow::Result<()> {
    check_name(name)?;
    let mut context = Context::default();
    settings.put_into(&mut context)?;
    Contexts::change(|contexts| {
        if contexts.contexts.contains_key(name) {
            let message = format!("there is a context `{name}`: `context set` changes it");
            return Err(Exit::usage(message).into());
        }
        if take || contexts.contexts.is_empty() {
            contexts.current = Some(name.to_owned());
        }
        contexts.contexts.insert(name.to_owned(), context);
        Ok(())
    })?;
    done(output, "added", name)
}

fn set(name: Option<String>, settings: Settings, output: Output) -> anyhow::Result<()> {
    let mut changed = String::new();
    // Read once: what is asked for or comes from stdin does not come again.
    let mut settings = Some(settings);
    Contexts::change(|contexts| {
        changed = contexts.name_or_current(name.as_deref())?;
        let context = contexts.contexts.get_mut(&changed);
        let context = context.context("the context is there")?;
        settings.take().map_or(Ok(()), |s| s.put_into(context))
    })?;
    done(output, "changed", &changed)
}

fn take(name: &str, output: Output) -> anyhow::Result<()> {
    Contexts::change(|contexts| {
        contexts.current = Some(contexts.name_or_current(Some(name))?);
        Ok(())
    })?;
    for variable in sources::overriding() {
        eprintln!("note: {variable} is set, and wins over the context");
    }
    done(output, "in use", name)
}

fn remove(name: &str, output: Output) -> anyhow::Result<()> {
    Contexts::change(|contexts| {
        let name = contexts.name_or_current(Some(name))?;
        contexts.contexts.remove(&name);
        contexts.current.take_if(|current| *current == name);
        Ok(())
    })?;
    done(output, "removed", name)
}

fn done(output: Output, what: &str, name: &str) -> anyhow::Result<()> {
    output.result(&json!({ what.replace(' ', "_"): name }), || {
        format!("{what}: {name}")
    })
}

fn list(output: Output) -> anyhow::Result<()> {
    let contexts = Contexts::read()?;
    let current = contexts.current.as_deref();
    let shown = contexts.contexts.iter().map(|(name, context)| {
        let mut shown = context.shown(false);
        shown["name"] = name.as_str().into();
        shown["in_use"] = (current == Some(name)).into();
        shown
    });
    text::list(
        output,
        &[
            ("IN USE", "in_use"),
            ("NAME", "name"),
            ("SERVER", "server"),
            ("CONTROL PLANE", "control_plane"),
            ("TENANT", "tenant"),
            ("PROJECT", "project"),
        ],
        &shown.collect::<Vec<Value>>(),
    )
}

fn show(name: Option<String>, with_secrets: bool, output: Output) -> anyhow::Result<()> {
    let contexts = Contexts::read()?;
    let name = contexts.name_or_current(name.as_deref())?;
    let mut shown = json!({ "name": name });
    let context = contexts.contexts[&name].shown(with_secrets);
    if let (Value::Object(shown), Value::Object(context)) = (&mut shown, context) {
        shown.extend(context);
    }
    text::show(output, &shown)
}

/// # Errors
/// When a name would be awkward to type.
fn check_name(name: &str) -> anyhow::Result<()> {
    let is_of_name = |c: char| c.is_alphanumeric() || "._-".contains(c);
    match !name.is_empty() && !name.starts_with('-') && name.chars().all(is_of_name) {
        true => Ok(()),
        false => Err(Exit::usage("a context's name has letters, digits and . _ -").into()),
    }
}

impl Settings {
    fn put_into(self, context: &mut Context) -> anyhow::Result<()> {
        for address in self.servers.iter().chain(&self.control_planes) {
            check_address(address)?;
        }
        let key = Secret::given(self.key_file, self.key_env, self.key_command)?;
        let admin_key = Secret::given(
            self.admin_key_file,
            self.admin_key_env,
            self.admin_key_command,
        )?;
        if !self.servers.is_empty() {
            context.server = self.servers;
        }
        if !self.control_planes.is_empty() {
            context.control_plane = self.control_planes;
        }
        // Found from wherever commands run.
        let ca = self.ca.map(std::path::absolute).transpose()?;
        let replace = |old: &mut Option<String>, new: Option<String>| {
            if new.is_some() {
                *old = new;
            }
        };
        // A project is one of a tenant.
        if self.tenant.is_some() && self.tenant != context.tenant {
            context.project = None;
        }
        replace(&mut context.tenant, self.tenant);
        replace(&mut context.project, self.project);
        context.ca = ca.or(context.ca.take());
        context.key = key.or(context.key.take());
        context.admin_key = admin_key.or(context.admin_key.take());
        Ok(())
    }
}

/// # Errors
/// When it is no address that credentials can go to.
pub fn check_address(address: &str) -> anyhow::Result<()> {
    let url = reqwest::Url::parse(address).ok().filter(|url| {
        ["http", "https"].contains(&url.scheme()) && url.has_host() && url.username().is_empty()
    });
    match url {
        Some(url) if url.password().is_none() => Ok(()),
        _ => {
            let message = format!("`{address}` is not an address like http://host:8080");
            Err(Exit::usage(message).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_checked() {
        for address in [
            "http://127.0.0.1:8080",
            "https://hw.example.com/",
            "http://[::1]:1",
        ] {
            assert!(check_address(address).is_ok(), "{address}");
        }
        for address in [
            "127.0.0.1:8080",
            "",
            "ftp://a",
            "http://u:p@a",
            "http://u@a",
        ] {
            assert!(check_address(address).is_err(), "{address}");
        }
        assert!(check_name("prod.eu_1-x").is_ok());
        for name in ["", "a b", "-x", "a/b"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
