//! The certificates of doors, for nodes and control planes: [`TlsFiles`] makes them the settings of TLS, and
//! [`Certificates`] does so again whenever the files change.

mod files;
mod watched;

pub use files::{TlsError, TlsFiles};
pub use watched::Certificates;
