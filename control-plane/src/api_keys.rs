//! API keys: long-lived credentials of projects, whose secrets are shown once.

mod routes;
mod rules;
mod shape;

pub use routes::routes;
