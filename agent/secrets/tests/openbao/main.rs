//! What a real server does with what we ask: OpenBao, which speaks Vault's API.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at its first surprise")]

mod database;
mod server;

use roadstead_model::{AppName, HostId, Millis, SecretPath, Timestamp};
use roadstead_pki::{Authority, Identity};
use roadstead_secrets::{Asker, ClientFiles, Fault, HostFile, Login, Providers, Secret, SecretError, SecretRef};
use std::time::Duration;
use tokio::time::Instant;

use server::{Server, of_host, providers, vault};

const VALUE: &str = "canary-0a9c77e1";

fn within(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

async fn resolve(providers: &Providers, reference: &str) -> Result<Secret, SecretError> {
    let app = AppName::parse("erp").unwrap();
    let resolved =
        providers.resolve(Asker { app: &app, tree: None, by_operator: false }, &SecretRef::parse(reference).unwrap(), within(30)).await;
    let told = format!("{resolved:?} {providers:?}");
    assert!(!told.contains("canary") && !told.contains("s.") && !told.contains("root-token"), "{told}");
    resolved
}

async fn value(providers: &Providers, reference: &str) -> String {
    let secret = resolve(providers, reference).await.unwrap_or_else(|error| panic!("{error}: {}", error.fault));
    secret.value.reveal_text().unwrap().to_owned()
}

async fn fault(providers: &Providers, reference: &str) -> Fault {
    resolve(providers, reference).await.expect_err(reference).fault
}

/// An AppRole with a policy, in a namespace; its login.
fn approle(server: &Server, namespace: &str, policy: &str, more: &[&str]) -> Login {
    let policies = format!("token_policies={policy}");
    let words = [&["write", "auth/approle/role/host", &policies][..], more].concat();
    server.bao_in(namespace, &["auth", "enable", "approle"]);
    server.bao_in(namespace, &words);
    let role_id = server.bao_in(namespace, &["read", "-field=role_id", "auth/approle/role/host/role-id"]);
    let secret_id = server.bao_in(namespace, &["write", "-f", "-field=secret_id", "auth/approle/role/host/secret-id"]);
    Login::AppRole {
        role_id: HostFile::Path(server.private("role-id", &format!("{role_id}\n"))),
        secret_id: Some(HostFile::Path(server.private("secret-id", &format!("{secret_id}\n")))),
    }
}

const READS: [(&str, &str); 2] = [("secret/data/erp/*", "\"read\""), ("secret/metadata/erp/*", "\"read\"")];

#[tokio::test]
async fn versions_are_read_and_what_is_gone_is_told_apart() {
    let server = Server::start();
    server.policy("", "erp", &[&READS[..], &[("nothing/*", "\"read\"")]].concat());
    let providers = providers(server.settings(approle(&server, "", "erp", &[]), "approle"));
    for number in 1..=4 {
        server.bao(&["kv", "put", "-mount=secret", "erp/db", &format!("password={VALUE}-{number}"), "user=erp"]);
    }
    server.bao(&["kv", "delete", "-mount=secret", "-versions=2", "erp/db"]);
    server.bao(&["kv", "destroy", "-mount=secret", "-versions=3", "erp/db"]);
    server.bao(&["kv", "put", "-mount=secret", "shop/db", &format!("password={VALUE}")]);

    assert_eq!(value(&providers, "vault:secret/erp/db#password").await, format!("{VALUE}-4"));
    let first = resolve(&providers, "vault:secret/erp/db#password?version=1").await.unwrap();
    assert_eq!((first.value.reveal_text().unwrap(), first.version), (&*format!("{VALUE}-1"), Some(1)));
    assert!(matches!(fault(&providers, "vault:secret/erp/db#password?version=2").await, Fault::Deleted { version: 2, destroyed: false }));
    assert!(matches!(fault(&providers, "vault:secret/erp/db#password?version=3").await, Fault::Deleted { version: 3, destroyed: true }));
    assert!(matches!(fault(&providers, "vault:secret/erp/db#password?version=9").await, Fault::Missing { .. }));
    assert!(matches!(fault(&providers, "vault:secret/erp/none#password").await, Fault::Missing { .. }));
    assert!(matches!(fault(&providers, "vault:secret/erp/db#none").await, Fault::NoSuchKey { .. }));
    assert!(matches!(fault(&providers, "vault:secret/erp/db").await, Fault::WhichKey { count: 2 }));
    assert!(matches!(fault(&providers, "vault:secret/shop/db#password").await, Fault::Denied { .. }));
    assert!(matches!(fault(&providers, "vault:nothing/erp#password").await, Fault::NoMount(mount) if mount == "nothing"));
    let app = AppName::parse("erp").unwrap();
    let newest = |text: &str| {
        let reference = SecretRef::parse(text).unwrap();
        let (providers, app) = (&providers, &app);
        async move { providers.newest(Asker { app, tree: None, by_operator: false }, &reference, within(30)).await }
    };
    assert_eq!(newest("vault:secret/erp/db#password").await.unwrap(), 4);
    assert!(matches!(newest("vault:secret/erp/none#password").await.unwrap_err().fault, Fault::Missing { .. }));
    let seen = providers.look(&vault(), within(30)).await.unwrap();
    assert!(seen.contains("unsealed") && seen.contains("AppRole"), "{seen}");
}

#[tokio::test]
async fn a_host_logs_in_by_the_certificate_of_its_agent() {
    let server = Server::start();
    server.policy("", "erp", &READS);
    server.bao(&["kv", "put", "-mount=secret", "erp/db", &format!("password={VALUE}")]);
    server.bao(&["auth", "enable", "cert"]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Timestamp(u64::try_from(now.as_millis()).unwrap());
    let (fleet, another) = (Authority::create(now).unwrap(), Authority::create(now).unwrap());
    let host = Identity::Host(HostId::parse("abcdefghijklmnopqrstuvwxyz").unwrap());
    let shown = |authority: &Authority, name: &str| {
        let credentials = authority.issue_credentials(&host, Millis::from_secs(3600), now).unwrap();
        let file = server.private(name, &credentials.reveal());
        ClientFiles { certificate: file.clone(), key: file }
    };
    // The authority is the last of the three sections.
    let sections = fleet.issue_credentials(&host, Millis::from_secs(3600), now).unwrap().reveal();
    let trusted = server.private("fleet.pem", &sections[sections.rfind("-----BEGIN").unwrap()..]);
    let login = |files, role: Option<&str>| Login::Certificate { files: Some(files), role: role.map(str::to_owned) };
    let certificate = format!("certificate=@{}", trusted.display());
    for (role, name) in [("hosts", "roadstead:host:*"), ("controllers", "roadstead:controller")] {
        let path = format!("auth/cert/certs/{role}");
        server.bao(&["write", &path, &certificate, "token_policies=erp", &format!("allowed_uri_sans={name}"), "token_ttl=60"]);
    }
    let of = |login| providers(server.settings(login, "cert"));
    for role in [Some("hosts"), None] {
        let providers = of(login(shown(&fleet, "host.pem"), role));
        assert_eq!(value(&providers, "vault:secret/erp/db#password").await, VALUE);
        assert!(providers.look(&vault(), within(30)).await.unwrap().contains("by certificate, with a token for 60 s"));
    }
    let own = of_host(server.settings(Login::Certificate { files: None, role: None }, "cert"), &shown(&fleet, "host.pem"));
    assert_eq!(value(&own, "vault:secret/erp/db#password").await, VALUE);
    for (files, role) in [
        (shown(&another, "stranger.pem"), Some("hosts")),
        (shown(&fleet, "host.pem"), Some("controllers")),
        (shown(&fleet, "host.pem"), Some("none")),
    ] {
        let told = fault(&of(login(files, role)), "vault:secret/erp/db#password").await;
        assert!(matches!(told, Fault::Login { how: "certificate", .. }), "{role:?}: {told}");
    }
    let mut settings = server.settings(login(shown(&fleet, "host.pem"), None), "cert");
    settings.authorities = Some(trusted);
    let told = fault(&providers(settings), "vault:secret/erp/db#password").await;
    assert!(matches!(told, Fault::Tls { .. }), "a server of another authority is not talked to: {told}");
}

#[tokio::test]
async fn a_namespace_is_a_world_of_its_own() {
    let server = Server::start();
    server.bao(&["namespace", "create", "team"]);
    server.bao_in("team", &["secrets", "enable", "-path=secret", "-version=2", "kv"]);
    server.bao_in("team", &["kv", "put", "-mount=secret", "erp/db", &format!("password={VALUE}-team")]);
    server.bao(&["kv", "put", "-mount=secret", "erp/db", &format!("password={VALUE}-root")]);
    server.policy("team", "erp", &READS);
    let mut settings = server.settings(approle(&server, "team", "erp", &[]), "approle");
    settings.namespace = Some(SecretPath::parse("team").unwrap());
    let inside = providers(settings.clone());
    assert_eq!(value(&inside, "vault:secret/erp/db#password").await, format!("{VALUE}-team"));
    assert!(inside.look(&vault(), within(30)).await.unwrap().contains("unsealed"));
    settings.namespace = None;
    assert!(matches!(fault(&providers(settings.clone()), "vault:secret/erp/db#password").await, Fault::Login { .. }));
    settings.namespace = Some(SecretPath::parse("nobody").unwrap());
    let told = fault(&providers(settings), "vault:secret/erp/db#password").await;
    assert!(matches!(told, Fault::Login { .. } | Fault::NoMount(_) | Fault::Missing { .. }), "{told}");
}

#[tokio::test]
async fn a_sealed_server_is_told_and_waited_for() {
    let server = Server::start();
    server.policy("", "erp", &READS);
    server.bao(&["kv", "put", "-mount=secret", "erp/db", &format!("password={VALUE}")]);
    let providers = providers(server.settings(approle(&server, "", "erp", &[]), "approle"));
    assert_eq!(value(&providers, "vault:secret/erp/db#password").await, VALUE);
    server.bao(&["operator", "seal"]);
    let app = AppName::parse("erp").unwrap();
    let asker = Asker { app: &app, tree: None, by_operator: false };
    let reference = SecretRef::parse("vault:secret/erp/db#password").unwrap();
    let error = providers.resolve(asker, &reference, Instant::now() + Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(&error.fault, Fault::Deadline { last: Some(last) } if matches!(**last, Fault::Sealed { .. })), "{}", error.fault);
    assert!(error.hint().contains("unseal"));
    let seen = providers.look(&vault(), within(10)).await.unwrap_err();
    assert!(matches!(seen.fault, Fault::Sealed { .. }), "{}", seen.fault);
    let log = server.log();
    let key = log.lines().find_map(|line| line.strip_prefix("Unseal Key: ")).unwrap();
    let waiting = providers.resolve(asker, &reference, within(60));
    let unsealed = tokio::task::spawn_blocking({
        let key = key.to_owned();
        move || {
            server.bao(&["operator", "unseal", &key]);
            server
        }
    });
    let (secret, server) = tokio::join!(waiting, unsealed);
    assert_eq!(secret.unwrap().value.reveal_text(), Some(VALUE));
    drop(server);
}

#[tokio::test]
async fn a_login_that_ends_is_made_anew_and_a_token_of_a_file_is_kept_alive() {
    let server = Server::start();
    server.policy("", "erp", &READS);
    server.bao(&["kv", "put", "-mount=secret", "erp/db", &format!("password={VALUE}")]);
    let by_role = providers(server.settings(approle(&server, "", "erp", &["token_ttl=600"]), "approle"));
    assert_eq!(value(&by_role, "vault:secret/erp/db#password").await, VALUE);
    server.bao(&["token", "revoke", "-mode=path", "auth/approle"]);
    assert_eq!(value(&by_role, "vault:secret/erp/db#password").await, VALUE);

    let create =
        |ttl: &str| server.bao(&["token", "create", "-field=token", "-policy=erp", &format!("-period={ttl}"), "-no-default-policy=false"]);
    let token = create("24s");
    let file = server.private("token", &token);
    let by_token = providers(server.settings(Login::Token(HostFile::Path(file)), "token"));
    assert_eq!(value(&by_token, "vault:secret/erp/db#password").await, VALUE);
    let again = by_token.tend(Duration::from_secs(10)).await.unwrap();
    assert!((Duration::from_secs(8)..=Duration::from_secs(12)).contains(&again), "{again:?}");
    tokio::time::sleep(again).await;
    by_token.tend(Duration::from_secs(10)).await.unwrap();
    let left: u64 = server.bao(&["token", "lookup", "-field=ttl", &token]).trim_end_matches('s').parse().unwrap();
    assert!(left > 20, "it was renewed: {left} s");

    server.bao(&["token", "revoke", &token]);
    assert!(matches!(fault(&by_token, "vault:secret/erp/db#password").await, Fault::Login { how: "token", status: 403, .. }));
    server.private("token", &create("60s"));
    assert_eq!(value(&by_token, "vault:secret/erp/db#password").await, VALUE, "what is put there later is used");
}
