use super::*;

fn of(text: &str) -> Result<ProviderSettings, String> {
    let section: Section = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    section.check(0).map_err(|(_, message)| message)
}

const VAULT: &str = "kind = \"vault\"\naddresses = [\"https://vault.example.org:8200\"]\n";

fn vault(more: &str) -> Result<VaultSettings, String> {
    match of(&format!("{VAULT}{more}"))?.kind {
        KindSettings::Vault(vault) => Ok(*vault),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_vault_needs_little() {
    let settings = of(&format!("{VAULT}login = \"certificate\"\nown-identity = true\n")).unwrap();
    assert_eq!(settings.allow, ["secret/{app}", "secret/{app}/*"].map(|text| Pattern::parse(text).unwrap()));
    let KindSettings::Vault(vault) = settings.kind else { panic!("a vault") };
    assert_eq!(vault.login, Login::Certificate { files: None, role: None });
    assert_eq!((vault.login_mount.as_str(), vault.mounts.len()), ("cert", 1));
}

#[test]
fn everything_about_a_vault_can_be_said() {
    let text = "authorities = \"/etc/roadstead/vault-ca.pem\"\nnamespace = \"team/erp\"\nmounts = { \"team/kv\" = \"kv\", database = \"database\" }\n\
                login = \"approle\"\nlogin-mount = \"hosts\"\nrole-id-file = \"/etc/roadstead/role-id\"\nsecret-id-file = \"credential:secret-id\"\n";
    let vault = vault(text).unwrap();
    assert_eq!((vault.namespace.unwrap().as_str(), vault.login_mount.as_str()), ("team/erp", "hosts"));
    assert_eq!(vault.mounts.values().copied().collect::<Vec<_>>(), [Engine::Database, Engine::Kv]);
    let Login::AppRole { role_id, secret_id } = vault.login else { panic!("an AppRole") };
    assert_eq!((role_id, secret_id), (HostFile::Path("/etc/roadstead/role-id".into()), Some(HostFile::Credential("secret-id".into()))));
    let own =
        super::tests::vault("login = \"certificate\"\nrole = \"hosts\"\ncertificate = \"/etc/a.pem\"\nkey = \"/etc/b.pem\"\n").unwrap();
    let files = ClientFiles { certificate: "/etc/a.pem".into(), key: "/etc/b.pem".into() };
    assert_eq!(own.login, Login::Certificate { files: Some(files), role: Some("hosts".into()) });
}

#[test]
fn the_other_kinds_are_read() {
    let age = of("kind = \"age\"\nidentities = [\"/etc/roadstead/age/key.txt\"]\napps = [\"erp\"]\n").unwrap();
    assert_eq!((age.apps.len(), age.allow), (1, vec![Pattern::parse("*").unwrap()]));
    let KindSettings::Age(age) = age.kind else { panic!("age") };
    assert_eq!((age.program.to_str(), age.format), (Some("/usr/bin/age"), Format::Env));
    let credential = of("kind = \"credential\"\nallow = [\"{app}.*\"]\n").unwrap();
    assert_eq!(credential.allow.len(), 1);
    let command = of("kind = \"command\"\ncommand = [\"/usr/bin/gcloud\", \"secrets\", \"access\", \"{version}\", \"--secret={path}\"]\n\
                      environment = { CLOUDSDK_CONFIG = \"/etc/gcloud\" }\nuser = \"gcloud\"\nwithin = \"1m\"\nformat = \"json\"\nnewest = \"latest\"\n");
    let KindSettings::Command(command) = command.unwrap().kind else { panic!("a command") };
    assert_eq!((command.words.len(), command.within.as_secs(), command.newest.as_deref()), (5, 60, Some("latest")));
    assert_eq!((command.environment.len(), command.user.as_deref(), command.format), (1, Some("gcloud"), Format::Json));
}

#[test]
fn what_cannot_be_meant_is_refused_and_no_secret_is_shown() {
    let vault = |more: &str| format!("{VAULT}{more}");
    let at = |address: &str| format!("kind = \"vault\"\nlogin = \"certificate\"\nown-identity = true\naddresses = [\"{address}\"]");
    let command = |words: &str| format!("kind = \"command\"\ncommand = [{words}]");
    for (text, says) in [
        ("kind = \"vaul\"".to_owned(), "unknown variant"),
        (vault(""), "needs `login`"),
        ("kind = \"vault\"\nlogin = \"token\"".to_owned(), "needs `addresses`"),
        ("kind = \"vault\"\naddresses = []\nlogin = \"certificate\"".to_owned(), "names no server"),
        (at("vault:8200"), "http"),
        (at("https://root:canary@vault:8200"), "must not carry a user"),
        (at("https://vault:8200/v1"), "has a path"),
        (at("http://vault:8200"), "insecure"),
        (vault("login = \"token\""), "needs `token-file`"),
        (vault("login = \"token\"\ntoken-file = \"hvs.canary\""), "never the secret itself"),
        (vault("login = \"token\"\ntoken-file = \"/etc/../canary\""), "never the secret itself"),
        (vault("login = \"token\"\ntoken-file = \"credential:../canary\""), "no name"),
        (vault("login = \"token\"\ntoken-file = \"/t\"\nrole = \"x\""), "`role` is no key of login \"token\", which has token-file"),
        (vault("login = \"approle\""), "needs `role-id-file`"),
        (vault("login = \"approle\"\nrole-id-file = \"4f2c-canary\""), "never the secret itself"),
        (vault("login = \"certificate\""), "needs `certificate` and `key`"),
        (vault("login = \"certificate\"\nkey = \"/k.pem\""), "needs `certificate` and `key`"),
        (vault("login = \"certificate\"\nown-identity = true\nkey = \"/k.pem\"\ncertificate = \"/c.pem\""), "or `own-identity = true`"),
        (vault("own-identity = true\nlogin = \"certificate\"\nnamespace = \"/team/\""), "no path of Vault's"),
        (vault("own-identity = true\nlogin = \"certificate\"\nmounts = { \"../sys\" = \"kv\" }"), "no path of Vault's"),
        (vault("own-identity = true\nlogin = \"certificate\"\nmounts = { sys = \"raw\" }"), "unknown variant"),
        (vault("own-identity = true\nlogin = \"certificate\"\nallow = [\"secret/{app}*\"]"), "erp-2"),
        (vault("own-identity = true\nlogin = \"certificate\"\nidentities = [\"/k\"]"), "`identities` is no key of kind \"vault\""),
        ("kind = \"age\"".to_owned(), "needs `identities`"),
        ("kind = \"age\"\nidentities = [\"AGE-SECRET-KEY-1CANARY\"]".to_owned(), "never the secret itself"),
        ("kind = \"credential\"\nformat = \"yaml\"".to_owned(), "unknown variant"),
        ("kind = \"command\"".to_owned(), "needs `command`"),
        (command("\"aws\", \"{path}\""), "absolute path"),
        (command("\"/usr/bin/{app}\", \"{path}\""), "absolute path"),
        (command("\"/usr/bin/aws\""), "no word of `command` has {path}"),
        (command("\"/usr/bin/aws\", \"{path}\", \"{secret}\""), "{secret} stands for nothing: known are {app}, {path}"),
        (command("\"/usr/bin/aws\", \"{path}\"]\nenvironment = { \"A=B\" = \"canary\" }\n#"), "no variable"),
        (command("\"/usr/bin/aws\", \"{path}\"]\nnewest = \"-x\"\n#"), "no name"),
    ] {
        let error = of(&text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
        assert!(!error.to_lowercase().contains("canary"), "{text}: {error}");
    }
    for fine in ["https://vault:8200", "http://127.0.0.1:8200", "http://[::1]:8200", "http://localhost:8200"] {
        of(&at(fine)).unwrap();
    }
    of(&format!("{}\ninsecure = true", at("http://vault:8200"))).unwrap();
    of(&command("\"/usr/bin/jq\", \"{path}\", \".x | {a: .b}\", \"{}\"")).unwrap();
}
