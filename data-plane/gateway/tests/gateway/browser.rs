//! What browsers need: tickets for what cannot send headers, and rules for pages of other places.

mod origins;
mod tickets;
