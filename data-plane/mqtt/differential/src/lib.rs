//! Nothing: the comparison is a test, in `tests/rumqttd.rs`.
