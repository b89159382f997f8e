//! Logs on one writer. They hold ids, routes and counts, and neither bodies nor secrets.

use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, ParseError},
    fmt,
    fmt::writer::BoxMakeWriter,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat};

/// Sets up logs for the whole process.
///
/// # Errors
/// When it was done before.
pub fn start(log: &Log, logs: BoxMakeWriter) -> anyhow::Result<()> {
    let text = fmt::layer().with_writer(logs);
    let text = match log.format {
        LogFormat::Json => text.json().flatten_event(true).boxed(),
        LogFormat::Text => text.compact().with_ansi(false).boxed(),
    };
    let text = text.with_filter(filter(&log.level)?);
    tracing_subscriber::registry().with(text).try_init()?;
    Ok(())
}

/// What is logged. A level alone is meant for Highwater itself; of the libraries below it, only errors are logged
/// then.
///
/// # Errors
/// When it is no such filter.
pub(crate) fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    match level.parse::<LevelFilter>() {
        Ok(own) => EnvFilter::try_new(format!("{},highwater={own}", own.min(LevelFilter::ERROR))),
        Err(_) => EnvFilter::try_new(level),
    }
}
