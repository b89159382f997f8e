//! Topic policies: how the topics of a project are kept.

mod routes;
mod rules;
mod shape;

pub use routes::routes;
