//! Issuers: who else signs tokens for a project.

mod fetcher;
mod routes;
mod rules;
mod shape;

pub use fetcher::fetch_for_ever;
pub use routes::routes;
