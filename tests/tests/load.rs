//! The load generator against a real nginx: it must see what a user would see, and no more.

use roadstead_tests::lab::Lab;
use roadstead_tests::load::Load;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(15);

fn site(release: &str) -> String {
    format!("server {{ listen 80; keepalive_requests 100; location / {{ add_header x-release {release} always; return 200 'hello'; }} }}")
}

#[test]
fn a_reload_is_not_noticed_and_a_restart_is() {
    let lab = Lab::new("load").unwrap();
    let web = lab.host("web-1").unwrap();
    web.start_nginx(&site("one")).unwrap();
    let address = format!("{}:80", web.ip());

    let kept = Load::on(&address).clients(4).start(&lab.network());
    let fresh = Load::on(&address).clients(2).without_keep_alive().start(&lab.network());
    kept.wait_for_release("one", SOON).unwrap();
    kept.wait_for_more(200, SOON).unwrap();
    web.start_nginx(&site("two")).unwrap();
    kept.wait_for_release("two", SOON).unwrap();
    fresh.wait_for_release("two", SOON).unwrap();
    let (kept, fresh) = (kept.stop().unwrap(), fresh.stop().unwrap());
    assert_eq!((kept.failed(), fresh.failed()), (0, 0), "{kept}\n{fresh}");
    assert!(kept.good() > 200 && kept.reopened < kept.good() / 50, "{} reopened of {}", kept.reopened, kept.good());
    assert!(kept.percentile(50.0) > Duration::ZERO && kept.percentile(50.0) < SOON);

    let load = Load::on(&address).start(&lab.network());
    load.wait_for_more(100, SOON).unwrap();
    web.systemctl(&["stop", "nginx"]).unwrap();
    roadstead_tests::lab::wait_until("failures to be seen", SOON, || load.report().failed() > 10).unwrap();
    web.systemctl(&["start", "nginx"]).unwrap();
    load.wait_for_more(100, SOON).unwrap();
    let report = load.stop().unwrap();
    assert!(report.failures.iter().any(|failure| failure.what.contains("refused")), "{report}");

    let bounded = Load::on(&address).path("/other").at_most(50).start(&lab.network()).finish().unwrap();
    assert_eq!((bounded.total(), bounded.failed()), (50, 0), "{bounded}");
}
