//! Secrets that programs of the host decrypt: age and systemd's own, as they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at its first surprise")]

use roadstead_model::{AppName, ProviderName};
use roadstead_secrets::{
    AgeSettings, Asker, ClientFiles, CredentialSettings, Fault, Format, KindSettings, Pattern, ProviderSettings, Providers, Secret,
    SecretError, SecretRef,
};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

const CANARY: &str = "canary-51d0c3b7";

fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{program}: {error}; tests/lab/setup --machine installs it"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn providers(name: &str, kind: KindSettings) -> Providers {
    let settings = ProviderSettings { kind, apps: [].into(), allow: vec![Pattern::parse("*").unwrap()] };
    let nothing = ClientFiles { certificate: "/nonexistent".into(), key: "/nonexistent".into() };
    Providers::from_settings(&BTreeMap::from([(ProviderName::parse(name).unwrap(), settings)]), &nothing, None)
}

async fn resolve(providers: &Providers, tree: Option<&Path>, reference: &str) -> Result<Secret, SecretError> {
    let app = AppName::parse("erp").unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    let resolved = providers.resolve(Asker { app: &app, tree, by_operator: false }, &SecretRef::parse(reference).unwrap(), until).await;
    if let Err(error) = &resolved {
        assert!(!format!("{error} {error:?} {}", error.fault).contains(CANARY), "{error:?}");
    }
    resolved
}

/// A file that root alone can read.
fn private(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// An identity of age in a file, and its public key.
fn identity(path: &Path) -> String {
    let text = run("age-keygen", &[], b"");
    private(path, &text);
    let text = String::from_utf8(text).unwrap();
    text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned()
}

#[tokio::test]
async fn age_decrypts_what_travels_in_the_tree_and_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let (key, tree) = (folder.path().join("key.txt"), folder.path().join("tree"));
    fs::create_dir_all(tree.join("deploy")).unwrap();
    let recipient = identity(&key);
    let encrypt = |text: &str, to: &str| run("age", &["--encrypt", "--recipient", to], text.as_bytes());
    fs::write(tree.join("deploy/prod.env.age"), encrypt(&format!("# live\nKEY='{CANARY}'\n"), &recipient)).unwrap();
    fs::write(folder.path().join("outside.age"), encrypt(CANARY, &recipient)).unwrap();
    let another = identity(&folder.path().join("another.txt"));
    fs::write(tree.join("another.age"), encrypt(CANARY, &another)).unwrap();
    fs::write(tree.join("plain.age"), CANARY).unwrap();
    symlink("../outside.age", tree.join("link.age")).unwrap();
    symlink("deploy", tree.join("folder")).unwrap();
    symlink(folder.path().join("outside.age"), tree.join("absolute.age")).unwrap();
    let settings = |format| AgeSettings { program: "/usr/bin/age".into(), identities: vec![key.clone()], format };
    let providers = providers("age", KindSettings::Age(settings(Format::Env)));

    let secret = resolve(&providers, Some(&tree), "age:deploy/prod.env.age#KEY").await.unwrap();
    assert_eq!(secret.value.reveal_text(), Some(CANARY));
    assert!(matches!(resolve(&providers, Some(&tree), "age:deploy/prod.env.age").await.unwrap_err().fault, Fault::WhichKey { count: 1 }));
    for path in ["link.age", "absolute.age", "folder/prod.env.age", "none.age"] {
        let error = resolve(&providers, Some(&tree), &format!("age:{path}#KEY")).await.unwrap_err();
        assert!(matches!(error.fault, Fault::File { .. }), "{path}: {}", error.fault);
    }
    assert!(matches!(resolve(&providers, Some(&tree), "age:deploy#KEY").await.unwrap_err().fault, Fault::NoFile { .. }));
    for path in ["another.age", "plain.age"] {
        let error = resolve(&providers, Some(&tree), &format!("age:{path}#KEY")).await.unwrap_err();
        assert!(matches!(error.fault, Fault::Program { .. }), "{path}: {}", error.fault);
    }
    assert!(matches!(resolve(&providers, None, "age:deploy/prod.env.age#KEY").await.unwrap_err().fault, Fault::Path(_)));
    let name = ProviderName::parse("age").unwrap();
    let seen = providers.look(&name, Instant::now() + Duration::from_secs(30)).await.unwrap();
    assert!(seen.contains("identities in"), "{seen}");

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = resolve(&providers, Some(&tree), "age:deploy/prod.env.age#KEY").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Exposed { .. }), "{}", error.fault);
}

#[tokio::test]
async fn systemd_decrypts_a_credential_under_its_own_name_alone() {
    let folder = tempfile::tempdir().unwrap();
    let encrypted = run("systemd-creds", &["encrypt", "--with-key=host", "--name=erp.key", "-", "-"], CANARY.as_bytes());
    private(&folder.path().join("erp.key"), &encrypted);
    private(&folder.path().join("shop.key"), &encrypted);
    let settings =
        CredentialSettings { encrypted: vec![folder.path().into()], plain: vec![PathBuf::from("/nonexistent")], format: Format::Text };
    let providers = providers("credential", KindSettings::Credential(settings));
    let secret = resolve(&providers, None, "credential:erp.key").await.unwrap();
    assert_eq!(secret.value.reveal_text(), Some(CANARY));
    let error = resolve(&providers, None, "credential:shop.key").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Program { .. }), "a copy under another name is none: {}", error.fault);
}
