//! Two PostgreSQL clusters on one host: one is the other's synchronous standby. Clients reach whichever is the primary at one address, as
//! by an address that moves with it. Every failover swaps the two.

use crate::lab::error::Result;
use crate::lab::host::Host;
use std::process::{Child, Stdio};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);
/// Where clients go.
const PORT: u16 = 5432;

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cluster {
    Main,
    Second,
}

impl Cluster {
    fn other(self) -> Self {
        match self {
            Self::Main => Self::Second,
            Self::Second => Self::Main,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Second => "second",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Main => PORT,
            Self::Second => PORT + 1,
        }
    }
}

/// The pair, on the host that [`Host::start_postgresql`] has made the first of them on.
#[derive(Debug)]
pub struct Pair {
    host: Host,
    primary: Cluster,
}

impl Pair {
    /// Makes the second one, and waits until it follows.
    pub fn of(host: &Host) -> Result<Self> {
        let pair = Self { host: host.clone(), primary: Cluster::Main };
        host.sh("pg_createcluster 15 second --port=5433 >/dev/null && cp /etc/postgresql/15/main/conf.d/lab.conf /etc/postgresql/15/second/conf.d/")?;
        let trusted = "local all postgres peer\nlocal replication postgres peer\nhost replication postgres 127.0.0.1/32 trust\n\
                       host all all 10.77.0.0/24 scram-sha-256\n";
        for cluster in [Cluster::Main, Cluster::Second] {
            let file = format!("/etc/postgresql/15/{}/pg_hba.conf", cluster.name());
            host.write(&file, trusted)?;
        }
        host.systemctl(&["reload", "postgresql@15-main"])?;
        pair.follow()?;
        Ok(pair)
    }

    /// Makes the one that is not the primary its standby, from nothing, and lets no commit end that the standby does not have.
    pub fn follow(&self) -> Result<()> {
        self.heal()?;
        let (name, from) = (self.primary.other().name(), self.primary.port());
        self.host.sh(&format!(
            "systemctl stop postgresql@15-{name} && rm -rf /var/lib/postgresql/15/{name} && cd / && \
             runuser -u postgres -- pg_basebackup -h 127.0.0.1 -p {from} -D /var/lib/postgresql/15/{name} -R -X stream -c fast && \
             systemctl reset-failed postgresql@15-{name} && systemctl start postgresql@15-{name}"
        ))?;
        for sql in ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"] {
            self.sql(sql)?;
        }
        self.wait_until("the standby to be synchronous", "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
    }

    /// What the database `erp` of the primary says; columns are parted by `|`.
    pub fn sql(&self, sql: &str) -> Result<String> {
        self.ask(self.primary, sql)
    }

    /// The same, of the standby.
    pub fn standby(&self, sql: &str) -> Result<String> {
        self.ask(self.primary.other(), sql)
    }

    /// Waits until the primary says that it is true.
    pub fn wait_until(&self, what: &str, sql: &str) -> Result<()> {
        self.host.wait_until(what, DEADLINE, |_| self.sql(sql).is_ok_and(|said| said == "t"))
    }

    /// A session of the administrator's in the primary, which reads its statements from the handle.
    pub fn session(&self) -> Result<Child> {
        let port = self.primary.port().to_string();
        let words = ["runuser", "-u", "postgres", "--", "psql", "-q", "-o", "/dev/null", "-p", &port, "-d", "erp"];
        let mut command = self.host.command(&words)?;
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_err(super::LabError::io("start", "psql"))
    }

    /// From now on the standby receives nothing of what the primary writes, and nobody is told.
    pub fn cut(&self) -> Result<()> {
        let port = self.primary.port();
        self.host.sh(&format!(
            "nft 'add table ip cut; add chain ip cut in {{ type filter hook input priority 0; }}; add rule ip cut in iif lo tcp sport {port} drop'"
        ))?;
        Ok(())
    }

    fn heal(&self) -> Result<()> {
        self.host.sh("nft 'add table ip cut; delete table ip cut'").map(drop)
    }

    /// The primary is gone at once, without a last word; the standby takes its place and its address.
    pub fn fail_over(&mut self) -> Result<()> {
        let gone = self.primary.name();
        self.host.sh(&format!("pg_ctlcluster --skip-systemctl-redirect 15 {gone} stop -m immediate"))?;
        // the address moves before there is a primary behind it
        self.primary = self.primary.other();
        self.host.sh(&format!(
            "nft 'add table ip moved; delete table ip moved; add table ip moved; add chain ip moved in {{ type nat hook prerouting priority -100; }}; \
             add rule ip moved in iif eth0 tcp dport {PORT} redirect to :{}'",
            self.primary.port()
        ))?;
        self.sql("SELECT pg_promote()").map(drop)
    }

    fn ask(&self, cluster: Cluster, sql: &str) -> Result<String> {
        let port = cluster.port().to_string();
        let words = ["runuser", "-u", "postgres", "--", "psql", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-p", &port, "-d", "erp"];
        Ok(self.host.execute(&words, DEADLINE, sql.as_bytes())?.checked(self.host.name(), sql)?.trim_end().to_owned())
    }
}
