//! Where the `highwater` binary is: given by `HIGHWATER_BIN`, or built once in the profile of the caller.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use anyhow::{Context, Result, ensure};

static BINARY: LazyLock<Result<PathBuf, String>> =
    LazyLock::new(|| find().map_err(|error| format!("{error:#}")));

/// The path of the binary.
///
/// # Panics
/// When it cannot be built.
pub fn highwater() -> &'static Path {
    match &*BINARY {
        Ok(path) => path,
        Err(error) => panic!("there is no highwater binary: {error}"),
    }
}

/// The path of another binary of this crate, beside the one that runs.
///
/// # Errors
/// When it was not built.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let path = profile_dir()?.join(name);
    ensure!(
        path.is_file(),
        "{} is missing: build the crate's binaries first",
        path.display()
    );
    Ok(path)
}

fn find() -> Result<PathBuf> {
    if let Some(given) = env::var_os("HIGHWATER_BIN") {
        let path = PathBuf::from(given);
        ensure!(
            path.is_file(),
            "HIGHWATER_BIN names no file: {}",
            path.display()
        );
        // It is started from other folders, too.
        return Ok(path.canonicalize()?);
    }
    let dir = profile_dir()?;
    let profile = match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The whole workspace, so that dependencies keep the features they were just built with.
    let status = Command::new(cargo)
        .args(["build", "--workspace", "--bin", "highwater", "--profile"])
        .arg(profile)
        .arg("--target-dir")
        .arg(dir.parent().context("the profile has a target directory")?)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("running cargo")?;
    ensure!(status.success(), "cargo build failed");
    Ok(dir.join("highwater"))
}

/// `target/<profile>`: tests run from its `deps`, binaries from itself.
///
/// # Errors
/// When the executable cannot be found.
pub fn profile_dir() -> Result<PathBuf> {
    let exe = env::current_exe()?;
    let dir = exe.parent().context("an executable has a folder")?;
    match dir.ends_with("deps") {
        true => Ok(dir.parent().context("deps has a parent")?.to_owned()),
        false => Ok(dir.to_owned()),
    }
}
