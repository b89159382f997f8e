//! gRPC of Python, with a stub that its own generator makes of the public definition.

use std::path::Path;

use crate::{
    cluster,
    foreign::{Foreign, has, python},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_grpcio() {
    if !has("grpcio") {
        return;
    }
    let cluster = cluster().await;
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/client/v1");
    let mut command = python("grpc_client.py");
    command.arg(proto).arg(cluster.folder());
    let said = Foreign::start(command, &cluster).finish().await;
    assert_eq!(said.last().map(String::as_str), Some("ok"), "{said:?}");
}
