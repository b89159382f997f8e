//! From what was typed, the environment and the context to where a command goes.

use std::path::PathBuf;

use super::{
    file::{Context, Contexts},
    secret::{Secret, read_secret},
};
use crate::{
    admin::{PlatformArgs, TenantArg},
    client::{Server, ServerArgs},
    exit::Exit,
};

/// Where nodes and control planes are when nobody says.
const SERVER: &str = "http://127.0.0.1:8080";
const CONTROL_PLANE: &str = "http://127.0.0.1:8082";

/// What wins over a context that is in use.
const VARIABLES: &[&str] = &[
    "HIGHWATER_CONTEXT",
    "HIGHWATER_SERVER",
    "HIGHWATER_KEY",
    "HIGHWATER_CONTROL_PLANE",
    "HIGHWATER_ADMIN_KEY",
    "HIGHWATER_TENANT",
    "HIGHWATER_PROJECT",
];

/// What variables hold.
type Env = dyn Fn(&str) -> Option<String>;

/// Which context.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ContextArg {
    /// Use this context (see `highwater context`), and its settings rather than those of variables
    /// [env: HIGHWATER_CONTEXT] [default: the one in use]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// Where a control plane is, and who asks.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlPlane {
    /// Addresses; at least one.
    pub addresses: Vec<String>,
    /// The credential.
    pub key: Option<String>,
    /// A file with authorities.
    pub ca: Option<PathBuf>,
}

/// Who asks a control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Somebody who sets things up.
    Administrator,
    /// A client of a project, with its API key.
    Client,
}

/// Where settings come from.
pub struct Sources {
    context: Context,
    /// Whether the context was typed, and so wins over the environment.
    is_typed: bool,
    env: Box<Env>,
}

/// The variables that are set and win over a context.
pub fn overriding() -> impl Iterator<Item = &'static str> {
    let is_set = |name: &&&str| variable(name).is_some();
    VARIABLES.iter().filter(is_set).copied()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Sources {
    /// Those of this command.
    ///
    /// # Errors
    /// When there is no such context.
    pub fn read(arg: &ContextArg) -> anyhow::Result<Sources> {
        Sources::of(arg, &Contexts::read()?, Box::new(variable))
    }

    fn of(arg: &ContextArg, contexts: &Contexts, env: Box<Env>) -> anyhow::Result<Sources> {
        let typed = arg.context.clone();
        let is_typed = typed.is_some();
        let name = typed.or_else(|| env("HIGHWATER_CONTEXT"));
        let context = match name.as_ref().or(contexts.current.as_ref()) {
            Some(name) => contexts.contexts[&contexts.name_or_current(Some(name))?].clone(),
            None => Context::default(),
        };
        Ok(Sources {
            context,
            is_typed,
            env,
        })
    }

    /// What was typed; else, in the order that holds, what the context or the variable says.
    fn pick<T>(&self, typed: Option<T>, context: Option<T>, variable: Option<T>) -> Option<T> {
        match self.is_typed {
            true => typed.or(context).or(variable),
            false => typed.or(variable).or(context),
        }
    }

    fn addresses(
        &self,
        typed: &[String],
        context: &[String],
        variable: &str,
        default: &str,
    ) -> anyhow::Result<Vec<String>> {
        let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let variable = (self.env)(variable);
        let variable = variable.map(|text| text.split(',').map(str::to_owned).collect());
        let picked = self.pick(some(typed), some(context), variable);
        let picked = picked.unwrap_or_else(|| vec![default.to_owned()]);
        picked
            .iter()
            .try_for_each(|address| super::check_address(address))?;
        Ok(picked)
    }

    /// A credential, which is the context's only for the context's own addresses.
    fn credential(
        &self,
        typed: Option<String>,
        (context, own): (&Option<Secret>, &[String]),
        variable: &str,
        addresses: &[String],
    ) -> anyhow::Result<Option<String>> {
        let bare = |address: &String| address.trim_end_matches('/').to_owned();
        let own: Vec<String> = own.iter().map(bare).collect();
        let is_own = addresses.iter().all(|address| own.contains(&bare(address)));
        let variable = (self.env)(variable);
        // Not had from anywhere unless it is needed: a command may ask somebody.
        let is_withheld = context.is_some() && !is_own;
        let context = context.as_ref().filter(|_| is_own);
        if is_withheld && typed.is_none() && variable.is_none() {
            eprintln!("note: the context's credential is for its own addresses only, and not sent");
        }
        match (typed, variable) {
            (Some(typed), _) => Ok(Some(typed)),
            (None, Some(variable)) if !self.is_typed || context.is_none() => Ok(Some(variable)),
            _ => context.map(|secret| secret.get(&self.env)).transpose(),
        }
    }

    /// Where nodes are, and who asks.
    ///
    /// # Errors
    /// When an address is none, or the credential cannot be had.
    pub fn server(&self, typed: &ServerArgs) -> anyhow::Result<Server> {
        let own = &or_default(&self.context.server, SERVER)[..];
        let servers = self.addresses(
            &typed.servers,
            &self.context.server,
            "HIGHWATER_SERVER",
            SERVER,
        )?;
        let file = typed.key_file.as_deref().map(read_secret).transpose()?;
        let key = typed.key.clone().or(file);
        let key = self.credential(key, (&self.context.key, own), "HIGHWATER_KEY", &servers)?;
        Ok(Server {
            servers,
            key,
            ca: typed.ca.clone().or_else(|| self.context.ca.clone()),
        })
    }

    /// Where control planes are, and who asks.
    ///
    /// # Errors
    /// When an address is none, or the credential cannot be had.
    pub fn control_plane(&self, typed: &PlatformArgs, who: Who) -> anyhow::Result<ControlPlane> {
        let own = &or_default(&self.context.control_plane, CONTROL_PLANE)[..];
        let addresses = self.addresses(
            &typed.addresses,
            &self.context.control_plane,
            "HIGHWATER_CONTROL_PLANE",
            CONTROL_PLANE,
        )?;
        let key = match who {
            Who::Administrator => {
                let file = typed.admin_key_file.as_deref().map(read_secret);
                let kept = (&self.context.admin_key, own);
                self.credential(file.transpose()?, kept, "HIGHWATER_ADMIN_KEY", &addresses)?
            }
            Who::Client => {
                let kept = (&self.context.key, own);
                self.credential(None, kept, "HIGHWATER_KEY", &addresses)?
            }
        };
        Ok(ControlPlane {
            addresses,
            key,
            ca: typed.ca.clone().or_else(|| self.context.ca.clone()),
        })
    }

    /// Which tenant, by its name or id.
    ///
    /// # Errors
    /// When nobody says.
    pub fn tenant(&self, typed: &TenantArg) -> anyhow::Result<String> {
        let variable = (self.env)("HIGHWATER_TENANT");
        let tenant = self.pick(typed.tenant.clone(), self.context.tenant.clone(), variable);
        let missing =
            "which tenant? Say --tenant, HIGHWATER_TENANT or `highwater context set --tenant`";
        Ok(tenant.ok_or_else(|| Exit::usage(missing))?)
    }

    /// Which project of a tenant, by its name or id. One that is said beside another tenant is not meant.
    ///
    /// # Errors
    /// When nobody says.
    pub fn project(&self, typed: Option<&str>, tenant: &str) -> anyhow::Result<String> {
        let beside = |other: Option<&String>| other.is_none_or(|other| other == tenant);
        let context = self.context.project.clone();
        let context = context.filter(|_| beside(self.context.tenant.as_ref()));
        let variable = (self.env)("HIGHWATER_PROJECT");
        let variable = variable.filter(|_| beside((self.env)("HIGHWATER_TENANT").as_ref()));
        let project = self.pick(typed.map(str::to_owned), context, variable);
        let missing =
            "which project? Say --project, HIGHWATER_PROJECT or `highwater context set --project`";
        Ok(project.ok_or_else(|| Exit::usage(missing))?)
    }
}

/// The addresses of a context; without any, they are the usual ones.
fn or_default(addresses: &[String], default: &str) -> Vec<String> {
    match addresses {
        [] => vec![default.to_owned()],
        _ => addresses.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With contexts `a`, in use, and `b`, and these variables.
    fn sources(context: Option<&str>, env: &'static [(&str, &str)]) -> anyhow::Result<Sources> {
        let context_of = |name: &str| Context {
            server: vec![format!("http://node.{name}")],
            control_plane: vec![format!("http://control.{name}")],
            tenant: Some(format!("tenant-{name}")),
            project: Some(format!("project-{name}")),
            key: Some(Secret::Value(format!("hw_{name}"))),
            admin_key: Some(Secret::Value(format!("hwa_{name}"))),
            ca: None,
        };
        let contexts = Contexts {
            current: Some("a".into()),
            contexts: ["a", "b"]
                .map(|name| (name.to_owned(), context_of(name)))
                .into(),
        };
        let arg = ContextArg {
            context: context.map(str::to_owned),
        };
        let env = move |name: &str| {
            let found = env.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Sources::of(&arg, &contexts, Box::new(env))
    }

    fn server(sources: &Sources, typed: &[&str]) -> (String, Option<String>) {
        let typed = ServerArgs {
            servers: typed.iter().map(|s| (*s).to_owned()).collect(),
            ..ServerArgs::default()
        };
        let server = sources.server(&typed).unwrap();
        (server.servers.join(","), server.key)
    }

    #[test]
    fn what_is_typed_wins_over_variables_and_those_over_the_context_in_use() {
        let of = |url: &str, key: &str| (url.to_owned(), Some(key.to_owned()));
        let plain = sources(None, &[]).unwrap();
        assert_eq!(server(&plain, &[]), of("http://node.a", "hw_a"));
        let env = sources(
            None,
            &[
                ("HIGHWATER_SERVER", "http://e,http://f"),
                ("HIGHWATER_KEY", "hw_e"),
            ],
        )
        .unwrap();
        assert_eq!(server(&env, &[]), of("http://e,http://f", "hw_e"));
        assert_eq!(server(&env, &["http://t"]), of("http://t", "hw_e"));
        let other = sources(None, &[("HIGHWATER_CONTEXT", "b")]).unwrap();
        assert_eq!(server(&other, &[]), of("http://node.b", "hw_b"));
        assert!(sources(Some("c"), &[]).is_err());
        assert!(sources(None, &[("HIGHWATER_CONTEXT", "c")]).is_err());
    }

    #[test]
    fn a_context_that_is_typed_wins_over_variables() {
        let env = &[
            ("HIGHWATER_SERVER", "http://e"),
            ("HIGHWATER_KEY", "hw_e"),
            ("HIGHWATER_TENANT", "tenant-e"),
        ];
        let typed = sources(Some("b"), env).unwrap();
        assert_eq!(
            server(&typed, &[]),
            ("http://node.b".into(), Some("hw_b".into()))
        );
        assert_eq!(typed.tenant(&TenantArg::default()).unwrap(), "tenant-b");
    }

    #[test]
    fn a_credential_of_a_context_goes_to_its_own_addresses_only() {
        let plain = sources(None, &[]).unwrap();
        assert_eq!(server(&plain, &["http://elsewhere"]).1, None);
        for own in ["http://node.a", "http://node.a/"] {
            assert_eq!(server(&plain, &[own]).1.as_deref(), Some("hw_a"));
        }
        assert_eq!(
            server(&plain, &["http://node.a", "http://elsewhere"]).1,
            None
        );
        let elsewhere = sources(None, &[("HIGHWATER_CONTROL_PLANE", "http://e")]).unwrap();
        for who in [Who::Administrator, Who::Client] {
            let key = |sources: &Sources| {
                let control_plane = sources.control_plane(&PlatformArgs::default(), who);
                control_plane.unwrap().key
            };
            assert_eq!(key(&elsewhere), None);
            assert!(key(&plain).is_some());
        }
    }

    #[test]
    fn a_project_belongs_to_the_tenant_that_it_is_said_beside() {
        let plain = sources(None, &[]).unwrap();
        assert_eq!(plain.project(None, "tenant-a").unwrap(), "project-a");
        assert!(plain.project(None, "tenant-x").is_err());
        assert_eq!(plain.project(Some("p"), "tenant-x").unwrap(), "p");
        let env = sources(None, &[("HIGHWATER_PROJECT", "e")]).unwrap();
        assert_eq!(env.project(None, "tenant-a").unwrap(), "e");
        assert_eq!(env.project(None, "tenant-x").unwrap(), "e");
    }
}
