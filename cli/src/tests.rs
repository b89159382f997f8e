//! The command line as its users see it.

use std::path::Path;

use clap::{CommandFactory as _, Parser as _};

use super::Cli;

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

/// The help of every command is committed, so that a change of it is seen. Set `UPDATE_EXPECT` to
/// write it.
#[test]
fn the_help_is_what_is_committed() {
    let mut text = String::new();
    let mut root = Cli::command().term_width(100);
    root.build();
    help(&mut root, &mut text);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("help.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "the help has changed: run again with UPDATE_EXPECT=1"
    );
}

fn help(command: &mut clap::Command, text: &mut String) {
    // Values of variables that happen to be set are not part of it.
    let shown = command.clone().mut_args(|arg| arg.hide_env_values(true));
    let rendered = shown.term_width(100).render_help().to_string();
    let name = command.get_bin_name().unwrap_or("highwater").to_owned();
    let lines: Vec<&str> = rendered.lines().map(str::trim_end).collect();
    *text += &format!("## {name}\n\n{}\n\n", lines.join("\n"));
    for child in command
        .get_subcommands_mut()
        .filter(|c| c.get_name() != "help")
    {
        help(child, text);
    }
}

#[test]
fn wrong_arguments_are_refused() {
    for arguments in [
        "frobnicate",
        "dev --nodes 0",
        "dev --ephemeral --data-dir x",
        "pub",
        "pub a b --lines",
        "pub a --lines --idempotency-key k",
        "sub",
        "key new",
        "bench --rate fast",
        "completion cmd",
    ] {
        let words = std::iter::once("highwater").chain(arguments.split(' '));
        assert!(Cli::try_parse_from(words).is_err(), "{arguments}");
    }
}

#[test]
fn json_can_be_asked_for_anywhere() {
    for arguments in [
        "-o json dev",
        "dev -o json",
        "topic list -o json",
        "sub a/# -o json",
    ] {
        let words = std::iter::once("highwater").chain(arguments.split(' '));
        let cli = Cli::try_parse_from(words).unwrap();
        assert_eq!(cli.output, super::Format::Json);
    }
}
