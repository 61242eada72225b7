use super::*;
use std::sync::Mutex;

/// A command of which each run is noted, and which does as it is told, or not.
#[derive(Debug, Default)]
struct World {
    hosts: BTreeMap<String, u8>,
    runs: Vec<String>,
    prints: Option<Vec<String>>,
    fails: Option<&'static str>,
    is_lazy: bool,
}

#[derive(Debug)]
struct Fake(Arc<Mutex<World>>);

#[async_trait]
impl Runner for Fake {
    async fn run(&self, more: &[String]) -> Result<Vec<String>, Failure> {
        let mut world = self.0.lock().unwrap();
        let words: Vec<&str> = more.iter().map(String::as_str).collect();
        world.runs.push(words.join(" "));
        if world.fails == Some(words[0]) {
            return Err(
                Failure::new(FailureKind::Command, "'/bin/elb' took too long and was stopped", "").with_detail("waiting for the API")
            );
        }
        match words.as_slice() {
            ["show"] => {
                let lines = world.hosts.iter().map(|(host, percent)| format!("{host} {percent} up 3")).collect();
                Ok(world.prints.clone().unwrap_or(lines))
            }
            ["set", host, percent] => {
                if !world.is_lazy {
                    world.hosts.insert((*host).to_owned(), percent.parse().unwrap());
                }
                Ok(Vec::new())
            }
            _ => panic!("{words:?}"),
        }
    }
}

fn start(hosts: &[(&str, u8)]) -> (Custom, Arc<Mutex<World>>) {
    let hosts = hosts.iter().map(|(host, percent)| ((*host).to_owned(), *percent)).collect();
    let world = Arc::new(Mutex::new(World { hosts, ..World::default() }));
    (Custom { runner: Box::new(Fake(Arc::clone(&world))) }, world)
}

fn weights(of: &[(&str, u32)]) -> Weights {
    of.iter().map(|(name, percent)| (HostName::parse(name).unwrap(), Weight::percent(*percent).unwrap())).collect()
}

fn runs(world: &Mutex<World>) -> Vec<String> {
    std::mem::take(&mut world.lock().unwrap().runs)
}

#[tokio::test]
async fn only_what_differs_is_set_and_who_takes_more_comes_first() {
    let (command, world) = start(&[("web-1", 100), ("web-2", 0), ("web-3", 100), ("other", 7)]);
    let wanted = weights(&[("web-1", 0), ("web-2", 50), ("web-3", 100)]);
    let sight = command.bring(&wanted).await;
    assert_eq!(runs(&world), ["show", "set web-2 50", "set web-1 0", "show"]);
    let shares: Vec<_> = sight.servers.iter().map(|(host, seen)| (host.as_str(), seen.weight.get(), seen.in_flight)).collect();
    assert_eq!((shares, sight.problem), (vec![("web-1", 0, 3), ("web-2", 50, 3), ("web-3", 100, 3)], None));
    command.bring(&wanted).await;
    assert_eq!(runs(&world), ["show"]);
}

#[tokio::test]
async fn nobody_is_drained_when_nobody_would_be_left() {
    let (command, world) = start(&[("web-1", 100)]);
    let sight = command.bring(&weights(&[("web-1", 0), ("web-9", 100)])).await;
    assert_eq!(runs(&world), ["show"]);
    assert!(sight.problem.unwrap().summary.starts_with("nobody would be left"));
}

#[tokio::test]
async fn what_goes_wrong_is_told_and_what_is_in_effect_is_read_back() {
    let (command, world) = start(&[("web-1", 100), ("web-2", 100)]);
    let wanted = weights(&[("web-1", 0), ("web-2", 100), ("web-9", 100)]);

    world.lock().unwrap().fails = Some("set");
    let sight = command.bring(&wanted).await;
    let problem = sight.problem.unwrap();
    assert!(problem.summary.contains("took too long") && problem.detail.contains("waiting for the API"), "{problem:?}");
    assert!(sight.servers.values().all(|seen| seen.weight == Weight::FULL));

    world.lock().unwrap().fails = None;
    world.lock().unwrap().is_lazy = true;
    let problem = command.bring(&wanted).await.problem.unwrap();
    assert!(problem.summary.contains("still shows web-1 at 100 % instead of drained"), "{problem:?}");
    assert!(problem.detail.contains("does not know web-9"), "{problem:?}");

    world.lock().unwrap().prints = Some(vec!["Error: no credentials".into()]);
    let sight = command.bring(&wanted).await;
    let problem = sight.problem.unwrap();
    assert!(sight.servers.is_empty() && problem.detail == "Error: no credentials", "{problem:?}");

    world.lock().unwrap().fails = Some("show");
    assert!(command.bring(&wanted).await.problem.unwrap().summary.contains("took too long"));
}
