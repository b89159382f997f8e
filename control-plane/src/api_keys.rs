//! API keys: long-lived credentials of projects, whose secrets are shown once.

mod holder;
mod routes;
mod rules;
mod shape;

pub use holder::Holder;
pub use routes::routes;
