//! Revocations: tokens that are good no more, by their id, by their subject, or all of a project.

mod routes;
mod rules;
mod shape;

pub use routes::routes;
