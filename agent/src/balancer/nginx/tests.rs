//! Against a made-up nginx: processes below a folder of the test's, and a configuration test that says what it is told to.

use super::*;
use roadstead_model::{HostName, Weight};
use std::fs;
use std::sync::Mutex as StdMutex;

const MASTER: u32 = 10;

#[derive(Debug, Default)]
struct World {
    runs: bool,
    /// What the test of the configuration says.
    refuses: Option<&'static str>,
    /// Its workers stay as they are, whatever is reloaded.
    is_stubborn: bool,
    tests: usize,
    reloads: usize,
}

#[derive(Debug)]
struct Fake {
    root: PathBuf,
    world: Arc<StdMutex<World>>,
}

#[async_trait]
impl Service for Fake {
    async fn master(&self) -> Result<Option<u32>, Failure> {
        Ok(self.world.lock().unwrap().runs.then_some(MASTER))
    }

    async fn test(&self) -> Result<(), Failure> {
        let mut world = self.world.lock().unwrap();
        world.tests += 1;
        world.refuses.map_or(Ok(()), |words| Err(Failure::new(FailureKind::Check, words, "")))
    }

    async fn reload(&self) -> Result<(), Failure> {
        let mut world = self.world.lock().unwrap();
        world.reloads += 1;
        if !world.is_stubborn {
            worker(&self.root, world.reloads);
        }
        Ok(())
    }
}

/// The one worker of so many reloads.
fn worker(root: &Path, reloads: usize) {
    let folder = root.join("proc/11");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("cmdline"), "nginx: worker process\0").unwrap();
    fs::write(folder.join("stat"), format!("11 (nginx) S {MASTER} 1 1 0 -1 4 5 0 0 0 0 0 0 0 20 0 1 0 {} 1\n", 100 + reloads)).unwrap();
}

struct Rig {
    folder: tempfile::TempDir,
    world: Arc<StdMutex<World>>,
    nginx: Nginx,
}

const SERVERS: [(&str, &str); 2] = [("web-1", "127.0.0.1:8001"), ("web-2", "127.0.0.1:8002")];

impl Rig {
    fn new() -> Self {
        Self::with(&SERVERS)
    }

    fn with(servers: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_path_buf();
        worker(&root, 0);
        let world = Arc::new(StdMutex::new(World { runs: true, ..World::default() }));
        let nginx = Self::nginx(&root, &world, servers);
        Self { folder, world, nginx }
    }

    fn nginx(root: &Path, world: &Arc<StdMutex<World>>, servers: &[(&str, &str)]) -> Nginx {
        let settings = NginxSettings {
            upstream: "shop".into(),
            file: root.join("shop.conf"),
            servers: servers.iter().map(|(host, address)| (HostName::parse(host).unwrap(), (*address).to_owned())).collect(),
            options: Vec::new(),
        };
        Nginx::with(settings, Box::new(Fake { root: root.to_path_buf(), world: Arc::clone(world) }), root.to_path_buf())
    }

    /// The agent is started anew.
    fn restart(&mut self) {
        self.nginx = Self::nginx(self.folder.path(), &self.world, &SERVERS);
    }

    fn file(&self) -> String {
        fs::read_to_string(self.folder.path().join("shop.conf")).unwrap_or_default()
    }

    /// Tests of the configuration and reloads so far.
    fn counts(&self) -> (usize, usize) {
        let world = self.world.lock().unwrap();
        (world.tests, world.reloads)
    }

    async fn bring(&self, shares: &[(&str, u32)]) -> (Vec<(u8, bool, u32)>, String) {
        let wanted = shares.iter().map(|(name, percent)| (HostName::parse(name).unwrap(), Weight::percent(*percent).unwrap()));
        let sight = self.nginx.bring(&wanted.collect()).await;
        let servers = sight.servers.values().map(|server| (server.weight.get(), server.up, server.in_flight)).collect();
        (servers, sight.problem.map(|problem| problem.summary).unwrap_or_default())
    }
}

const BOTH: [(&str, u32); 2] = [("web-1", 100), ("web-2", 100)];
const ONE: [(&str, u32); 2] = [("web-1", 0), ("web-2", 100)];

#[tokio::test(start_paused = true)]
async fn the_file_is_written_and_read_only_when_it_changes() {
    let rig = Rig::new();
    assert_eq!(rig.bring(&BOTH).await, (vec![(100, true, 0), (100, true, 0)], String::new()));
    assert_eq!(rig.counts(), (1, 1));
    assert_eq!(rig.bring(&BOTH).await.1, "");
    assert_eq!(rig.counts(), (1, 1));
    assert_eq!(rig.bring(&ONE).await, (vec![(0, true, 0), (100, true, 0)], String::new()));
    assert!(rig.file().contains("server 127.0.0.1:8001 down; # web-1\n"), "{}", rig.file());
    assert_eq!(rig.counts(), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn connections_are_counted_for_each_server() {
    let rig = Rig::new();
    let net = rig.folder.path().join("proc/net");
    fs::create_dir_all(&net).unwrap();
    let line =
        |port: u16, state: &str| format!("   0: 0100007F:9C40 0100007F:{port:04X} {state} 00000000:00000000 00:00000000 00000000 33 0 7\n");
    let table = [line(8001, "01"), line(8001, "01"), line(8001, "08"), line(8002, "01"), line(9, "01")].concat();
    fs::write(net.join("tcp"), table).unwrap();
    assert_eq!(rig.bring(&ONE).await.0, [(0, true, 2), (100, true, 1)]);
}

#[tokio::test(start_paused = true)]
async fn what_nginx_does_not_take_is_undone_and_not_put_in_its_way_again_at_once() {
    let rig = Rig::new();
    rig.bring(&BOTH).await;
    let before = rig.file();
    rig.world.lock().unwrap().refuses = Some("nginx: [emerg] host not found in upstream");
    for _ in 0..3 {
        assert_eq!(rig.bring(&ONE).await, (vec![(100, true, 0), (100, true, 0)], "nginx: [emerg] host not found in upstream".into()));
        assert_eq!(rig.file(), before);
    }
    assert_eq!(rig.counts(), (2, 1), "not tried again, not reloaded");
    rig.world.lock().unwrap().refuses = None;
    tokio::time::advance(TRY_AGAIN_AFTER).await;
    assert_eq!(rig.bring(&ONE).await.1, "");
    assert_eq!(rig.counts(), (3, 2));

    // The first file of all.
    let rig = Rig::new();
    rig.world.lock().unwrap().refuses = Some("no");
    assert_eq!(rig.bring(&ONE).await, (vec![], "no".into()));
    assert!(!rig.folder.path().join("shop.conf").exists());
}

#[tokio::test(start_paused = true)]
async fn a_reload_counts_when_no_old_worker_takes_connections() {
    let mut rig = Rig::new();
    rig.bring(&BOTH).await;
    rig.world.lock().unwrap().is_stubborn = true;
    let (shares, problem) = rig.bring(&ONE).await;
    assert_eq!(shares, [(100, true, 0), (100, true, 0)], "what nginx runs with, not what lies in the file");
    assert!(problem.contains("no new workers have taken the place"), "{problem}");
    assert!(rig.file().contains(" down; # web-1"));

    // Whoever comes after a crash sees the same, and brings it to its end.
    rig.world.lock().unwrap().is_stubborn = false;
    rig.restart();
    assert_eq!(rig.bring(&ONE).await, (vec![(0, true, 0), (100, true, 0)], String::new()));
    assert_eq!(rig.counts(), (3, 3));
    assert_eq!(rig.bring(&ONE).await.1, "");
    assert_eq!(rig.counts(), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn an_nginx_that_does_not_run_finds_the_file_when_it_is_started() {
    let rig = Rig::new();
    rig.world.lock().unwrap().runs = false;
    for _ in 0..2 {
        let (shares, problem) = rig.bring(&ONE).await;
        assert_eq!(shares, [(0, false, 0), (100, false, 0)]);
        assert!(problem.contains("nginx does not run"), "{problem}");
    }
    assert_eq!(rig.counts(), (1, 0));
    rig.world.lock().unwrap().runs = true;
    assert_eq!(rig.bring(&ONE).await, (vec![(0, true, 0), (100, true, 0)], String::new()));
    assert_eq!(rig.counts(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_file_of_somebody_elses_is_never_written_over() {
    let rig = Rig::new();
    let path = rig.folder.path().join("shop.conf");
    fs::write(&path, "upstream shop { server 127.0.0.1:1; }\n").unwrap();
    let (shares, problem) = rig.bring(&ONE).await;
    assert_eq!((shares, rig.counts()), (vec![], (0, 0)));
    assert!(problem.contains("was not written by the agent"), "{problem}");
    assert!(rig.file().starts_with("upstream shop"));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_be_looked_up_is_named_and_has_no_count() {
    let rig = Rig::with(&[("web-1", "127.0.0.1:8001"), ("no-such-host.invalid", "no-such-host.invalid:80")]);
    let (shares, problem) = rig.bring(&[("web-1", 100), ("no-such-host.invalid", 100)]).await;
    assert_eq!(shares, [(100, true, 0)]);
    assert!(problem.contains("connections to no-such-host.invalid cannot be counted"), "{problem}");
}
