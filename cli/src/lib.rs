//! The one command line of Highwater: each command is one module, with its arguments and its `run`.
//!
//! Results go to stdout, through [`output`] only; progress and whatever is meant for people goes to
//! stderr. With `-o json` a result is one line of JSON, so that scripts can wait for a line and parse
//! it. Exit codes are those of [`exit::Exit`].
//!
//! Reading order: `context.rs`, `client.rs`, `publish.rs`, `subscribe.rs`, `admin.rs`, `declared.rs`, `dev.rs`, `bench.rs`.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

mod admin;
mod bench;
mod client;
mod context;
mod control_plane;
mod declared;
mod dev;
mod doctor;
mod exit;
mod node;
mod output;
mod publish;
mod read;
mod record;
mod subscribe;
mod text;
mod topic;

use output::{Format, Output};

/// Publish and subscribe with durable, totally ordered topics.
#[derive(Debug, Parser)]
#[command(name = "highwater", version, after_help = exit::HELP, propagate_version = true)]
pub struct Cli {
    /// How results are printed on stdout
    #[arg(short, long, global = true, value_enum, default_value = "text")]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a cluster for development in this terminal, with a key that is ready to use
    Dev(dev::Args),
    /// Run one node of a cluster
    Node(node::Args),
    /// Run a control plane of a cluster: tenants, projects, keys and who may administer them, over REST
    ControlPlane(control_plane::Args),
    /// Publish messages
    Pub(publish::Args),
    /// Print records as they are published
    Sub(subscribe::Args),
    /// Print one page of records
    Read(read::Args),
    /// List, describe and delete topics
    Topic(topic::Args),
    /// Measure publishing and delivery
    Bench(bench::Args),
    /// Check this machine and a server, and say what to do
    Doctor(doctor::Args),
    /// Keep where commands go, and whose credentials they use
    Context(context::Args),
    #[command(flatten)]
    Admin(admin::Command),
    /// Make a tenant what a file says
    Apply(declared::ApplyArgs),
    /// Show what `apply` would do
    Diff(declared::DiffArgs),
    /// Print a tenant as a file for `apply`
    Export(declared::ExportArgs),
    /// Print the completion script of a shell
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Parses the arguments, runs the command, and says how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.output);
    let result = match cli.command {
        Command::Dev(args) => dev::run(args, output),
        Command::Node(args) => node::run(args),
        Command::ControlPlane(args) => control_plane::run(args, output),
        Command::Pub(args) => publish::run(args, output),
        Command::Sub(args) => subscribe::run(args, output),
        Command::Read(args) => read::run(args, output),
        Command::Topic(args) => topic::run(args, output),
        Command::Bench(args) => bench::run(args, output),
        Command::Doctor(args) => doctor::run(args, output),
        Command::Context(args) => context::run(args, output),
        Command::Admin(command) => admin::run(command, output),
        Command::Apply(args) => declared::apply(args, output),
        Command::Diff(args) => declared::diff(args, output),
        Command::Export(args) => declared::export(args, output),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "highwater", &mut script);
            output.bytes(&script)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}

#[cfg(test)]
mod tests;
