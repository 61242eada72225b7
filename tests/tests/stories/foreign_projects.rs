//! Projects that we did not write: what `django-admin startproject` and `wagtail start` make deploys with the `roadstead.toml` that
//! `init` wrote, unedited, and is upgraded without losing its database.

use roadstead_tests::fleet::{PlainFleet, run, tools};
use roadstead_tests::lab::Host;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn what_others_begin_deploys_as_init_wrote_it() {
    // The newest Wagtail whose projects the hosts' Python can run.
    let python = tools("foreign-projects", &["django", "wagtail>=7.0,<7.1"]).unwrap();
    let fleet = PlainFleet::new("foreign", &["plain", "bakery"]).unwrap();
    let folder = |name: &str| fleet.desk.folder().join(name);
    for name in ["plain", "bakery"] {
        fs::create_dir(folder(name)).unwrap();
    }
    run(Command::new(&python).args(["-m", "django", "startproject", "plain"]).arg(folder("plain"))).unwrap();
    run(Command::new(python.with_file_name("wagtail")).args(["start", "bakery"]).arg(folder("bakery"))).unwrap();
    let [plain, bakery] = &fleet.hosts[..] else { panic!("two hosts") };

    // There is no requirements file: init says what it lists instead, and what works at a desk only.
    let said = fleet.desk.roadstead(&["init", &folder("plain").display().to_string()]).unwrap();
    for word in ["there is no requirements file", "DEBUG is on", "only requests to localhost", "SECRET_KEY stands in the repository"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    fleet.desk.roadstead(&["init", &folder("bakery").display().to_string()]).unwrap();
    let built = fleet.release(&folder("plain"), "1.0").unwrap();
    assert!(built.stderr.contains("DEBUG is on"), "{}", built.stderr);
    assert!(!built.stderr.contains("lies in the release"), "what is written is shared: {}", built.stderr);
    fleet.release(&folder("bakery"), "1.0").unwrap();
    first(&fleet, "plain", plain, "The install worked successfully", "/static/admin/css/base.css");
    first(&fleet, "bakery", bakery, "Welcome to your new Wagtail site", "/static/css/welcome_page.css");

    // What is in the database and what people change both outlive an upgrade.
    change(&folder("plain/plain/urls.py"), "urlpatterns = [", "urlpatterns = [\n    path('new/', admin.site.urls),");
    change(&folder("bakery/home/templates/home/welcome_page.html"), "Welcome to your new Wagtail site", "Fresh bread");
    upgrade(&fleet, "plain", plain, "/new/login/", "Django administration");
    upgrade(&fleet, "bakery", bakery, "/", "Fresh bread");
}

fn first(fleet: &PlainFleet, app: &str, host: &Host, page: &str, file: &str) {
    let said = fleet.desk.roadstead(&["deploy", app, "1.0"]).unwrap();
    assert_eq!(fleet.serving(app, host).unwrap(), "1.0", "{said}");
    let (status, body) = fleet.ask(host, "/").unwrap();
    assert!(status == 200 && body.contains(page), "{status} {body}");
    let (status, body) = fleet.ask(host, file).unwrap();
    assert!(status == 200 && body.contains('{'), "{file}: {status} {body}");
    let database = format!("/srv/roadstead/{app}/shared/db.sqlite3");
    host.exec(&["sqlite3", &database, "INSERT INTO auth_group (name) VALUES ('kept')"]).unwrap();
}

fn upgrade(fleet: &PlainFleet, app: &str, host: &Host, path: &str, page: &str) {
    fleet.release(&fleet.desk.folder().join(app), "1.1").unwrap();
    let said = fleet.desk.roadstead(&["deploy", app, "1.1"]).unwrap();
    assert_eq!(fleet.serving(app, host).unwrap(), "1.1", "{said}");
    let (status, body) = fleet.ask(host, path).unwrap();
    assert!(status == 200 && body.contains(page), "{status} {body}");
    let database = format!("/srv/roadstead/{app}/shared/db.sqlite3");
    let kept = host.exec(&["sqlite3", &database, "SELECT count(*) FROM auth_group WHERE name = 'kept'"]).unwrap();
    assert_eq!(kept.trim(), "1");
}

fn change(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{} has no {from}", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}
