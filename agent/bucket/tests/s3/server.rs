//! A real S3 server on loopback for one test: its objects are files below a folder.

use roadstead_bucket::{Bucket, Keys, Place, Style};
use roadstead_model::HttpUrl;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(crate) const SECRET: &str = "canary-secret-0a9c77e1";
const START_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    child: Child,
    pub(crate) folder: TempDir,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/lab/s3");
    let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "tests/lab/s3 makes the server ready");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

fn run(folder: &Path, port: u16) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let child = Command::new(program())
        .args(["--host", "localhost", "--port", &port.to_string()])
        .args(["--access-key", "AKIATEST", "--secret-key", SECRET])
        .arg(folder.join("root"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let began = Instant::now();
    while TcpStream::connect(("localhost", port)).is_err() {
        assert!(began.elapsed() < START_WITHIN, "the server does not start: {}", fs::read_to_string(folder.join("log")).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("root/backups")).unwrap();
        let port = TcpListener::bind("localhost:0").unwrap().local_addr().unwrap().port();
        Self { child: run(folder.path(), port), folder, port }
    }

    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    pub(crate) fn again(&mut self) {
        self.child = run(self.folder.path(), self.port);
    }

    /// Where the server keeps a bucket.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root/backups")
    }

    /// Everything that the server keeps, but for what it notes of objects.
    pub(crate) fn kept(&self) -> Vec<String> {
        let root = fs::read_dir(self.folder.path().join("root")).unwrap().chain(fs::read_dir(self.root()).unwrap());
        let names = root.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> =
            names.filter(|name| name != "backups" && !name.contains(".metadata") && !name.contains(".internal")).collect();
        names.sort();
        names
    }

    pub(crate) fn place(&self) -> Place {
        let endpoint = HttpUrl::parse(&format!("http://localhost:{}", self.port)).unwrap();
        Place { endpoint, bucket: "backups".into(), region: "us-east-1".into(), style: Style::Path }
    }

    pub(crate) fn bucket(&self) -> Bucket {
        self.with(self.place(), SECRET, &CancellationToken::new())
    }

    pub(crate) fn with(&self, place: Place, secret: &str, cancelled: &CancellationToken) -> Bucket {
        let text = |text: &str| text.to_owned().into();
        Bucket::new(place, Keys { access: text("AKIATEST"), secret: text(secret), token: None }, None, cancelled.clone())
    }
}
