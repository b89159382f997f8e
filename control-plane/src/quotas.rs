//! Quotas: what a tenant or project may use.

mod routes;
mod rules;
mod shape;

pub use routes::routes;
pub use shape::Quotas;
