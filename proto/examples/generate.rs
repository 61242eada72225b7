//! Writes `src/gen` from `roadstead/v1/*.proto`, without a `protoc` binary: `cargo run -p roadstead-proto --example generate`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = std::env::args_os().nth(1).map_or_else(|| root.join("src/gen"), Into::into);
    let files = protox::compile(["roadstead/v1/fleet.proto", "roadstead/v1/operator.proto"], [root])?;
    tonic_prost_build::configure().codec_path("crate::codec::SmallCodec").out_dir(out).compile_fds(files)?;
    Ok(())
}
