//! A release is judged by what its hosts' agents do not tell: errors and latency that Prometheus sees, and answers to the controller. What
//! fails is caught in the canary, and the other hosts never serve it; what cannot be judged waits for somebody.

mod from_outside;

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::wait_until;
use roadstead_tests::load::{Load, RunningLoad};
use std::time::Duration;

/// A canary of one host of three. A release that is well has cold caches in its first seconds, and one that is slow stays so. The windows of the queries are shorter than its bake, so that its end is judged by the canary alone.
const POLICY: &str = r#"
[strategy]
kind = "canary"
steps = [{ hosts = 1, bake = "30s" }]
batch = "100%"
max-unavailable = "100%"
bake = "5s"

[analysis]
prometheus = "http://data:9090"
every = "2s"
queries = [
    { name = "errors", query = '(sum(rate(django_http_responses_total_by_status_total{status=~"5..",instance=~"$hosts:.*"}[20s])) or vector(0)) / sum(rate(django_http_responses_total_by_status_total{instance=~"$hosts:.*"}[20s]))', at-most = 0.02, failures = 2, inconclusive = 3 },
    { name = "latency", query = 'sum(rate(django_http_requests_latency_including_middlewares_seconds_sum{instance=~"$hosts:.*"}[20s])) / sum(rate(django_http_requests_latency_including_middlewares_seconds_count{instance=~"$hosts:.*"}[20s]))', at-most-baseline = 2, failures = 5 },
]
checks = [{ name = "health", url = "http://$host/healthz", contains = '"version": "$version"' }]
"#;

/// One of twenty answers of the catalogue is an error, once the checks of the deployment are through.
const ERRORS: &str = r#"
class Fails:
    answered = 0

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.path == "/api/products/":
            Fails.answered += 1
            if Fails.answered % 20 == 19:
                return HttpResponse("the price list is away", status=500)
        return self.get_response(request)
"#;

/// Every answer takes more than twice as long.
const SLOWNESS: &str = r#"
class Fails:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        began = time.monotonic()
        response = self.get_response(request)
        time.sleep(0.15 + time.monotonic() - began)
        return response
"#;

/// Writes names into a host's `/etc/hosts`: the lab has no name server.
fn names(fleet: &Fleet) -> String {
    fleet.hosts.iter().chain([&fleet.data]).map(|host| format!("{} {}\n", host.ip(), host.name())).collect()
}

/// Prometheus beside the database, looking at every host through its nginx.
fn start_prometheus(fleet: &Fleet) {
    let targets: Vec<String> = fleet.hosts.iter().map(|host| format!("'{}:80'", host.name())).collect();
    let settings = format!(
        "global: {{ scrape_interval: 2s }}\nscrape_configs:\n- job_name: erp\n  static_configs: [{{ targets: [{}] }}]\n",
        targets.join(", ")
    );
    fleet.data.write("/etc/prometheus/prometheus.yml", &settings).unwrap();
    for host in [&fleet.data, &fleet.controller] {
        host.execute(&["sh", "-c", "cat >>/etc/hosts"], SOON, names(fleet).as_bytes()).unwrap();
    }
    fleet.data.systemctl(&["start", "prometheus"]).unwrap();
    fleet.data.wait_for_unit("prometheus", "active", SOON).unwrap();
}

/// Users of every host.
fn users(fleet: &Fleet) -> Vec<RunningLoad> {
    let of = |host: &roadstead_tests::lab::Host| {
        let load = Load::on(format!("{}:80", host.ip())).path("/api/products/").clients(2).pause(Duration::from_millis(80));
        load.start(&fleet.client())
    };
    fleet.hosts.iter().map(of).collect()
}

/// A release with something in front of every answer, within what is counted.
fn broken(fleet: &Fleet, version: &str, middleware: &str) {
    let project = Project::of_erp(fleet, "1.1.0").unwrap();
    project.write("core/broken.py", &format!("import time\n\nfrom django.http import HttpResponse\n\n{middleware}")).unwrap();
    let last = "    \"django_prometheus.middleware.PrometheusAfterMiddleware\",\n";
    project.edit("config/settings/base.py", last, &format!("{last}    \"core.broken.Fails\",\n")).unwrap();
    project.release(fleet, version).unwrap();
}

/// Deploys a release that passes all that its hosts check, and is caught in the canary.
fn is_caught(fleet: &Fleet, version: &str, clue: &str) {
    let done = fleet.desk.try_roadstead(&["deploy", "staging", version]).unwrap();
    let said = format!("{}{}", done.stdout, done.stderr);
    println!("{said}");
    assert_eq!(done.code, Some(1), "{said}");
    assert!(said.contains("analysis: ") && said.contains(clue) && said.contains("(batch 1 of 2)"), "the operator reads why: {said}");
    assert_eq!(fleet.serving().unwrap(), ["1.1.0", "1.1.0", "1.1.0"]);
    let again = fleet.desk.try_roadstead(&["deploy", "staging", version]).unwrap();
    assert_eq!(again.code, Some(3), "a release that failed its analysis is not tried again by mistake: {}", again.stderr);
}

#[test]
fn a_release_is_judged_by_what_its_hosts_do_not_tell() {
    let fleet = Fleet::new("analysis", &FleetOptions::default().hosts(3)).unwrap();
    fleet.deploy("1.1.0").unwrap();
    start_prometheus(&fleet);
    fleet.apply(POLICY).unwrap();
    let load = users(&fleet);
    load.iter().for_each(|load| load.wait_for_more(50, SOON).unwrap());

    broken(&fleet, "1.1.1", ERRORS);
    println!("{}", fleet.desk.roadstead(&["plan", "staging", "1.1.1"]).unwrap());
    is_caught(&fleet, "1.1.1", "errors is ");
    broken(&fleet, "1.1.2", SLOWNESS);
    is_caught(&fleet, "1.1.2", "latency is ");

    // Nobody can judge a good release while Prometheus is away: it waits in the canary, and goes on when there are numbers again.
    Project::of_erp(&fleet, "1.1.0").unwrap().release(&fleet, "1.1.3").unwrap();
    fleet.data.systemctl(&["stop", "prometheus"]).unwrap();
    let rollout = fleet.desk.json(&["deploy", "staging", "1.1.3", "--no-wait"]).unwrap()["rollout"].as_str().unwrap().to_owned();
    let newest = || fleet.desk.json(&["rollout", "show", &rollout]).unwrap();
    wait_until("the rollout to be on hold", 2 * SOON, || newest()["on_hold"] == true).unwrap();
    let shown = fleet.desk.roadstead(&["rollout", "show", &rollout]).unwrap();
    println!("{shown}");
    assert!(shown.contains("analysis: errors tells nothing: the metrics server data:9090: cannot connect to "), "{shown}");
    assert_eq!(newest()["analysis"]["looks"][0]["verdict"], "unknown");
    assert_eq!(newest()["analysis"]["looks"][2]["verdict"], "passes", "what can be judged still is");
    assert_eq!(fleet.serving().unwrap(), ["1.1.3", "1.1.0", "1.1.0"], "no data is no pass");
    fleet.data.systemctl(&["start", "prometheus"]).unwrap();
    wait_until("the rollout to be done", 3 * SOON, || newest()["phase"] == "done").unwrap();
    println!("{}", fleet.desk.roadstead(&["rollout", "show", &rollout]).unwrap());
    assert_eq!(fleet.serving().unwrap(), ["1.1.3", "1.1.3", "1.1.3"]);
    let passed = fleet.desk.history("analysis-passed").unwrap();
    assert_eq!(passed.len(), 2, "what each batch passed with is in the history: {passed:?}");
    assert!(fleet.desk.history("asking").unwrap().iter().any(|(_, text)| text.contains("errors tells nothing")));
    println!("{}", fleet.desk.roadstead(&["history", "--limit", "40"]).unwrap());

    let reports: Vec<_> = load.into_iter().map(|load| load.stop().unwrap()).collect();
    let versions = |number: usize| reports[number].releases.keys().cloned().collect::<Vec<_>>();
    assert_eq!(versions(0), ["1.1.0", "1.1.1", "1.1.2", "1.1.3"], "the canary served all of them");
    for other in [1, 2] {
        assert_eq!(versions(other), ["1.1.0", "1.1.3"], "the others never served what was broken");
        assert_eq!(reports[other].failed(), 0, "{}", reports[other]);
    }
    from_outside::a_host_cannot_vouch_for_itself(&fleet);
}
