//! Users of a database that are issued for a time, with a real PostgreSQL.

use roadstead_model::AppName;
use roadstead_secrets::{Asker, Providers, Secret, SecretRef};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

use super::server::{Server, free_port, providers, with_logins};
use super::{approle, within};

const OWNER: &str = "postgres";

struct Postgres {
    child: Child,
    folder: TempDir,
    port: u16,
    tools: PathBuf,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It ends its backends itself when it is asked to stop at once.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT).ok();
        drop(self.child.wait());
    }
}

fn as_owner(tool: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", OWNER, "--regid", OWNER, "--clear-groups"]).arg(tool).stdin(Stdio::null()).current_dir("/");
    command
}

impl Postgres {
    fn start() -> Self {
        let mut found: Vec<PathBuf> =
            std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin")).collect();
        found.sort();
        let tools = found.pop().expect("PostgreSQL is installed by tests/lab/setup --machine");
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let owner = nix::unistd::User::from_name(OWNER).unwrap().unwrap();
        chown(folder.path(), Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).unwrap();
        let data = folder.path().join("data");
        let password = folder.path().join("password");
        std::fs::write(&password, "admin-password").unwrap();
        chown(&password, Some(owner.uid.as_raw()), None).unwrap();
        let mut made = as_owner(&tools.join("initdb"));
        made.arg("-D").arg(&data).args(["-U", "admin", "--auth=scram-sha-256", "--no-sync"]);
        let made = made.arg(format!("--pwfile={}", password.display())).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let child = as_owner(&tools.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", &folder.path().display().to_string(), "-F"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let postgres = Self { child, folder, port, tools };
        let began = Instant::now();
        while !postgres.lets_in("admin", "admin-password") {
            assert!(began.elapsed() < Duration::from_secs(60), "PostgreSQL starts in {}", postgres.folder.path().display());
            std::thread::sleep(Duration::from_millis(50));
        }
        postgres
    }

    fn lets_in(&self, user: &str, password: &str) -> bool {
        let mut psql = Command::new(self.tools.join("psql"));
        psql.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", user, "-d", "postgres", "-w", "-c", "select 1"]);
        psql.env("PGPASSWORD", password).stdin(Stdio::null()).output().unwrap().status.success()
    }
}

/// The server issues users of the database to the policy `erp`.
fn issues_users(server: &Server, postgres: &Postgres) {
    server.bao(&["secrets", "enable", "database"]);
    let url = format!("connection_url=postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable", postgres.port);
    let words = ["plugin_name=postgresql-database-plugin", "allowed_roles=*", &url, "username=admin", "password=admin-password"];
    server.bao(&[&["write", "database/config/erp"], &words[..]].concat());
    let create = "creation_statements=CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    server.bao(&["write", "database/roles/erp-migrate", "db_name=erp", create, "default_ttl=40s", "max_ttl=10m"]);
    let leases = ["sys/leases/renew", "sys/leases/revoke"].map(|path| (path, "\"update\""));
    server.policy("", "erp", &[&[("database/creds/erp-migrate", "\"read\"")][..], &leases].concat());
}

/// A user and a password that are issued together.
async fn issued(providers: &Providers) -> [Secret; 2] {
    let app = AppName::parse("erp").unwrap();
    let references = ["username", "password"].map(|key| SecretRef::parse(&format!("vault:database/erp-migrate#{key}")).unwrap());
    let (asker, mut issued) = (Asker { app: &app, tree: None, by_operator: false }, Vec::new());
    let secrets = providers.resolve_all(asker, &references, within(30), &mut issued).await;
    let secrets = secrets.unwrap_or_else(|error| panic!("{error}: {}", error.fault));
    assert_eq!(issued.len(), 1);
    secrets.try_into().unwrap_or_else(|_| panic!("two were asked for"))
}

/// An agent that starts anew while what was issued is needed goes on with the login of the one before.
#[tokio::test]
async fn what_was_issued_outlives_the_agent_that_asked_for_it() {
    let (server, postgres) = (Server::start(), Postgres::start());
    issues_users(&server, &postgres);
    let logins = tempfile::tempdir().unwrap();
    let login = approle(&server, "", "erp", &["token_ttl=12s", "token_max_ttl=10m"]);
    let settings = server.settings(login, "approle");
    let agent = || with_logins(settings.clone(), logins.path());
    let [user, password] = issued(&agent()).await;
    let lets_in = || postgres.lets_in(user.value.reveal_text().unwrap(), password.value.reveal_text().unwrap());

    let (next, mut kept) = (agent(), user.lease.clone().unwrap());
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(15) {
        kept = next.renew(&kept, within(10)).await.unwrap_or_else(|error| panic!("{error}: {}", error.fault));
        assert!(lets_in());
        tokio::time::sleep(kept.renew_in).await;
    }
    assert!(lets_in(), "the login that it was issued to would have ended by now");

    // One that somebody has ended is not gone on with.
    let token = || {
        let text = std::fs::read_to_string(logins.path().join("vault")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["token"].as_str().unwrap().to_owned()
    };
    let of_before = token();
    server.bao(&["token", "revoke", &of_before]);
    issued(&agent()).await;
    assert_ne!(token(), of_before);
}

#[tokio::test]
async fn a_user_of_a_database_is_issued_renewed_and_ended() {
    let (server, postgres) = (Server::start(), Postgres::start());
    issues_users(&server, &postgres);
    // The login would end before the lease: it is kept alive with it.
    let login = approle(&server, "", "erp", &["token_ttl=12s", "token_max_ttl=10m"]);
    let providers = providers(server.settings(login, "approle"));

    let [user, password] = &issued(&providers).await;
    let lets_in = || postgres.lets_in(user.value.reveal_text().unwrap(), password.value.reveal_text().unwrap());
    assert!(lets_in(), "the user and the password belong together");
    assert_eq!(user.lease, password.lease);
    let lease = user.lease.clone().unwrap();
    assert!(lease.renewable && lease.duration == Duration::from_secs(40), "{lease:?}");
    assert!(lease.renew_in <= Duration::from_secs(6), "the login ends sooner than the lease: {lease:?}");

    let mut kept = lease.clone();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(15) {
        tokio::time::sleep(kept.renew_in).await;
        kept = providers.renew(&kept, within(10)).await.unwrap_or_else(|error| panic!("{error}: {}", error.fault));
    }
    assert!(lets_in(), "the first login would have ended, and what was issued to it");

    // As after a restart, by what was written down of it.
    let written = serde_json::to_string(&kept).unwrap();
    let shown = format!("{kept:?}");
    assert!(!shown.contains(kept.id().rsplit('/').next().unwrap()), "{shown}");
    providers.revoke(&serde_json::from_str(&written).unwrap(), within(30)).await.unwrap_or_else(|error| panic!("{error}: {}", error.fault));
    assert!(!lets_in(), "it is over when the answer is there");
    let error = providers.renew(&kept, within(10)).await.unwrap_err();
    assert!(matches!(error.fault, roadstead_secrets::Fault::LeaseGone { .. }), "{}", error.fault);
    providers.revoke(&kept, within(10)).await.unwrap();
}
