//! A real OpenBao in memory, on loopback with TLS, for one test.

use roadstead_model::{HttpUrl, ProviderName};
use roadstead_secrets::{ClientFiles, Engine, KindSettings, Login, Pattern, ProviderSettings, Providers, SecretPath, VaultSettings};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ROOT: &str = "root-token-of-the-test";
const START_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    child: Child,
    pub(crate) folder: TempDir,
    pub(crate) address: String,
    program: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The program, made ready once for all.
fn program() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/lab/openbao");
    let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "tests/lab/openbao makes the server ready");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    pub(crate) fn start() -> Self {
        let (folder, program, port) = (tempfile::tempdir().unwrap(), program(), free_port());
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(&program)
            .args(["server", "-dev", "-dev-no-store-token", "-dev-tls"])
            .args([format!("-dev-listen-address=127.0.0.1:{port}"), format!("-dev-root-token-id={ROOT}")])
            .arg(format!("-dev-tls-cert-dir={}", folder.path().display()))
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self { child, folder, address: format!("https://127.0.0.1:{port}"), program };
        let began = Instant::now();
        while !server.log().contains("Root Token: ") || !server.command(&[], &["status"]).output().unwrap().status.success() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < START_WITHIN, "OpenBao does not start: {}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub(crate) fn authorities(&self) -> PathBuf {
        self.folder.path().join("vault-ca.pem")
    }

    fn command(&self, environment: &[(&str, &str)], words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).env("BAO_ADDR", &self.address).env("BAO_CACERT", self.authorities()).env("BAO_TOKEN", ROOT);
        command.env("HOME", self.folder.path()).envs(environment.iter().copied()).stdin(Stdio::null());
        command
    }

    fn output(&self, environment: &[(&str, &str)], words: &[&str]) -> Output {
        let output = self.command(environment, words).output().unwrap();
        assert!(output.status.success(), "bao {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// What its admin does.
    pub(crate) fn bao(&self, words: &[&str]) -> String {
        String::from_utf8(self.output(&[], words).stdout).unwrap().trim().to_owned()
    }

    /// What its admin does within a namespace.
    pub(crate) fn bao_in(&self, namespace: &str, words: &[&str]) -> String {
        String::from_utf8(self.output(&[("BAO_NAMESPACE", namespace)], words).stdout).unwrap().trim().to_owned()
    }

    /// A policy that lets its holder do something with paths.
    pub(crate) fn policy(&self, namespace: &str, name: &str, rules: &[(&str, &str)]) {
        let text: String = rules.iter().map(|(path, can)| format!("path \"{path}\" {{ capabilities = [{can}] }}\n")).collect();
        let file = self.folder.path().join(format!("{name}.hcl"));
        fs::write(&file, text).unwrap();
        self.bao_in(namespace, &["policy", "write", name, &file.display().to_string()]);
    }

    /// A file that root alone can read.
    pub(crate) fn private(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// How a host would be set up for it.
    pub(crate) fn settings(&self, login: Login, login_mount: &str) -> VaultSettings {
        let path = |text: &str| SecretPath::parse(text).unwrap();
        VaultSettings {
            addresses: vec![HttpUrl::parse(&self.address).unwrap()],
            authorities: Some(self.authorities()),
            namespace: None,
            mounts: [(path("secret"), Engine::Kv), (path("nothing"), Engine::Kv), (path("database"), Engine::Database)].into(),
            login,
            login_mount: path(login_mount),
        }
    }
}

pub(crate) fn vault() -> ProviderName {
    ProviderName::parse("vault").unwrap()
}

pub(crate) fn providers(settings: VaultSettings) -> Providers {
    of_host(settings, &no_identity())
}

fn no_identity() -> ClientFiles {
    ClientFiles { certificate: "/nonexistent".into(), key: "/nonexistent".into() }
}

/// As of one agent after the other on a host: what they log in with is kept in a folder.
pub(crate) fn with_logins(settings: VaultSettings, logins: &Path) -> Providers {
    from_settings(settings, &no_identity(), Some(logins))
}

/// Of a host with an identity of its own.
pub(crate) fn of_host(settings: VaultSettings, own: &ClientFiles) -> Providers {
    from_settings(settings, own, None)
}

fn from_settings(settings: VaultSettings, own: &ClientFiles, logins: Option<&Path>) -> Providers {
    let settings =
        ProviderSettings { kind: KindSettings::Vault(Box::new(settings)), apps: [].into(), allow: vec![Pattern::parse("*").unwrap()] };
    Providers::from_settings(&BTreeMap::from([(vault(), settings)]), own, logins)
}
