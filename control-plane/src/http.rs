//! What all routes have in common: how a request is read, strictly, and how it is answered.

mod answer;
mod around;
mod listing;
mod path;
mod precondition;
mod problem;
mod rate;
mod request;

pub use around::{Meta, around, no_such_method, no_such_path};
pub use listing::{Listing, Order, Page, Parameters, Positions, Reading, seal};
pub use path::{
    InPath, IssuerPath, KeyPath, MemberPath, ProjectPath, RevocationPath, SigningKeyPath,
    TenantPath,
};
pub use precondition::{IfMatch, Precondition};
pub use problem::{Problem, ReadRefusals, WriteRefusals, refusals};
pub use rate::Rates;
pub use request::{Asked, Presented, Queried, Repeatable, Submitted};
