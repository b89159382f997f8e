//! Asking whether somebody is sure.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::exit::Exit;

/// Goes on when whoever asks has said to be sure, or says so now.
///
/// # Errors
/// When not, or when there is nobody to ask.
pub fn confirm(is_sure: bool, question: &str) -> anyhow::Result<()> {
    if is_sure {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let message = format!("{question} Nobody can be asked here: say --yes");
        return Err(Exit::usage(message).into());
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => anyhow::bail!("nothing was done"),
    }
}
