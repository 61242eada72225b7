//! What must hold of the whole crate: who may have what, servers that misbehave, and that nothing tells a value.

mod logs;
mod server;

use async_trait::async_trait;
use roadstead_model::{AppName, HttpUrl, ProviderName};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

use crate::{
    Asker, ClientFiles, CommandSettings, Content, CredentialSettings, Document, Engine, Fault, Format, HostFile, KindSettings, Lease,
    Login, Pattern, Place, Provider, ProviderSettings, Providers, Secret, SecretError, SecretPath, SecretRef, Value, VaultSettings,
};
use logs::Logs;
use server::{Server, answer};

const CANARY: &str = "canary-7f3a9c51d2";

fn app(name: &str) -> AppName {
    AppName::parse(name).unwrap()
}

fn named(name: &str) -> ProviderName {
    ProviderName::parse(name).unwrap()
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
}

fn of(name: ProviderName, settings: ProviderSettings) -> Providers {
    let nothing = ClientFiles { certificate: "/nonexistent".into(), key: "/nonexistent".into() };
    Providers::from_settings(&BTreeMap::from([(name, settings)]), &nothing, None)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

async fn resolve(providers: &Providers, of: &str, reference: &str) -> Result<Secret, SecretError> {
    let app = app(of);
    providers.resolve(Asker { app: &app, tree: None, by_operator: false }, &SecretRef::parse(reference).unwrap(), soon()).await
}

fn text(secret: &Secret) -> &str {
    secret.value.reveal_text().unwrap()
}

/// All that a person could see of an error.
fn told(error: &SecretError) -> String {
    let told = format!("{error} / {} / {error:?} / {}", error.fault, error.hint());
    assert!(!told.contains(CANARY), "{told}");
    told
}

/// Issues a user and a password each time.
#[derive(Debug, Default)]
struct Issuer {
    issued: AtomicUsize,
    ended: Mutex<Vec<String>>,
}

#[async_trait]
impl Provider for Issuer {
    async fn read(&self, place: Place<'_>, _until: Instant) -> Result<Document, Fault> {
        if place.path.as_str().ends_with("missing") {
            return Err(Fault::Missing { place: place.path.to_string() });
        }
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let values = ["user", "password"].map(|key| (key.to_owned(), Value::new(format!("{key}-{number}").into_bytes())));
        let lease = Lease::new(named("db"), format!("db/{number}"), Duration::from_secs(60), true, Duration::from_secs(30));
        Ok(Document { content: Content::Keys(values.into()), version: None, lease: Some(lease) })
    }

    async fn revoke(&self, lease: &Lease, _until: Instant) -> Result<(), Fault> {
        self.ended.lock().unwrap().push(lease.id().to_owned());
        Ok(())
    }

    async fn look(&self, _until: Instant) -> Result<String, Fault> {
        Ok(String::new())
    }
}

#[tokio::test]
async fn what_is_issued_together_belongs_together_and_ends_when_it_is_of_no_use() {
    let issuer = Arc::new(Issuer::default());
    let providers = Providers::default().with(named("db"), Arc::<Issuer>::clone(&issuer), patterns(&["{app}", "{app}/*"]));
    let erp = app("erp");
    let asker = Asker { app: &erp, tree: None, by_operator: false };
    let references = |texts: &[&str]| texts.iter().map(|text| SecretRef::parse(text).unwrap()).collect::<Vec<_>>();
    let mut issued = Vec::new();
    let three = references(&["db:erp#password", "db:erp/b#user", "db:erp#user"]);
    let all = providers.resolve_all(asker, &three, soon(), &mut issued).await.unwrap();
    assert_eq!(all.iter().map(text).collect::<Vec<_>>(), ["password-0", "user-1", "user-0"]);
    assert_eq!(issued.iter().map(Lease::id).collect::<Vec<_>>(), ["db/0", "db/1"]);
    // Of what fails, and of what is called off, it is known what was issued by then.
    let mut issued = Vec::new();
    let failed = providers.resolve_all(asker, &references(&["db:erp#user", "db:erp/missing#user"]), soon(), &mut issued).await.unwrap_err();
    assert!(told(&failed).contains("db:erp/missing#user cannot be had"));
    providers.end_in_vain(&issued).await;
    assert_eq!(*issuer.ended.lock().unwrap(), ["db/2"]);
    // What is not allowed is known before anything is issued.
    providers.resolve_all(asker, &references(&["db:erp#user", "db:shop#user"]), soon(), &mut issued).await.unwrap_err();
    assert_eq!(issuer.issued.load(Ordering::Relaxed), 3);
    let many = references(&vec!["db:erp#user"; crate::REFERENCES_MAX + 1]);
    assert!(matches!(providers.resolve_all(asker, &many, soon(), &mut issued).await.unwrap_err().fault, Fault::TooMany { .. }));
}

#[tokio::test]
async fn an_app_gets_nothing_of_another_and_nothing_that_nobody_allowed() {
    let issuer = Arc::new(Issuer::default());
    let providers = Providers::default().with(named("db"), Arc::<Issuer>::clone(&issuer), patterns(&["{app}", "{app}/*", "shared"]));
    assert_eq!(text(&resolve(&providers, "erp", "db:erp/x#user").await.unwrap()), "user-0");
    assert_eq!(text(&resolve(&providers, "erp", "db:shared#user").await.unwrap()), "user-1");
    for reference in ["db:shop/x#user", "db:erp-2#user", "db:shared/x#user", "db:x/erp#user"] {
        let error = resolve(&providers, "erp", reference).await.unwrap_err();
        assert!(matches!(error.fault, Fault::NotAllowed { .. }), "{reference}: {}", told(&error));
    }
    assert!(matches!(resolve(&providers, "erp", "other:erp#user").await.unwrap_err().fault, Fault::NoProvider(_)));
    // What the host's operator names is the operator's to name; a section that is closed to an app stays closed.
    let (erp, secret) = (app("erp"), SecretRef::parse("db:migrators/erp#user").unwrap());
    let by_operator = Asker { app: &erp, tree: None, by_operator: true };
    assert_eq!(text(&providers.resolve(by_operator, &secret, soon()).await.unwrap()), "user-2");
    let command = KindSettings::Command(printing("echo x", Format::Text));
    let only_shop = ProviderSettings { kind: command, apps: [app("shop")].into(), allow: patterns(&["*"]) };
    let providers = of(named("cmd"), only_shop);
    assert!(matches!(resolve(&providers, "erp", "cmd:x").await.unwrap_err().fault, Fault::NotAllowed { .. }));
    let refused = providers.resolve(by_operator, &SecretRef::parse("cmd:x").unwrap(), soon()).await.unwrap_err();
    assert!(matches!(refused.fault, Fault::NotAllowed { .. }));
    assert_eq!(text(&resolve(&providers, "shop", "cmd:x").await.unwrap()), "x");
}

fn printing(script: &str, format: Format) -> CommandSettings {
    let words = ["/bin/sh", "-c", script, "sh", "{app}", "{path}"].map(str::to_owned).to_vec();
    CommandSettings { words, environment: Vec::new(), user: None, within: Duration::from_secs(20), format, newest: None }
}

fn with_command(settings: CommandSettings) -> Providers {
    let settings = ProviderSettings { kind: KindSettings::Command(settings), apps: [].into(), allow: patterns(&["*"]) };
    of(named("cmd"), settings)
}

#[tokio::test]
async fn a_command_is_told_what_is_asked_for_and_by_nothing_else() {
    let providers = with_command(printing("printf '%s|' \"$0\" \"$@\"", Format::Text));
    assert_eq!(text(&resolve(&providers, "erp", "cmd:prod/db").await.unwrap()), "sh|erp|prod/db|");
    assert!(matches!(resolve(&providers, "erp", "cmd:prod/db#key").await.unwrap_err().fault, Fault::NoKeys { .. }));
    assert!(matches!(resolve(&providers, "erp", "cmd:prod/db?version=2").await.unwrap_err().fault, Fault::NoVersions));
    let mut settings = printing("printf '%s|' \"$@\"", Format::Text);
    settings.words.extend(["--{key}={version}".to_owned(), "{path}{key}".to_owned()]);
    let providers = with_command(settings.clone());
    assert!(matches!(resolve(&providers, "erp", "cmd:a#k").await.unwrap_err().fault, Fault::Path(_)));
    assert!(matches!(resolve(&providers, "erp", "cmd:a?version=1").await.unwrap_err().fault, Fault::Path(_)));
    let secret = resolve(&providers, "erp", "cmd:a#k?version=7").await.unwrap();
    assert_eq!((text(&secret), secret.version), ("erp|a|--k=7|ak|", Some(7)));
    settings.newest = Some("latest".to_owned());
    assert_eq!(text(&resolve(&with_command(settings), "erp", "cmd:a#k").await.unwrap()), "erp|a|--k=latest|ak|");
    let json = with_command(printing("echo '{\"user\": \"u\", \"port\": 5432}'", Format::Json));
    assert_eq!(text(&resolve(&json, "erp", "cmd:a#port").await.unwrap()), "5432");
    assert!(matches!(resolve(&json, "erp", "cmd:a").await.unwrap_err().fault, Fault::WhichKey { count: 2 }));
    assert!(matches!(resolve(&json, "erp", "cmd:a#none").await.unwrap_err().fault, Fault::NoSuchKey { .. }));
    let large = with_command(printing("head -c 70000 /dev/zero", Format::Binary));
    assert!(matches!(resolve(&large, "erp", "cmd:a").await.unwrap_err().fault, Fault::LargeValue { .. }));
}

#[tokio::test]
async fn plain_credentials_are_root_only_files_of_their_folders() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, mode| {
        let path = folder.path().join(name);
        fs::write(&path, format!("{CANARY}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("erp.key", 0o600);
    write("erp.open", 0o644);
    let settings = CredentialSettings { plain: vec![folder.path().into()], encrypted: Vec::new(), format: Format::Text };
    let settings = ProviderSettings { kind: KindSettings::Credential(settings), apps: [].into(), allow: patterns(&["*"]) };
    let providers = of(named("credential"), settings);
    assert_eq!(text(&resolve(&providers, "erp", "credential:erp.key").await.unwrap()), CANARY);
    assert!(matches!(resolve(&providers, "erp", "credential:erp.open").await.unwrap_err().fault, Fault::Exposed { .. }));
    assert!(matches!(resolve(&providers, "erp", "credential:none").await.unwrap_err().fault, Fault::Missing { .. }));
    assert!(matches!(resolve(&providers, "erp", "credential:a/b").await.unwrap_err().fault, Fault::Path(_)));
    assert!(matches!(resolve(&providers, "erp", "credential:a?version=1").await.unwrap_err().fault, Fault::NoVersions));
    assert!(providers.look(&named("credential"), soon()).await.unwrap().contains("credentials in"));
}

fn token_file(folder: &Path, token: &str) -> HostFile {
    let path = folder.join("token");
    fs::write(&path, token).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    HostFile::Path(path)
}

fn vault(addresses: &[&str], login: Login) -> Providers {
    let path = |text: &str| SecretPath::parse(text).unwrap();
    let vault = VaultSettings {
        addresses: addresses.iter().map(|address| HttpUrl::parse(address).unwrap()).collect(),
        authorities: None,
        namespace: None,
        mounts: [(path("secret"), Engine::Kv), (path("secret/team"), Engine::Kv), (path("database"), Engine::Database)].into(),
        login,
        login_mount: path("approle"),
    };
    let settings = ProviderSettings { kind: KindSettings::Vault(Box::new(vault)), apps: [].into(), allow: patterns(&["*"]) };
    of(named("vault"), settings)
}

fn lookup() -> Vec<u8> {
    answer("200 OK", "", &format!(r#"{{"data": {{"ttl": 3600, "renewable": true, "id": "{CANARY}"}}}}"#))
}

fn kv() -> Vec<u8> {
    answer("200 OK", "", &format!(r#"{{"data": {{"data": {{"key": "{CANARY}"}}, "metadata": {{"version": 4}}}}}}"#))
}

#[tokio::test]
async fn the_documented_questions_are_asked() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|request| if request.contains("lookup-self") { lookup() } else { kv() }).await;
    let providers = vault(&[&server.url], Login::Token(token_file(folder.path(), "s.token\n")));
    let secret = resolve(&providers, "erp", "vault:secret/erp/db#key?version=4").await.unwrap();
    assert_eq!((text(&secret), secret.version), (CANARY, Some(4)));
    resolve(&providers, "erp", "vault:secret/team/erp#key").await.unwrap();
    let asked = server.asked();
    let lines: Vec<&str> = asked.iter().filter_map(|request| request.lines().next()).collect();
    let first = ["GET /v1/auth/token/lookup-self HTTP/1.1", "GET /v1/secret/data/erp/db?version=4 HTTP/1.1"];
    assert_eq!(lines, [first[0], first[1], "GET /v1/secret/team/data/erp HTTP/1.1"]);
    for request in &asked {
        let request = request.to_ascii_lowercase();
        assert!(request.contains("x-vault-request: true") && request.contains("x-vault-token: s.token\r\n"), "{request}");
        assert!(!request.contains("namespace"));
    }
    assert!(matches!(resolve(&providers, "erp", "vault:sys/mounts#key").await.unwrap_err().fault, Fault::UnknownMount(_)));
    assert!(matches!(resolve(&providers, "erp", "vault:secret#key").await.unwrap_err().fault, Fault::UnknownMount(_)));
    assert!(matches!(resolve(&providers, "erp", "vault:database/a/b#key").await.unwrap_err().fault, Fault::Path(_)));
    assert!(matches!(resolve(&providers, "erp", "vault:database/a#key?version=1").await.unwrap_err().fault, Fault::NoVersions));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn a_server_that_sends_on_is_followed_to_its_own_kind_alone() {
    let folder = tempfile::tempdir().unwrap();
    let stranger = Server::start(|_| kv()).await;
    let active = Server::start(|request| if request.contains("lookup-self") { lookup() } else { kv() }).await;
    let to = |url: &str| answer("307 Temporary Redirect", &format!("Location: {url}/v1/sys/raw/steal\r\n"), "");
    let (known, unknown) = (active.url.clone(), stranger.url.clone());
    let standby = Server::start(move |_| to(&known)).await;
    let token = || Login::Token(token_file(folder.path(), "s.token"));
    let providers = vault(&[&standby.url, &active.url], token());
    assert_eq!(text(&resolve(&providers, "erp", "vault:secret/erp#key").await.unwrap()), CANARY);
    assert!(active.asked().iter().all(|request| !request.contains("steal")), "the question stays the same");
    let standby = Server::start(move |_| to(&unknown)).await;
    let error = resolve(&vault(&[&standby.url], token()), "erp", "vault:secret/erp#key").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Elsewhere { .. }), "{}", told(&error));
    assert!(stranger.asked().is_empty(), "no token goes to a stranger");
    for location in ["", "/v1/secret", "ftp://x/", &format!("http://{CANARY}@x/"), "http://x:1/ y"] {
        let location = location.to_owned();
        let standby = Server::start(move |_| answer("307 Temporary Redirect", &format!("Location: {location}\r\n"), "")).await;
        let error = resolve(&vault(&[&standby.url], token()), "erp", "vault:secret/erp#key").await.unwrap_err();
        assert!(matches!(error.fault, Fault::Elsewhere { .. }), "{}", told(&error));
    }
}

#[tokio::test]
async fn servers_that_fail_are_asked_again_until_time_is_up() {
    let folder = tempfile::tempdir().unwrap();
    let token = || Login::Token(token_file(folder.path(), "s.token"));
    let times = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&times);
    let flaky = Server::start(move |request| match (count.fetch_add(1, Ordering::Relaxed), request) {
        (0 | 2, _) => answer("502 Bad Gateway", "", CANARY),
        (_, request) if request.contains("lookup-self") => lookup(),
        _ => kv(),
    });
    let flaky = flaky.await;
    assert_eq!(text(&resolve(&vault(&[&flaky.url], token()), "erp", "vault:secret/erp#key").await.unwrap()), CANARY);
    assert_eq!(times.load(Ordering::Relaxed), 4);
    // Nobody listens at the first address; the second is asked.
    let good = Server::start(|request| if request.contains("lookup-self") { lookup() } else { kv() }).await;
    let nobody = server::nobody().await;
    resolve(&vault(&[&nobody, &good.url], token()), "erp", "vault:secret/erp#key").await.unwrap();
    let erp = app("erp");
    let within = async |providers: Providers, millis| {
        let until = Instant::now() + Duration::from_millis(millis);
        let reference = SecretRef::parse("vault:secret/erp#key").unwrap();
        let error = providers.resolve(Asker { app: &erp, tree: None, by_operator: false }, &reference, until).await.unwrap_err();
        assert!(matches!(error.fault, Fault::Deadline { .. }), "{}", told(&error));
        told(&error)
    };
    assert!(within(vault(&[&nobody], token()), 600).await.contains("cannot be reached"));
    let sealed = Server::start(|_| answer("503 Service Unavailable", "", r#"{"errors": ["Vault is sealed"]}"#)).await;
    let told = within(vault(&[&sealed.url], token()), 900).await;
    assert!(told.contains("is sealed") && told.contains("unseal"), "{told}");
    assert!(sealed.asked().len() > 1);
    let (one, other) = server::each_other().await;
    assert!(within(vault(&[&one.url, &other.url], token()), 600).await.contains("HTTP status 307"));
    let silent = Server::silent().await;
    assert!(within(vault(&[&silent.url], token()), 400).await.contains("no answer within"));
}

#[tokio::test]
async fn answers_that_are_none_show_nothing_of_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let erp = app("erp");
    let json = |status: &str, body: &str| answer(status, "", body);
    let large = format!(r#"{{"data": {{"data": {{"key": "{}{CANARY}"}}}}}}"#, "x".repeat(1_100_000));
    let answers = [
        json("200 OK", CANARY),
        json("200 OK", &format!(r#"{{"data": {{"data": {{"key": {{"{CANARY}": "{CANARY}"}}}}, "metadata": {{"version": 1}}}}}}"#)),
        json("200 OK", &format!(r#"{{"data": {{"data": {{"key": "{CANARY}"}}, "metadata": {{"version": "{CANARY}"}}}}}}"#)),
        json("200 OK", &large),
        json("400 Bad Request", &format!(r#"{{"errors": ["{CANARY}"]}}"#)),
        json("403 Forbidden", &format!(r#"{{"errors": ["{CANARY}"]}}"#)),
        json("404 Not Found", &format!(r#"{{"errors": ["no handler for route {CANARY}"]}}"#)),
        json("405 Method Not Allowed", CANARY),
        json("301 Moved Permanently", CANARY),
        format!("{CANARY}\r\n\r\n").into_bytes(),
        format!("HTTP/1.1 200 {CANARY}\r\nContent-Length: 5000\r\n\r\n{CANARY}").into_bytes(),
        format!("HTTP/1.1 200 OK\r\n{}: {}\r\n\r\n", CANARY, "x".repeat(100_000)).into_bytes(),
        Vec::new(),
    ];
    for given in answers {
        let head = String::from_utf8_lossy(&given[..given.len().min(60)]).into_owned();
        let server = Server::start(move |request| if request.contains("lookup-self") { lookup() } else { given.clone() }).await;
        let providers = vault(&[&server.url], Login::Token(token_file(folder.path(), CANARY)));
        let reference = SecretRef::parse("vault:secret/erp#key").unwrap();
        let until = Instant::now() + Duration::from_millis(700);
        let error = providers.resolve(Asker { app: &erp, tree: None, by_operator: false }, &reference, until).await.expect_err(&head);
        assert!(!told(&error).is_empty());
        assert!(!format!("{providers:?}").contains(CANARY));
    }
}

#[tokio::test]
async fn a_token_that_no_header_holds_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_| kv()).await;
    let token = Login::Token(token_file(folder.path(), &format!("{CANARY}\r\nX-Vault-Token: root")));
    let error = resolve(&vault(&[&server.url], token), "erp", "vault:secret/erp#key").await.unwrap_err();
    assert!(told(&error).contains("no header can hold"));
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_login_that_is_refused_and_one_that_ended_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let role = || token_file(folder.path(), CANARY);
    let by_role = || Login::AppRole { role_id: role(), secret_id: Some(role()) };
    let refusing =
        Server::start(|_| answer("400 Bad Request", "", &format!(r#"{{"errors": ["invalid role or secret ID {CANARY}"]}}"#))).await;
    let error = resolve(&vault(&[&refusing.url], by_role()), "erp", "vault:secret/erp#key").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Login { status: 400, .. }), "{}", told(&error));
    // The second question is refused once: the token has ended meanwhile, and the host logs in again.
    let logins = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&logins);
    let server = Server::start(move |request| {
        if request.contains("/v1/auth/approle/login") {
            let number = count.fetch_add(1, Ordering::Relaxed);
            return answer("200 OK", "", &format!(r#"{{"auth": {{"client_token": "t{number}", "lease_duration": 600}}}}"#));
        }
        let ended = request.contains("second") && request.contains("t0");
        if ended { answer("403 Forbidden", "", r#"{"errors": ["permission denied"]}"#) } else { kv() }
    });
    let server = server.await;
    let providers = vault(&[&server.url], by_role());
    for path in ["first", "first", "second", "second"] {
        resolve(&providers, "erp", &format!("vault:secret/{path}#key")).await.unwrap();
    }
    assert_eq!(logins.load(Ordering::Relaxed), 2);
    let login = server.asked().into_iter().next().unwrap();
    assert!(login.starts_with("POST ") && login.contains(&format!(r#"{{"role_id":"{CANARY}","secret_id":"{CANARY}"}}"#)), "{login}");
}

#[test]
fn no_log_line_tells_a_value() {
    let logs = Logs::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    logs.gather(|| {
        runtime.block_on(async {
            tracing::trace!("logs are gathered");
            let folder = tempfile::tempdir().unwrap();
            let server = Server::start(|request| if request.contains("lookup-self") { lookup() } else { kv() }).await;
            let providers = vault(&[&server.url], Login::Token(token_file(folder.path(), CANARY)));
            assert_eq!(text(&resolve(&providers, "erp", "vault:secret/erp#key").await.unwrap()), CANARY);
            let refusing = Server::start(|_| answer("403 Forbidden", "", CANARY)).await;
            let refused = vault(&[&refusing.url], Login::Token(token_file(folder.path(), CANARY)));
            assert!(refused.tend(Duration::from_secs(5)).await.is_some());
            let failing = with_command(printing(&format!("echo {CANARY} | tee /dev/stderr; exit 1"), Format::Text));
            resolve(&failing, "erp", "cmd:x").await.unwrap_err();
        });
    });
    let text = logs.text();
    assert!(text.contains("logs are gathered") && text.contains("is not kept alive"), "{text}");
    assert!(!text.contains(CANARY), "{text}");
}
