//! `[secrets.NAME]`, looked at: whether the provider answers, whether the host's login works. No secret is read.

use roadstead_model::{AppName, Finding, ProviderName, SecretRef, VariableName, Verdict};
use roadstead_secrets::{KindSettings, Login, ProviderSettings, Providers};
use roadstead_worker::failure::chain;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

use super::program::program_of_root;
use crate::backup::bucket;
use crate::identity;
use crate::layout::Layout;
use crate::publish::folder::Folder;
use crate::settings::{BucketSettings, MigrationSettings, StaticSettings};

const CHECK: &str = "secrets";
/// How long a provider may take; a host has several servers to ask.
const PATIENCE: Duration = Duration::from_secs(15);

/// Looks at each provider.
pub(super) async fn secrets(layout: &Layout, settings: &BTreeMap<ProviderName, ProviderSettings>) -> Vec<Finding> {
    let providers = Providers::from_settings(settings, &identity::files(layout), None);
    let mut findings = Vec::new();
    for (name, settings) in settings {
        findings.push(look(name, settings, &providers).await);
    }
    findings
}

/// What root says of the credentials of an app's migrations. Nothing is asked for: that would issue some.
pub(super) fn migrations(app: &AppName, own: &MigrationSettings, providers: &BTreeMap<ProviderName, ProviderSettings>) -> Finding {
    let names: Vec<&str> = own.variables.keys().map(VariableName::as_str).collect();
    let says = format!("{app}: {} for the steps that change its database", names.join(", "));
    let references = own.variables.values().flat_map(|template| template.references());
    match references.into_iter().find(|reference| given_anyway(app, reference, providers)) {
        None => Finding::ok("migrations", says),
        Some(reference) => {
            let says = format!("{says}; but `allow` of [secrets.{}] lets the app's own configuration have {reference}", reference.provider);
            let hint = "keep it where `allow` does not reach: what is named under [migrations.APP] needs no `allow`";
            Finding::warning("migrations", says, hint)
        }
    }
}

/// What root says of the bucket of an app's backups.
pub(super) fn bucket(app: &AppName, own: &BucketSettings, providers: &BTreeMap<ProviderName, ProviderSettings>) -> Finding {
    let hint = "keep it where `allow` does not reach: with this key the app could remove its backups";
    of_bucket("backup", format!("{app}: backups go to {}", bucket::place(own, "")), hint, app, own, providers)
}

/// What root says of where an app's static files are published.
pub(super) fn statics(app: &AppName, own: &StaticSettings, providers: &BTreeMap<ProviderName, ProviderSettings>) -> Finding {
    let says = |place: &str| format!("{app}: static files go to {place}");
    match own {
        StaticSettings::Bucket { bucket: own, .. } => {
            let hint = "keep it where `allow` does not reach: with this key the app could change what other releases hand out";
            of_bucket("static", says(&bucket::place(own, "")), hint, app, own, providers)
        }
        StaticSettings::Folder(folder) => match Folder::at(folder).look() {
            Ok(()) => Finding::ok("static", says(&folder.display().to_string())),
            Err(error) => {
                let hint = "make it, or mount what it lies in: no release is deployed here before";
                Finding::failed("static", format!("{}: {error}", says(&folder.display().to_string())), hint)
            }
        },
    }
}

/// Nothing is asked of a bucket: that would take its keys.
fn of_bucket(
    check: &str,
    says: String,
    hint: &str,
    app: &AppName,
    own: &BucketSettings,
    providers: &BTreeMap<ProviderName, ProviderSettings>,
) -> Finding {
    let references = [Some(&own.access_key), Some(&own.secret_key), own.session_token.as_ref()];
    match references.into_iter().flatten().find(|reference| given_anyway(app, reference, providers)) {
        None => Finding::ok(check, says),
        Some(reference) => {
            let says = format!("{says}; but `allow` of [secrets.{}] lets the app's own configuration have {reference}", reference.provider);
            Finding::warning(check, says, hint)
        }
    }
}

/// Whether the app's own configuration could name what is not meant for the app. What is issued for a time is given to no release.
fn given_anyway(app: &AppName, reference: &SecretRef, providers: &BTreeMap<ProviderName, ProviderSettings>) -> bool {
    let provider = providers.get(&reference.provider);
    provider.is_some_and(|provider| provider.allows(app, &reference.path) && !provider.issues(&reference.path))
}

async fn look(name: &ProviderName, settings: &ProviderSettings, providers: &Providers) -> Finding {
    let program = match &settings.kind {
        KindSettings::Command(command) => command.words.first().map(Path::new),
        KindSettings::Age(age) => Some(age.program.as_path()),
        KindSettings::Vault(_) | KindSettings::Credential(_) => None,
    };
    let finding = program.map(|program| program_of_root(CHECK, name.as_str(), program));
    if let Some(finding) = finding.filter(|finding| finding.verdict != Verdict::Ok) {
        return finding;
    }
    match providers.look(name, Instant::now() + PATIENCE).await {
        Ok(says) if shows_own_identity(&settings.kind) => {
            let hint = "give the host a key of another authority (`certificate` and `key`), see docs/secrets.md";
            let says = format!(
                "{name}: {says}; whoever takes over the controller could log in as any host, since it issues what hosts show there"
            );
            Finding::warning(CHECK, says, hint)
        }
        Ok(says) => Finding::ok(CHECK, format!("{name}: {says}")),
        Err(error) => Finding::failed(CHECK, chain(&error), error.hint()),
    }
}

fn shows_own_identity(kind: &KindSettings) -> bool {
    matches!(kind, KindSettings::Vault(vault) if matches!(vault.login, Login::Certificate { files: None, .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::HttpUrl;
    use roadstead_secrets::{AgeSettings, CredentialSettings, Engine, Format, HostFile, SecretPath, VaultSettings};
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_of_the_bucket_that_the_app_may_have_anyway_is_told() {
        let of = |secret: &str| {
            let text = format!(
                "[secrets.keys]\nkind = \"credential\"\n[backup.erp]\nrecipients = [\"age1{}\"]\n[backup.erp.bucket]\nendpoint = \"https://s3\"\n\
                 bucket = \"backups\"\naccess-key = \"keys:bucket-access\"\nsecret-key = \"{secret}\"\n",
                "q".repeat(58)
            );
            let settings = crate::settings::parse(&text).unwrap();
            let app = AppName::parse("erp").unwrap();
            super::bucket(&app, settings.backups[&app].bucket.as_ref().unwrap(), &settings.secrets)
        };
        let (good, bad) = (of("keys:bucket-secret"), of("keys:erp.secret"));
        assert!(good.verdict == Verdict::Ok && good.says.contains("s3://backups/erp/"), "{good:?}");
        assert!(bad.verdict == Verdict::Warning && bad.says.contains("keys:erp.secret"), "{bad:?}");
    }

    #[test]
    fn where_static_files_go_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let app = AppName::parse("erp").unwrap();
        let of = |section: &str| {
            let settings = crate::settings::parse(&format!("[secrets.keys]\nkind = \"credential\"\n{section}")).unwrap();
            super::statics(&app, &settings.statics[&app], &settings.secrets)
        };
        let directory = |path: &Path| of(&format!("[static.erp]\ndirectory = \"{}\"\n", path.display()));
        let (there, missing) = (directory(folder.path()), directory(&folder.path().join("none")));
        assert!(there.verdict == Verdict::Ok && there.says.contains("static files go to /"), "{there:?}");
        assert!(missing.verdict == Verdict::Failed && missing.hint.contains("mount"), "{missing:?}");
        let bucket = |secret: &str| {
            of(&format!(
                "[static.erp.bucket]\nendpoint = \"https://s3\"\nbucket = \"cdn\"\naccess-key = \"keys:bucket-access\"\nsecret-key = \"{secret}\"\n"
            ))
        };
        let (good, bad) = (bucket("keys:bucket-secret"), bucket("keys:erp.secret"));
        assert!(good.verdict == Verdict::Ok && good.says.contains("s3://cdn/erp/"), "{good:?}");
        assert!(bad.verdict == Verdict::Warning && bad.says.contains("keys:erp.secret"), "{bad:?}");
    }

    #[test]
    fn a_password_that_the_app_may_have_anyway_is_told() {
        let of = |secret: &str| {
            let text = format!(
                "[secrets.keys]\nkind = \"credential\"\n[secrets.vault]\nkind = \"vault\"\naddresses = [\"https://vault\"]\nlogin = \"token\"\n\
                 token-file = \"/x/token\"\nmounts = {{ database = \"database\" }}\nallow = [\"*\"]\n[migrations.erp]\nenv = {{ DB_PASSWORD = \"{secret}\" }}\n"
            );
            let settings = crate::settings::parse(&text).unwrap();
            let app = AppName::parse("erp").unwrap();
            migrations(&app, &settings.migrations[&app], &settings.secrets)
        };
        assert_eq!(of("keys:migrator.erp").verdict, Verdict::Ok);
        assert_eq!(of("vault:database/erp-migrator#password").verdict, Verdict::Ok);
        let warned = of("keys:erp.migrator");
        assert!(warned.verdict == Verdict::Warning && warned.says.contains("keys:erp.migrator"), "{warned:?}");
    }

    #[tokio::test]
    async fn each_provider_is_told_and_nothing_secret() {
        let root = tempfile::tempdir().unwrap();
        let token = root.path().join("token");
        fs::write(&token, "canary").unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
        let path = |text: &str| SecretPath::parse(text).unwrap();
        let vault = VaultSettings {
            addresses: vec![HttpUrl::parse("http://127.0.0.1:1").unwrap()],
            authorities: None,
            namespace: None,
            mounts: [(path("secret"), Engine::Kv)].into(),
            login: Login::Token(HostFile::Path(token)),
            login_mount: path("token"),
        };
        let age = AgeSettings { program: "/nonexistent/age".into(), identities: vec!["/nonexistent/key".into()], format: Format::Env };
        let none = CredentialSettings { plain: Vec::new(), encrypted: Vec::new(), format: Format::Text };
        let kinds = [
            ("vault", KindSettings::Vault(Box::new(vault))),
            ("age", KindSettings::Age(age)),
            ("credential", KindSettings::Credential(none)),
        ];
        let settings = kinds.into_iter().map(|(name, kind)| {
            let settings = ProviderSettings { kind, apps: [].into(), allow: Vec::new() };
            (ProviderName::parse(name).unwrap(), settings)
        });
        let findings = secrets(&Layout::new(root.path()), &settings.collect()).await;
        let of = |verdict| findings.iter().filter(move |finding| finding.verdict == verdict);
        assert_eq!((of(Verdict::Ok).count(), of(Verdict::Failed).count()), (1, 2), "{findings:?}");
        let text = format!("{findings:?}");
        assert!(text.contains("127.0.0.1:1 cannot be reached") && text.contains("/nonexistent/age") && !text.contains("canary"), "{text}");
        assert!(of(Verdict::Failed).all(|finding| !finding.hint.is_empty()));
    }
}
