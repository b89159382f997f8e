//! The commands that set up what a cluster serves, over the REST interface of its control plane.
//!
//! Each resource has a file with its arguments; what all of them do alike is in [`collection`], how the control plane
//! is asked in [`api`], and which control plane, tenant and project are meant in [`target`]. What the control plane
//! says is shown as it says it: the shapes of its documents are its own.

mod api;
mod audit;
mod collection;
mod confirm;
mod issuer;
mod key;
mod label;
mod lifetime;
mod member;
mod permission;
mod policy;
mod project;
mod quota;
mod revocation;
mod signing_key;
mod target;
mod tenant;
mod token;
mod usage;

pub use api::{Answer, Api, is_not_found};
pub use collection::{Collection, ISSUER, KEY, Kind, MEMBER, PROJECT, TENANT};
pub use confirm::confirm;
pub use target::{PlatformArgs, TenantArg, TenantArgs};

use crate::{client::block_on, output::Output};

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Set up tenants: customers
    Tenant(tenant::Args),
    /// Set up projects: isolated namespaces of topics and keys in a tenant
    Project(project::Args),
    /// Set up API keys of a project
    Key(key::Args),
    /// Make tokens: short-lived credentials of a project
    Token(token::Args),
    /// End tokens before their time
    Revocation(revocation::Args),
    /// Set up who else signs tokens for a project
    Issuer(issuer::Args),
    /// Set up how topics of a project are kept
    Policy(policy::Args),
    /// Set up what a project or a tenant may use
    Quota(quota::Args),
    /// Show what a project or a tenant has used
    Usage(usage::Args),
    /// Set up who may administer a tenant
    Member(member::Args),
    /// Show who changed what
    Audit(audit::Args),
    /// Set up what the service signs tokens with
    SigningKey(signing_key::Args),
}

/// Runs one of them.
pub fn run(command: Command, output: Output) -> anyhow::Result<()> {
    block_on(async {
        match command {
            Command::Tenant(args) => tenant::run(args, output).await,
            Command::Project(args) => project::run(args, output).await,
            Command::Key(args) => key::run(args, output).await,
            Command::Token(args) => token::run(args, output).await,
            Command::Revocation(args) => revocation::run(args, output).await,
            Command::Issuer(args) => issuer::run(args, output).await,
            Command::Policy(args) => policy::run(args, output).await,
            Command::Quota(args) => quota::run(args, output).await,
            Command::Usage(args) => usage::run(args, output).await,
            Command::Member(args) => member::run(args, output).await,
            Command::Audit(args) => audit::run(args, output).await,
            Command::SigningKey(args) => signing_key::run(args, output).await,
        }
    })
}
