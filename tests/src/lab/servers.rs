//! The servers that stand beside an application, real and from Debian's packages.

use crate::lab::error::Result;
use crate::lab::host::Host;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

impl Host {
    /// Starts PostgreSQL for the whole lab and makes a database with an owner of the same name who logs in by `password`.
    pub fn start_postgresql(&self, database: &str, password: &str) -> Result<()> {
        let folder = "/etc/postgresql/15/main";
        self.write(&format!("{folder}/conf.d/lab.conf"), "listen_addresses = '*'\nmax_connections = 200\nfsync = off\n")?;
        self.sh(&format!("grep -q 10.77 {folder}/pg_hba.conf || echo 'host all all 10.77.0.0/24 scram-sha-256' >>{folder}/pg_hba.conf"))?;
        self.systemctl(&["enable", "--now", "postgresql"])?;
        self.wait_until("PostgreSQL", DEADLINE, |host| host.try_sh("pg_isready -q").is_ok_and(|done| done.success()))?;
        let sql = format!(
            "CREATE ROLE \"{database}\" LOGIN CREATEDB PASSWORD '{password}';\nCREATE DATABASE \"{database}\" OWNER \"{database}\";\n"
        );
        let words = ["runuser", "-u", "postgres", "--", "psql", "-q", "-v", "ON_ERROR_STOP=1"];
        self.execute(&words, DEADLINE, sql.as_bytes())?.checked(self.name(), "psql").map(drop)
    }

    /// Runs SQL in a database as its administrator and returns the rows, columns parted by `|`.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let words = ["runuser", "-u", "postgres", "--", "psql", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database];
        Ok(self.execute(&words, DEADLINE, sql.as_bytes())?.checked(self.name(), sql)?.trim_end().to_owned())
    }

    /// Starts Redis for the whole lab.
    pub fn start_redis(&self) -> Result<()> {
        self.sh("sed -i -e 's/^bind .*/bind 0.0.0.0/' -e 's/^protected-mode .*/protected-mode no/' /etc/redis/redis.conf")?;
        self.systemctl(&["enable", "--now", "redis-server"])?;
        self.wait_until("Redis", DEADLINE, |host| host.try_sh("redis-cli ping").is_ok_and(|done| done.stdout.contains("PONG")))
    }

    /// Starts RabbitMQ for the whole lab, with a user who may do all and has its own name as password.
    pub fn start_rabbitmq(&self, user: &str) -> Result<()> {
        // Names of nodes are resolved, and the lab has no resolver.
        self.write("/etc/rabbitmq/rabbitmq-env.conf", "NODENAME=rabbit@localhost\n")?;
        self.systemctl(&["enable", "--now", "rabbitmq-server"])?;
        self.sh(&format!("rabbitmqctl -q add_user {user} {user} && rabbitmqctl -q set_permissions -p / {user} '.*' '.*' '.*'"))?;
        Ok(())
    }

    /// Starts nginx with one site, or lets the running one take it over.
    pub fn start_nginx(&self, site: &str) -> Result<()> {
        self.write("/etc/nginx/sites-available/default", site)?;
        self.exec(&["nginx", "-t"])?;
        self.systemctl(&["enable", "nginx"])?;
        self.systemctl(&["reload-or-restart", "nginx"]).map(drop)
    }
}
