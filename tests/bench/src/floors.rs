//! Floors: what a host pays at the least, whoever deploys.

use crate::Result;
use crate::samples::Samples;
use roadstead_tests::fleet::{Fleet, PASSWORD, each};
use roadstead_tests::lab::{Host, LabError};
use std::time::{Duration, Instant};

/// How often each floor is measured.
const ROUNDS: usize = 3;
/// A host that uses less in a second is at rest.
const REST: Duration = Duration::from_millis(40);
const REST_AT_MOST: Duration = Duration::from_secs(20);
const BOOT_AT_MOST: Duration = Duration::from_secs(60);

/// Restarts all that the app runs here and waits until it serves and its worker has its processes: what a step that is
/// called health waits for too.
const RESTART: &str = "\
systemctl restart $(systemctl list-units --plain --no-legend --state=active 'erp-*.service' | cut -d' ' -f1)
until curl -sf -o /dev/null --unix-socket /run/roadstead/erp/web.sock http://localhost/healthz; do sleep 0.05; done
worker=$(systemctl list-units --plain --no-legend --state=active 'erp-worker@*.service' | cut -d' ' -f1)
until pgrep -P \"$(systemctl show --value -p MainPID \"$worker\")\" >/dev/null; do sleep 0.05; done";

/// The first migration, into a database that nothing else uses.
const MIGRATE: &str = "\
systemd-run --quiet --wait --collect -p WorkingDirectory=/srv/roadstead/erp/current \
-p EnvironmentFile=\"$(systemctl show --value -p EnvironmentFiles 'erp-web@*.service' | head -n 1 | cut -d' ' -f1)\" \
env DATABASE_URL=\"$0\" python manage.py migrate --noinput";

/// The app's own boot.
#[derive(Debug, Default)]
pub(crate) struct Boot {
    /// CPU of one host, in seconds.
    pub(crate) cpu: Samples,
    /// From the restart of all hosts at once until the last is up, in seconds.
    pub(crate) wall: Samples,
}

/// Restarts the app everywhere at once, several times.
pub(crate) fn boot(fleet: &Fleet) -> Result<Boot> {
    let mut boot = Boot::default();
    for _ in 0..ROUNDS {
        let (wall, cpu) = cost(fleet, || Ok(each(&fleet.hosts, |host| host.sh_within(BOOT_AT_MOST, RESTART).map(drop))?))?;
        boot.wall.add_span(wall);
        boot.cpu.add(cpu.mean());
    }
    Ok(boot)
}

/// CPU of the first migration, in seconds. Where it runs makes no difference.
pub(crate) fn first_migration(fleet: &Fleet, host: &Host) -> Result<f64> {
    fleet.data.sql("postgres", "CREATE DATABASE empty OWNER erp")?;
    let url = format!("postgres://erp:{PASSWORD}@{}:5432/empty", fleet.data.ip());
    rest(host)?;
    let before = host.cpu_time()?;
    let done = host.execute(&["sh", "-c", MIGRATE, &url], BOOT_AT_MOST, &[])?;
    done.checked(host.name(), "migrate")?;
    rest(host)?;
    Ok(host.cpu_time()?.saturating_sub(before).as_secs_f64())
}

/// What some work takes: its time, and the CPU of each host until all are at rest again.
pub(crate) fn cost(fleet: &Fleet, work: impl FnOnce() -> Result<()>) -> Result<(Duration, Samples)> {
    each(&fleet.hosts, rest)?;
    let before = fleet.hosts.iter().map(Host::cpu_time).collect::<std::result::Result<Vec<_>, _>>()?;
    let began = Instant::now();
    work()?;
    let took = began.elapsed();
    each(&fleet.hosts, rest)?;
    let mut cpu = Samples::default();
    for (host, before) in fleet.hosts.iter().zip(before) {
        cpu.add_span(host.cpu_time()?.saturating_sub(before));
    }
    Ok((took, cpu))
}

/// Waits until a host is at rest.
fn rest(host: &Host) -> std::result::Result<(), LabError> {
    let began = Instant::now();
    let mut before = host.cpu_time()?;
    while began.elapsed() < REST_AT_MOST {
        std::thread::sleep(Duration::from_secs(1));
        let now = host.cpu_time()?;
        if now.saturating_sub(before) < REST {
            break;
        }
        before = now;
    }
    Ok(())
}
