use super::*;
use crate::support::archive::Archive;
use crate::support::archive::tests::read;
use roadstead_model::FailureKind;
use roadstead_proto::v1::RolloutHost;

/// What is planted everywhere, and must be found nowhere.
const PLANTED: [&str; 7] = [
    "smtp://mailer:0p3n-s3sam3@mail.example.org",
    "0p3n-s3sam3",
    "a-second-line-of-a-value",
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEA",
    "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789abcdefg",
    "hunter2-of-nobodys-file",
    "ZXlKaGJHY2lPaUpJVXpJMU5pSjku",
];

/// A line that shows all of it, as a program that prints its environment and its credential would.
fn leak() -> String {
    format!(
        "mail goes by {}\nsecond: {}\n-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\nrst1.{}.{}\nDB_PASSWORD={}\nAuthorization: Bearer {}\nKeyError: 'x'\n",
        PLANTED[0], PLANTED[2], PLANTED[3], PLANTED[4], PLANTED[4], PLANTED[5], PLANTED[6]
    )
}

fn collected() -> Collected {
    let spec = serde_json::json!({
        "name": "production",
        "app": "erp",
        "variables": { "STAGE": "production", "N": "4" },
        "overrides": [{ "hosts": "zone=b", "files": { "config/a.toml": format!("first\n{}", PLANTED[2]) } }],
    });
    let environment =
        Environment { name: "production".into(), app: "erp".into(), spec: spec.to_string().into_bytes(), ..Default::default() };
    let event = Event { sequence: 1, at_ms: 2, actor: "admin:ada".into(), kind: "host-failed".into(), text: leak(), ..Default::default() };
    let failure = roadstead_model::Failure::new(FailureKind::Command, format!("migrate: {}", leak()), leak()).with_detail(&leak());
    let host =
        RolloutHost { host_name: "web-1".into(), state: "failed".into(), failure: Some(failure.clone().into()), ..Default::default() };
    let rollout = Rollout {
        id: 17,
        environment: "production".into(),
        reason: leak(),
        failure: Some(failure.into()),
        hosts: vec![host],
        ended_at_ms: 5,
        ..Default::default()
    };
    let said = |dropped| Said { text: leak(), dropped };
    let outputs = [
        (("web-1".to_owned(), "migrate".to_owned()), said(0)),
        (("../../etc/passwd".to_owned(), "candidate".to_owned()), said(4096)),
        (("n".repeat(300), "candidate".to_owned()), said(0)),
    ];
    let everybody = roadstead_model::Selector::default();
    let mail = roadstead_model::Key::parse("MAIL").unwrap();
    let configuration = Configuration::default().with(&everybody, &mail, Some(PLANTED[0].to_owned())).unwrap();
    Collected {
        configurations: vec![configuration],
        at_ms: 1_772_359_200_000,
        controller: WhoAmIResponse { name: "ada".into(), controller_version: "0.1.0".into(), ..Default::default() },
        environments: vec![environment],
        hosts: vec![Host { name: "web-1".into(), labels: vec![leak()], ..Default::default() }],
        releases: vec![Release { id: "1.1.0-0123456789ab".into(), bad: leak(), ..Default::default() }],
        rollouts: vec![rollout.clone()],
        events: vec![event.clone()],
        rollout: Some(InQuestion { rollout, events: vec![event], outputs: outputs.into(), no_room: 7 }),
        findings: vec![Finding::failed("hosts", leak(), leak())],
    }
}

fn archived() -> BTreeMap<String, Vec<u8>> {
    let mut archive = Archive::new(Vec::new(), 0).unwrap();
    for File { name, content } in files(&collected(), &|at| format!("at {at}")) {
        archive.add(&name, &content).unwrap();
    }
    read(&archive.finish().unwrap())
}

#[test]
fn no_secret_that_was_planted_is_in_the_archive() {
    for (name, content) in archived() {
        let text = String::from_utf8(content).unwrap();
        for secret in PLANTED {
            assert!(!text.contains(secret), "{name} shows {secret}:\n{text}");
        }
    }
    // What was looked for is what is there without the scrub.
    assert!(PLANTED.iter().all(|secret| leak().contains(secret)));
}

#[test]
fn what_is_no_secret_is_there() {
    let files = archived();
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    insta::assert_snapshot!("names", names.join("\n"));
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    insta::assert_snapshot!("environments", text("environments.json"));
    insta::assert_snapshot!("output", text("r-17/output/web-1/migrate.txt"));
    insta::assert_snapshot!("readme", text("README.txt"));
    assert!(text("r-17/output/______etc_passwd/candidate.txt").ends_with("[4.0 KiB were not kept by the controller]\n"));
}
