//! The binary `highwater`: see the library beside it.

// With messages spread over 100,000 topics a fifth of the time went into glibc's allocator and as much
// into the pages it gave back and took again; RocksDB allocates with it too. Its background threads give pages back
// when nothing is allocated any more: without them 10,000 MQTT clients that are silent took a third more.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    // First of all: everything that speaks TLS uses this implementation of it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    highwater_cli::main()
}
