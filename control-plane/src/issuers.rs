//! Issuers: who else signs tokens for a project.

mod routes;
mod rules;
mod shape;

pub use routes::routes;
