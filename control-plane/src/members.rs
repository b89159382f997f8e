//! Members: who may administer a tenant.

mod routes;
mod rules;
mod shape;

pub use routes::routes;
pub use shape::role_name;
