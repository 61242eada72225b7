//! A database whose app may not change its schema: for as long as a migration runs, a real OpenBao issues a user of its own, on the host that
//! migrates and nowhere else. It is renewed meanwhile, the agent may be killed, and it is gone afterwards, whether the migration did well
//! or not. Services have the app's own role throughout.

use crate::SOON;
use crate::secrets::Bao;
use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::wait_until;
use std::io::Write as _;
use std::process::Stdio;

/// The password of the app's own role, and of a run that was left behind.
const OWN: &str = "own-password-of-the-app";
const FILE: &str = "/run/roadstead/.credentials/erp/env";

const ROLES: &str = "\
ALTER ROLE erp NOLOGIN;
CREATE ROLE erp_app LOGIN PASSWORD 'own-password-of-the-app';
CREATE ROLE older LOGIN PASSWORD 'own-password-of-the-app';
ALTER DEFAULT PRIVILEGES FOR ROLE erp IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO erp_app;
ALTER DEFAULT PRIVILEGES FOR ROLE erp IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO erp_app;
CREATE ROLE vault LOGIN CREATEROLE PASSWORD 'password-of-vault';
GRANT erp, pg_signal_backend TO vault WITH ADMIN OPTION;
";
const ISSUE: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE erp, pg_signal_backend; \
                     ALTER ROLE \"{{name}}\" SET role TO erp;";
const REVOKE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'; DROP ROLE IF EXISTS \"{{name}}\";";
const POLICY: &str = "path \"database/creds/erp-migrator\" { capabilities = [\"read\"] }\n\
                      path \"sys/leases/renew\" { capabilities = [\"update\"] }\npath \"sys/leases/revoke\" { capabilities = [\"update\"] }\n";

/// Tells what it should not, and lasts longer than what is issued.
const TELLS: &str = "migrations.RunPython(lambda apps, editor: print('told', os.environ['DATABASE_URL']), migrations.RunPython.noop)";
const LASTS: &str = "migrations.RunSQL('CREATE TABLE story_own (id serial PRIMARY KEY)', migrations.RunSQL.noop), \
                     migrations.RunSQL('SELECT pg_sleep(25)', migrations.RunSQL.noop)";
const FAILS: &str = "migrations.RunSQL('SELECT 1 / 0', migrations.RunSQL.noop)";

#[test]
fn a_migration_has_credentials_of_its_own_for_as_long_as_it_runs() {
    let fleet = Fleet::new("credentials", &FleetOptions::default()).unwrap();
    let (web, data) = (&fleet.hosts[0], &fleet.data);
    set_up(&fleet);
    fleet.deploy("1.1.0").unwrap();
    assert_eq!(data.sql("erp", "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'").unwrap(), "erp");
    nobody_is_left(&fleet);

    // While it runs: root's alone, renewed, and the agent may die. A run of another user that was left behind is ended first.
    let project = Project::of_erp(&fleet, "1.1.0").unwrap();
    release(&fleet, &project, "2.0.0", "0004_lasts", "0003_customer_loyalty_tier", &format!("{TELLS}, {LASTS}"));
    let address = format!("postgresql://older:{OWN}@{}/erp", data.ip());
    let mut older = data.command(&["psql", "-q", "-o", "/dev/null", &address]).unwrap();
    let mut older = older.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    older.stdin.as_mut().unwrap().write_all(b"SET application_name = 'roadstead-migrate erp 0.9.9'; SELECT 1;\n").unwrap();
    let tagged = "SELECT usename FROM pg_stat_activity WHERE application_name LIKE 'roadstead-migrate erp %'";
    wait_until("the older run", SOON, || data.sql("erp", tagged).unwrap() == "older").unwrap();

    let rollout = fleet.begin(&["deploy", "staging", "2.0.0"]).unwrap();
    let sleeps = "SELECT usename FROM pg_stat_activity WHERE query LIKE '%pg_sleep(%' AND application_name LIKE 'roadstead-migrate %'";
    let mut user = String::new();
    wait_until("the migration to sleep", SOON * 2, || {
        user = data.sql("erp", sleeps).unwrap();
        user.starts_with("v-")
    })
    .unwrap();
    assert_eq!(web.sh(&format!("stat -c '%a %U' {FILE} $(dirname {FILE})")).unwrap(), "600 root\n700 root\n");
    let file = web.read(FILE).unwrap();
    let first = password(&file);
    assert!(file.contains(&user), "systemd reads what was issued");
    web.systemctl(&["kill", "-s", "KILL", "--kill-whom=main", "roadstead-agent"]).unwrap();
    let mut services = 0;
    wait_until("the migration to be through", SOON, || {
        fleet.ask(web, "/readyz").unwrap();
        services = own_sessions(&fleet);
        data.sql("erp", sleeps).unwrap().is_empty()
    })
    .unwrap();
    assert!(services > 0, "services go on with the app's own role");
    let watched = fleet.watch(&rollout).unwrap();
    let logs = fleet.desk.roadstead(&["logs", &rollout, "--host", "web-1"]).unwrap();
    println!("{logs}");
    assert!(watched.success(), "{}{}{logs}", watched.stdout, watched.stderr);
    drop(older.stdin.take());
    older.wait().unwrap();
    for part in
        ["told [value of DATABASE_URL]", "(roadstead-migrate erp 0.9.9): it is terminated", "before the agent's start stay in force"]
    {
        assert!(logs.contains(part), "{part} in {logs}");
    }
    assert_eq!(data.sql("erp", "SELECT tableowner FROM pg_tables WHERE tablename = 'story_own'").unwrap(), "erp");
    nobody_is_left(&fleet);

    // One that fails ends what was issued, too.
    release(&fleet, &project, "2.1.0", "0005_fails", "0004_lasts", &format!("{TELLS}, {FAILS}"));
    let failed = fleet.desk.try_roadstead(&["deploy", "staging", "2.1.0"]).unwrap();
    let said = format!("{}{}", failed.stdout, failed.stderr);
    assert!(failed.code == Some(1) && said.contains("division by zero"), "{said}");
    assert_eq!(fleet.serving().unwrap(), ["2.0.0"]);
    nobody_is_left(&fleet);
    // The host's own journal has what the app printed; that is the host's.
    let printed = web.sh("journalctl --no-pager -o cat | grep -o 'told postgres:.*'").unwrap();
    let passwords: Vec<String> = printed.lines().map(password).collect();
    assert!(passwords.len() == 2 && passwords[0] == first && passwords[1] != first, "each run has its own");
    nowhere(&fleet, &passwords, &[logs, said]);
}

/// Roles of the database, who issues users of it, and what the host that migrates says of them.
fn set_up(fleet: &Fleet) {
    let (web, data) = (&fleet.hosts[0], &fleet.data);
    data.sql("erp", ROLES).unwrap();
    fleet.database_at(web, &format!("postgres://erp_app:{OWN}@{}:5432/erp", data.ip())).unwrap();
    let bao = Bao::start(fleet.lab.host("vault").unwrap());
    bao.admits(web, POLICY);
    // The login of an agent that dies while the migration runs would end, and with it what was issued to it.
    bao.bao("write auth/approle/role/app token_policies=app token_ttl=15s token_max_ttl=10m");
    bao.bao("secrets enable database");
    let url = format!("postgresql://{{{{username}}}}:{{{{password}}}}@{}:5432/erp?sslmode=disable", data.ip());
    let connection = format!("connection_url='{url}' username=vault password=password-of-vault");
    bao.bao(&format!("write database/config/erp plugin_name=postgresql-database-plugin allowed_roles=erp-migrator {connection}"));
    // The shell that carries this takes quotation marks away.
    let quoted = |statements: &str| format!("'{}'", statements.replace('\'', "'\\''"));
    let statements = format!("creation_statements={} revocation_statements={}", quoted(ISSUE), quoted(REVOKE));
    bao.bao(&format!("write database/roles/erp-migrator db_name=erp {statements} default_ttl=20s max_ttl=10m"));
    let config = web.try_sh("cat /etc/roadstead/agent.toml").unwrap().stdout;
    let provider = format!(
        "[secrets.vault]\nkind = \"vault\"\naddresses = [\"{}\"]\nauthorities = \"/etc/roadstead/vault/ca.pem\"\nlogin = \"approle\"\n\
         role-id-file = \"/etc/roadstead/vault/role-id\"\nsecret-id-file = \"/etc/roadstead/vault/secret-id\"\n\
         mounts = {{ database = \"database\" }}\n",
        bao.address
    );
    let (user, password) = ("{vault:database/erp-migrator#username}", "{vault:database/erp-migrator#password}");
    let migrations = format!("[migrations.erp]\nenv = {{ DATABASE_URL = \"postgres://{user}:{password}@{}:5432/erp\" }}\n", data.ip());
    web.write("/etc/roadstead/agent.toml", format!("{config}\n{provider}\n{migrations}")).unwrap();
    web.systemctl(&["restart", "roadstead-agent"]).unwrap();
    fleet.wait_for_all().unwrap();
    let doctor = web.try_exec(&["roadstead-agent", "doctor"]).unwrap().stdout;
    assert!(doctor.contains("DATABASE_URL for the steps that change its database"), "{doctor}");
}

/// No user that was issued, no file, nothing written down; and only the app's own role is connected.
fn nobody_is_left(fleet: &Fleet) {
    let issued = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'";
    assert_eq!(fleet.data.sql("erp", issued).unwrap(), "0", "what was issued is over when the rollout is");
    let files = "ls -A /run/roadstead/.credentials /var/lib/roadstead-agent/apps/erp/issued.json 2>/dev/null || true";
    let left = fleet.hosts[0].sh(files).unwrap();
    assert!(!left.contains("erp") && !left.contains("issued"), "{left}");
    assert!(own_sessions(fleet) > 0);
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'erp' AND usename NOT IN ('erp_app', 'postgres', 'vault')";
    assert_eq!(fleet.data.sql("erp", others).unwrap(), "0");
    assert_eq!(fleet.data.sql("erp", "SELECT has_schema_privilege('erp_app', 'public', 'CREATE')").unwrap(), "f");
}

fn own_sessions(fleet: &Fleet) -> usize {
    fleet.ask(&fleet.hosts[0], "/readyz").unwrap();
    fleet.data.sql("erp", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'erp_app'").unwrap().parse().unwrap()
}

/// The password of an URL within a text.
fn password(text: &str) -> String {
    let (login, _) = text.split_once('@').unwrap();
    login.rsplit_once(':').unwrap().1.to_owned()
}

/// None of the passwords has left the host, and on it none is on a disk but in the journal of what printed it.
fn nowhere(fleet: &Fleet, passwords: &[String], told: &[String]) {
    let (web, desk) = (&fleet.hosts[0], &fleet.desk);
    let mut texts = told.to_vec();
    for rollout in 1..=3 {
        let logs = desk.try_roadstead(&["logs", &format!("r-{rollout}"), "--host", "web-1"]).unwrap();
        texts.push(format!("{}{}", logs.stdout, logs.stderr));
        texts.push(desk.roadstead(&["rollout", "show", &format!("r-{rollout}"), "--output", "json"]).unwrap());
    }
    texts.push(web.journal("roadstead-agent").unwrap());
    texts.push(fleet.controller.sh("journalctl --no-pager -o cat").unwrap());
    for password in passwords {
        assert!(texts.iter().all(|text| !text.contains(password.as_str())), "a password has left its host");
        for (host, places) in [
            (&fleet.controller, "/var/lib/roadstead-controller"),
            (web, "/etc /srv /var/lib/roadstead-agent /var/lib/roadstead /run/roadstead"),
        ] {
            let stored = host.try_sh(&format!("grep -rI --files-with-matches -e {password} {places}")).unwrap();
            assert_eq!(stored.code, Some(1), "{}", stored.stdout);
        }
    }
}

/// A version with one migration more.
fn release(fleet: &Fleet, project: &Project, version: &str, name: &str, after: &str, operations: &str) {
    let text = format!(
        "import os\nfrom django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    \
         dependencies = [(\"customers\", \"{after}\")]\n    operations = [{operations}]\n"
    );
    project.write(&format!("customers/migrations/{name}.py"), &text).unwrap();
    project.release(fleet, version).unwrap();
}
