//! A real S3 server on a host of the lab, which keeps objects as files below `/srv/s3`, and where the agent there has its keys from.

use roadstead_tests::lab::{Host, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::SOON;

/// The key: nobody but the server and the agent is to see it.
pub(crate) const SECRET: &str = "canary-secret-key-2f6d1c";
const UNIT: &str = "[Service]\nExecStart=/usr/local/bin/s3s-fs --host 127.0.0.1 --port 9000 --access-key AKIASTORY --secret-key \
                    canary-secret-key-2f6d1c /srv/s3\nStandardOutput=null\nStandardError=null\n[Install]\nWantedBy=multi-user.target\n";

/// The part of `agent.toml` that its keys are had by.
pub(crate) const PROVIDER: &str = "[secrets.keys]\nkind = \"command\"\ncommand = [\"/bin/cat\", \"/etc/roadstead/keys/{path}\"]\n";

/// The keys of a section about a bucket of the server.
pub(crate) fn section(bucket: &str, prefix: &str) -> String {
    format!(
        "endpoint = \"http://127.0.0.1:9000\"\nbucket = \"{bucket}\"\nprefix = \"{prefix}\"\naccess-key = \"keys:bucket/access\"\n\
         secret-key = \"keys:bucket/secret\"\n"
    )
}

/// Brings a server with a bucket to a host; it does not run yet.
pub(crate) fn install(host: &Host, bucket: &str) {
    host.write("/usr/local/bin/s3s-fs", std::fs::read(program()).unwrap()).unwrap();
    host.write("/etc/systemd/system/s3.service", UNIT).unwrap();
    host.sh(&format!("chmod 755 /usr/local/bin/s3s-fs; mkdir -p /srv/s3/{bucket}; systemctl daemon-reload")).unwrap();
    host.write("/etc/roadstead/keys/bucket/access", "AKIASTORY\n").unwrap();
    host.write("/etc/roadstead/keys/bucket/secret", format!("{SECRET}\n")).unwrap();
}

/// Starts it, from now on with its host.
pub(crate) fn start(host: &Host) {
    host.systemctl(&["enable", "--now", "s3"]).unwrap();
    wait_until("the server", SOON, || host.sh("curl -so /dev/null http://127.0.0.1:9000/").is_ok()).unwrap();
}

/// The program, made ready once for all.
fn program() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/s3");
    let output = Command::new(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().into()
}
