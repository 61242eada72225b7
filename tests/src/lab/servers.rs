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

    /// Starts MariaDB for the whole lab and makes a database with a user of the same name, who logs in by `password` and may make further
    /// databases whose names begin with that one's.
    pub fn start_mariadb(&self, database: &str, password: &str) -> Result<()> {
        let settings = "[mysqld]\nbind-address = 0.0.0.0\nskip-name-resolve\ninnodb_flush_log_at_trx_commit = 0\n";
        self.write("/etc/mysql/mariadb.conf.d/99-lab.cnf", settings)?;
        self.systemctl(&["enable", "--now", "mariadb"])?;
        let sql = format!(
            "CREATE DATABASE `{database}` CHARACTER SET utf8mb4; CREATE USER '{database}'@'%' IDENTIFIED BY '{password}'; \
             GRANT ALL ON `{database}`.* TO '{database}'@'%'; GRANT ALL ON `{database}\\_%`.* TO '{database}'@'%'"
        );
        self.mariadb("mysql", &sql).map(drop)
    }

    /// Runs SQL in a database of MariaDB as its administrator and returns the rows, columns parted by tabs.
    pub fn mariadb(&self, database: &str, sql: &str) -> Result<String> {
        let words = ["mariadb", "--batch", "--skip-column-names", database];
        Ok(self.execute(&words, DEADLINE, sql.as_bytes())?.checked(self.name(), sql)?.trim_end().to_owned())
    }

    /// Starts PgBouncer for the whole lab on port 6432, in front of this host's PostgreSQL, or lets the running one go on in another
    /// `pool_mode`. The database's owner logs in by `password`.
    pub fn start_pgbouncer(&self, database: &str, password: &str, pool_mode: &str) -> Result<()> {
        let settings = format!(
            "[databases]\n{database} = host=127.0.0.1 port=5432\n[pgbouncer]\nlisten_addr = *\nlisten_port = 6432\nauth_type = scram-sha-256\n\
             auth_file = /etc/pgbouncer/userlist.txt\npool_mode = {pool_mode}\nlogfile = /var/log/postgresql/pgbouncer.log\n\
             pidfile = /var/run/postgresql/pgbouncer.pid\nignore_startup_parameters = extra_float_digits,options\nunix_socket_dir = /var/run/postgresql\n"
        );
        self.write("/etc/pgbouncer/userlist.txt", format!("\"{database}\" \"{password}\"\n"))?;
        self.write("/etc/pgbouncer/pgbouncer.ini", settings)?;
        self.systemctl(&["enable", "pgbouncer"])?;
        self.systemctl(&["restart", "pgbouncer"])?;
        self.wait_until("PgBouncer", DEADLINE, |host| host.try_sh("pg_isready -q -h 127.0.0.1 -p 6432").is_ok_and(|done| done.success()))
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
