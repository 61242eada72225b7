//! The controller was away: a thousand agents return at once. All have sessions again soon, nobody hammers at the door, and whoever
//! deploys right after the controller is back is served.

use crate::SOON;
use roadstead_tests::fleet::{Agents, TinyFleet, Twist};
use roadstead_tests::lab::{Execution, HostOptions, wait_until};
use std::time::{Duration, Instant};

const UNIT: &str = "roadstead-controller";
/// Simulated agents, beside one real host.
const AGENTS: usize = 1000;
/// How long the controller is away in `make test`; `make returns` lets it be away longer.
const OUTAGE: Duration = Duration::from_secs(10);
/// The longest pause before a dial, and time to be let in on a busy machine.
const RETURN: Duration = Duration::from_secs(120);
/// Of the controller while everybody returns: its memory, the pages of its files included, and the CPU of its host.
const MEMORY_MAX: u64 = 256 << 20;
const CPU_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_thousand_agents_return_at_once() {
    let outage = std::env::var("ROADSTEAD_OUTAGE").ok().map_or(OUTAGE, |seconds| Duration::from_secs(seconds.parse().unwrap()));
    let fleet = TinyFleet::new("returns", &HostOptions::default()).unwrap();
    for version in ["1.0.0", "1.1.0"] {
        fleet.push(version, &Twist::default()).unwrap();
    }
    fleet.deploy("1.0.0").unwrap();
    let (desk, controller) = (&fleet.fleet.desk, &fleet.fleet.controller);
    let began = Instant::now();
    let agents = Agents::start(desk, Agents::enroll(desk, "tiny", AGENTS).unwrap());
    agents.wait_for_all(RETURN).unwrap();
    assert_eq!(desk.connected().unwrap(), AGENTS + 1);
    println!("{AGENTS} agents enrolled and connected in {:.1} s", began.elapsed().as_secs_f64());

    controller.systemctl(&["stop", UNIT]).unwrap();
    wait_until("all sessions to be over", SOON, || agents.connected() == 0).unwrap();
    let before = agents.dials();
    // The outage itself is the story's subject.
    std::thread::sleep(outage);
    let idle = controller.cpu_time().unwrap();
    controller.systemctl(&["start", UNIT]).unwrap();
    let back = Instant::now();
    let deployed = Execution::of(&desk.begin(&["deploy", "tiny", "1.1.0"]).unwrap().wait_with_output().unwrap());
    assert!(deployed.success(), "{}{}", deployed.stdout, deployed.stderr);
    assert_eq!(fleet.answer().unwrap(), "200 1.1.0");
    println!("deployed {:.1} s after the controller was back, when {} were", back.elapsed().as_secs_f64(), agents.connected());
    agents.wait_for_all(RETURN.saturating_sub(back.elapsed())).unwrap();
    wait_until("the controller to hear everybody", SOON, || desk.connected().is_ok_and(|connected| connected == AGENTS + 1)).unwrap();
    println!("after {} s without a controller all were back within {:.1} s", outage.as_secs(), back.elapsed().as_secs_f64());

    nobody_hammers(outage, &before, &agents.dials());
    let (memory, cpu) = (controller.unit_memory_peak(UNIT).unwrap(), controller.cpu_time().unwrap() - idle);
    println!("the controller used {} MiB at most and {:.1} s of CPU", memory >> 20, cpu.as_secs_f64());
    assert!(memory < MEMORY_MAX, "{memory} bytes");
    assert!(cpu < CPU_MAX, "{cpu:?}");
    agents.close().unwrap();
}

/// Pauses double up to a minute: a handful of dials, and then one in half a minute on average.
fn nobody_hammers(outage: Duration, before: &[u32], after: &[u32]) {
    let dials: Vec<u32> = before.iter().zip(after).map(|(before, after)| after - before).collect();
    let (all, most) = (dials.iter().sum::<u32>(), dials.iter().copied().max().unwrap_or_default());
    println!("dials: {:.1} of an agent on average, {most} at most", f64::from(all) / f64::from(u32::try_from(dials.len()).unwrap()));
    let bound = 12 + u32::try_from(outage.as_secs() / 10).unwrap();
    assert!(most <= bound, "an agent dialled {most} times in {outage:?}; {bound} are enough");
}
