//! The wire against its specifications, section by section, and against the case groups of the
//! Autobahn test suite.

mod any_input;
mod closing;
mod compression;
mod control;
mod fragmentation;
mod framing;
mod handshake;
mod limits;
mod negotiation;
mod oracle;
mod splits;
mod utf8;
mod wire;
