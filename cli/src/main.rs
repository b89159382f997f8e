//! The binary `highwater`: see the library beside it.

fn main() -> std::process::ExitCode {
    // First of all: everything that speaks TLS uses this implementation of it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    highwater_cli::main()
}
