//! The committed code is what the `.proto` files say.

use std::path::Path;

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let files = protox::compile(["roadstead/v1/fleet.proto", "roadstead/v1/operator.proto"], [root]).unwrap();
    tonic_prost_build::configure().codec_path("crate::codec::SmallCodec").out_dir(out.path()).compile_fds(files).unwrap();
    let fresh = std::fs::read_to_string(out.path().join("roadstead.v1.rs")).unwrap();
    let committed = std::fs::read_to_string(root.join("src/gen/roadstead.v1.rs")).unwrap();
    assert!(fresh == committed, "src/gen is stale: run `cargo run -p roadstead-proto --example generate`");
}
