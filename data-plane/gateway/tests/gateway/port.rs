//! The port itself.
