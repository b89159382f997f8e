//! Compiles the protobuf contract in pure Rust: `protox` parses, so no `protoc` has to be installed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=client");
    println!("cargo:rerun-if-changed=cluster");
    println!("cargo:rerun-if-changed=control");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let client = protox::compile(["client/v1/highwater.proto"], ["."])?;
    fs::write(out.join("client_v1.bin"), client.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".")
        .compile_fds(client.clone())?;

    // The server sends deliveries that were encoded once and are shared by every subscriber, so its
    // stub takes the ready bytes where the client's takes a decoded message.
    let server = out.join("server");
    fs::create_dir_all(&server)?;
    tonic_prost_build::configure()
        .build_client(false)
        .bytes(".")
        .codec_path("crate::codec::RequestCodec")
        // The other messages are the client's: one type each.
        .extern_path(".highwater.client.v1", "crate::client")
        .extern_path(
            ".highwater.client.v1.SubscribeResponse",
            "crate::frame::Frame",
        )
        .extern_path(".highwater.client.v1.ReadResponse", "crate::frame::Frame")
        .out_dir(&server)
        .compile_fds(client)?;

    let cluster = protox::compile(
        [
            "cluster/v1/cluster.proto",
            "cluster/v1/session.proto",
            "cluster/v1/group.proto",
        ],
        ["."],
    )?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_client(false)
        .bytes(".")
        .compile_fds(cluster)?;

    let control = protox::compile(["control/v1/catalogue.proto"], ["."])?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .compile_fds(control)?;
    Ok(())
}
