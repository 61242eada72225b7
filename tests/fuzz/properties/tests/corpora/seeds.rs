//! What the fuzzer begins with: of each target a few inputs that are read, so that it need not guess what they look like.

use prost::Message as _;
use roadstead_bundle::manifest::{BlobRef, Entry, EntryKind, FORMAT, Manifest, Node, Package, Packages, Source, TreeRef};
use roadstead_bundle::project;
use roadstead_bundle::sign::SigningKey;
use roadstead_deployment::{JOURNAL_FORMAT, Record};
use roadstead_model::*;
use roadstead_pki::{JoinToken, KeyPin, PendingCredentials};
use roadstead_proto::v1;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Target, file name, content.
pub(crate) type Seed = (&'static str, &'static str, Vec<u8>);

const PROJECT: &str = include_str!("../../../../../examples/erp/roadstead.toml");
const KINDS: &str = include_str!("../../../../apps/kinds/roadstead.toml");
const HAPROXY: &str = "# pxname,svname,qcur,qmax,scur,smax,status,weight,last_chk,\n\
    erp,w1,2,2,7,9,UP,64,\"Layer7 \"\"OK\"\"\",\nerp,web-2,,,0,0,DOWN,1,,\nerp,BACKEND,9,9,9,9,UP,65,,\n\n1\n\
    # be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight\n\
    3 erp 1 w1 127.0.0.1 2 0 16 64\n3 erp 2 web-2 127.0.0.1 0 8 1 1\n";
const PAGE: &str = include_str!("../../../../../docs/roadstead-toml.md");

const FACTS: &str = r#"{"format":1,"django":"5.2","engine":"postgresql","assumed":true,"migrations":[{"name":"a.1","replaces":["a.0"],"atomic":true,"operations":[{"kind":"CreateModel","about":"","reversible":true,"table":"a","tables":["a_b"],"references":["c"]},{"kind":"AlterField","reversible":true,"table":"c","field":"f","before":{"column":"f","type":"varchar(20)","null":true},"after":{"column":"f","type":"varchar(9)","default":"constant","unique":true,"indexed":true}},{"kind":"my.Op","about":"x","reversible":false},{"kind":"RunPython","name":"f","atomic":false},{"kind":"AddConstraint","constraint":"unique","as_index":true,"name":"u"}],"sql":"BEGIN;","sql_bytes":9},{"name":"a.0","without_sql":"no","assumes":true}]}"#;
const FACTS_OF_SQL: &str = r#"{"format":1,"engine":"postgresql","migrations":[{"name":"a.1","atomic":true,"operations":[{"kind":"RunSQL","reversible":true,"sql":"ALTER TABLE a ADD b numeric(1, 2) DEFAULT f('x') NOT NULL, DROP c; CREATE INDEX CONCURRENTLY i ON a (b); UPDATE a SET b = $t$;$t$ -- x"}]}]}"#;

/// All of them.
pub(crate) fn all() -> Vec<Seed> {
    [bundles(), texts(), journals(), wire(), identities(), lists()].concat()
}

fn release_ref() -> ReleaseRef {
    let manifest = Digest::of(b"manifest");
    ReleaseRef { id: ReleaseId::of(&Version::parse("1.0").unwrap(), &manifest), manifest }
}

fn manifest(code: &TreeRef) -> Manifest {
    let spec = project::read(Path::new("roadstead.toml"), PROJECT).unwrap().spec;
    let source = Source {
        commit: "a".repeat(40),
        branch: Some("main".to_owned()),
        author: "Ada <ada@example.org>".to_owned(),
        committed_at: Timestamp(1_700_000_000_000),
        dirty: false,
    };
    let packages = Packages {
        lock: Digest::of(b"lock"),
        python: spec.python,
        architecture: "x86_64".to_owned(),
        libc: "glibc-2.36".to_owned(),
        installed: Some(TreeRef { root: Digest::of(b"[]"), entries: 0, bytes: 0 }),
        wheels: None,
        list: vec![Package { name: "django".to_owned(), version: "5.2.1".to_owned() }],
    };
    Manifest {
        format: FORMAT,
        app: spec.name.clone(),
        version: Version::parse("1.0.0").unwrap(),
        source,
        spec,
        code: code.clone(),
        packages,
        statics: None,
        migrations: vec!["stock.0001_initial".to_owned()],
        migration_facts: None,
    }
}

fn bundles() -> Vec<Seed> {
    let empty = TreeRef { root: Digest::of(b"[]"), entries: 0, bytes: 0 };
    let plain = manifest(&empty).encode();
    let facts = BlobRef { digest: Digest::of(FACTS.as_bytes()), bytes: FACTS.len() as u64 };
    let with_facts = Manifest { migration_facts: Some(facts), ..manifest(&empty) }.encode();
    // A recipe's last line is its manifest, the ones before are its blobs.
    let node = r#"[{"n":"a.py","t":"f","d":"@0","s":5},{"n":"b","t":"l","to":"a.py"},{"n":"run","t":"f","d":"@0","s":5,"x":true}]"#;
    let above = r#"[{"n":"app","t":"d","d":"@2"},{"n":"up","t":"l","to":"app/a.py"}]"#;
    let tree = TreeRef { root: Digest::of(b"@3"), entries: 4, bytes: 10 };
    let text = String::from_utf8(manifest(&tree).encode()).unwrap();
    let text = text.replace(&Digest::of(b"@3").to_string(), "@3").replace(&Digest::of(b"[]").to_string(), "@1");
    let recipe = format!("print\n[]\n{node}\n{above}\n{text}");
    let content = b"roadstead ".repeat(40);
    let file = EntryKind::File { digest: Digest::of(b"x"), size: 1, executable: true };
    let entries =
        [("a", file), ("b", EntryKind::Folder { digest: Digest::of(b"[]") }), ("c", EntryKind::Link { target: "../a".to_owned() })];
    let entry = |(name, kind): (&str, EntryKind)| Entry { name: name.to_owned(), kind };
    vec![
        ("bundle", "empty-trees", bundle(&plain, b"[]")),
        ("release", "a-tree", recipe.into_bytes()),
        ("manifest", "whole", plain),
        ("blob", "frame", zstd::bulk::compress(&content, 3).unwrap()),
        ("blob", "empty", zstd::bulk::compress(b"", 3).unwrap()),
        ("node", "all-kinds", Node(entries.into_iter().map(entry).collect()).encode().unwrap()),
        ("node", "empty", b"[]".to_vec()),
        ("migration_facts", "of-every-sort", FACTS.as_bytes().to_vec()),
        ("migration_facts", "sql", FACTS_OF_SQL.as_bytes().to_vec()),
        ("manifest", "with-facts", with_facts),
        ("parts", "whole-and-patched", parts()),
    ]
}

fn bundle(manifest: &[u8], blob: &[u8]) -> Vec<u8> {
    let frame = zstd::bulk::compress(blob, 3).unwrap();
    let mut bundle = b"ROADSTEAD-BUNDLE-1\n".to_vec();
    bundle.extend(u32::try_from(manifest.len()).unwrap().to_le_bytes());
    bundle.extend(manifest);
    bundle.extend(0_u16.to_le_bytes());
    bundle.extend(1_u64.to_le_bytes());
    bundle.extend(Digest::of(blob).as_bytes());
    bundle.extend((blob.len() as u64).to_le_bytes());
    bundle.extend((frame.len() as u64).to_le_bytes());
    bundle.extend(frame);
    bundle
}

fn parts() -> Vec<u8> {
    let base = b"a ship lies in a harbour, and waits";
    let plain = |content: &[u8]| zstd::bulk::compress(content, 3).unwrap();
    let patch = zstd::bulk::Compressor::with_dictionary(3, base).unwrap().compress(b"a ship lies in a roadstead, and waits").unwrap();
    let first = plain(b"roadstead roadstead roadstead");
    let (head, tail) = first.split_at(4);
    let parts = [(0, 0, head.to_vec()), (0, 2, tail.to_vec()), (1, 3, patch), (2, 2, plain(b"[]"))];
    parts.into_iter().flat_map(|(index, how, data)| [vec![index, how, u8::try_from(data.len()).unwrap()], data].concat()).collect()
}

fn texts() -> Vec<Seed> {
    let key = |number: u8| SigningKey::parse(&key_file(number)).unwrap().public();
    let mut keys = "threshold = 2\n".to_owned();
    for number in 0..2 {
        writeln!(keys, "[[key]]\nname = \"key-{number}\"\npublic = \"{}\"", key(number)).unwrap();
    }
    let policy = "[environment]\nname = \"production\"\napp = \"erp\"\nhosts = \"role=web,zone=a|b,!canary\"\nkeep = 5\n[strategy]\nkind = \"rolling\"\n\
                  batch = \"25%\"\nmax-unavailable = 2\nfailure-budget = 1\nbake = \"5m\"\n[timeouts]\nmigrate = \"1h\"\n[env]\nHOSTS = \"a\"\n";
    let spec = r#"{"name":"staging","app":"erp","hosts":"role=web","strategy":{"batch":"34%","max_unavailable":1},"bake":60000}"#;
    let judged = "[environment]\nname = \"production\"\napp = \"erp\"\n[analysis]\nprometheus = \"http://p:9090\"\nevery = \"30s\"\nqueries = [\n\
                  { name = \"errors\", query = 'errors{i=~\"$hosts:.*\"}', at-most = 0.01, at-most-baseline = 1.5, failures = 2 }]\n\
                  checks = [{ name = \"page\", url = \"http://$host/\", contains = \"$version\" }]\n";
    let vector = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1435781451.781,"0.05"]}]}}"#;
    let refused = r#"{"status":"error","errorType":"bad_data","error":"1:5: parse error","warnings":["a"],"data":{"resultType":"scalar","result":[1,"NaN"]}}"#;
    let variables = "# comment\n; too\n\nA=1\nB = two words  \nC='sin$gle\nlines'\nD=\"x\\$y\\z\"\nE=\nF=a\\\nb\nG=\"q\"tail\n";
    let settings = "STATIC_ROOT = BASE_DIR / 'a' / \"b\"\nDATABASES = {\n 'default': {'NAME': env('DATABASE_URL', 'x')}, # x\n}\nkey = os.environ['KEY']\n";
    let example = PAGE.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).max_by_key(|example| example.len()).unwrap();
    let text = |target, name, text: &str| (target, name, text.as_bytes().to_vec());
    vec![
        text("project", "erp", PROJECT),
        text("project", "every-kind", KINDS),
        text("project", "page", example),
        text("release_keys", "two-of-two", &keys),
        text("policy", "everything", policy),
        text("policy", "sent", spec),
        text("policy", "judged", judged),
        text("metrics", "vector", vector),
        text("metrics", "refused", refused),
        text("metrics", "query", "(sum(rate(errors{host=~\"(web-1|web-2[.]a):.*\"}[1m])) or vector(0)) > 5"),
        text("environment_file", "what-people-write", variables),
        text("django_settings", "usual", settings),
        text("unit_text", "nasty", "100% \"x\" \\n $HOME\tend"),
        text("unit_text", "instance", "1.0\\x7erc1-0123456789ab"),
        text("wheel", "manylinux", "cryptography-45-cp39-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"),
        text("wheel", "any", "six-1.16-1build-py2.py3-none-any.whl"),
    ]
}

/// A key that everybody can make.
fn key_file(number: u8) -> String {
    use base64::Engine as _;
    let seed = base64::engine::general_purpose::STANDARD.encode([number; 32]);
    format!("-----BEGIN ROADSTEAD RELEASE KEY-----\n{seed}\n-----END ROADSTEAD RELEASE KEY-----\n")
}

fn order(sequence: u32, kind: OrderKind) -> Order {
    Order {
        fence: Fence { term: 2, rollout: RolloutId(1), sequence },
        environment: EnvironmentName::parse("staging").unwrap(),
        app: AppName::parse("erp").unwrap(),
        kind,
        deadline: Millis(60_000),
    }
}

fn orders() -> [(&'static str, Order); 6] {
    let variables = BTreeMap::from([(VariableName::parse("KEY").unwrap(), "value".to_owned())]);
    let singletons = vec![ServiceName::parse("beat").unwrap()];
    let release = release_ref();
    [
        (
            "prepare",
            order(
                1,
                OrderKind::Prepare {
                    release: release.clone(),
                    variables,
                    secrets: BTreeMap::new(),
                    files: BTreeMap::new(),
                    singletons,
                    keep: 3,
                    publish: true,
                },
            ),
        ),
        ("migrate", order(2, OrderKind::Migrate { release: release.clone(), backup: None, idle: false })),
        (
            "activate",
            order(3, OrderKind::Activate { release: release.clone(), expected: Some(release.id.clone()), confirm_within: Millis(9) }),
        ),
        ("confirm", order(4, OrderKind::Confirm { release: release.clone() })),
        ("revert", order(5, OrderKind::Revert { from: release.clone(), to: Some(release.clone()), condemn: true, everywhere: false })),
        ("abandon", order(6, OrderKind::Abandon { release, condemn: false })),
    ]
}

fn failure() -> Failure {
    Failure::new(FailureKind::Check, "ill", "look").with_detail("trace")
}

fn journals() -> Vec<Seed> {
    let [prepare, _, activate, ..] = orders();
    let header = |order: &Order| Record::Header { format: JOURNAL_FORMAT, order: order.clone() };
    let started = |step| Record::Started { step };
    let succeeded = |step| Record::Succeeded { step, note: "n".to_owned(), took: Millis(5), safeguard: None };
    let failed = |step| Record::Failed { step, failure: failure(), took: Millis(5) };
    let (candidate, cutover) = (StepName::Candidate, StepName::Cutover);
    let undone = [
        header(&activate.1),
        started(candidate),
        succeeded(candidate),
        started(cutover),
        failed(cutover),
        Record::UndoStarted { step: cutover },
        Record::UndoFinished { step: cutover },
        Record::UndoStarted { step: candidate },
    ];
    let begun = [header(&prepare.1), started(StepName::Preflight), succeeded(StepName::Preflight), started(StepName::Prune)];
    let lines = |records: &[Record]| -> Vec<u8> {
        records.iter().flat_map(|record| [serde_json::to_vec(record).unwrap(), b"\n".to_vec()].concat()).collect()
    };
    let memory = r#"{"highest":{"term":2,"rollout":1,"sequence":3},"previous":"1.0-0123456789ab","good":["1.0-0123456789ab"],"singletons":{"1.0-0123456789ab":["beat"]},"newer":[1]}"#;
    vec![
        ("journal", "undone", [&[9, 0, 1][..], &lines(&undone)].concat()),
        ("journal", "begun", [&[200, 1, 4][..], &lines(&begun)].concat()),
        ("history", "two-orders", [lines(&begun), b"\n".to_vec(), lines(&undone)].concat()),
        ("memory", "all-known-and-more", memory.as_bytes().to_vec()),
    ]
}

fn reports() -> [(&'static str, Report); 5] {
    let key = OrderKey { rollout: RolloutId(1), sequence: 3 };
    let current = Some(release_ref().id);
    let app = AppName::parse("erp").unwrap();
    [
        ("step", Report::Step(StepReport { key, step: StepName::Fetch, state: StepState::Failed { took: Millis(5), failure: failure() } })),
        ("done", Report::Order { key, outcome: OrderOutcome::Done { current: current.clone() } }),
        ("stuck", Report::Order { key, outcome: OrderOutcome::Stuck { step: StepName::Health, failure: failure(), current: None } }),
        ("refused", Report::Refused { key, highest: Some(Fence { term: 1, rollout: RolloutId(2), sequence: 0 }), why: "older".to_owned() }),
        ("went-back", Report::WentBack { key, app, current, why: failure() }),
    ]
}

fn facts() -> HostFacts {
    let release = release_ref().id;
    let state = AppState {
        set: None,
        listed: None,
        current: Some(release.clone()),
        previous: None,
        releases: vec![release.clone()],
        bad: vec![],
        highest: Some(Fence { term: 1, rollout: RolloutId(1), sequence: 1 }),
        unconfirmed: true,
        drift: Some(Drift::of(vec![DriftFinding::new(DriftPart::Tree, Differs::Changed, "/srv/views.py", "")])),
    };
    HostFacts {
        host_name: HostName::parse("web-1").unwrap(),
        agent_version: "0.1.0".to_owned(),
        operating_system: "Debian 12".to_owned(),
        architecture: "x86_64".to_owned(),
        systemd: "252".to_owned(),
        boot_id: "b".to_owned(),
        pythons: vec![PythonFact { version: "3.11.2".to_owned(), path: "/usr/bin/python3.11".to_owned() }],
        disk: DiskSpace { free_bytes: 1, free_inodes: 2 },
        apps: BTreeMap::from([(AppName::parse("erp").unwrap(), state)]),
        release_keys: Some(ReleaseKeys { threshold: 1, ids: vec![[7; 16]], problem: String::new() }),
    }
}

fn wire() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = vec![("facts", "of-a-host", v1::HostFacts::from(facts()).encode_to_vec())];
    seeds.extend(orders().map(|(name, order)| ("order", name, v1::Order::from(order).encode_to_vec())));
    seeds.extend(reports().map(|(name, report)| ("report", name, v1::Report::from(report).encode_to_vec())));
    let outcomes = reports().into_iter().take(2).map(|(_, report)| report.into()).collect();
    let hello = v1::Hello { protocol: 1, facts: Some(facts().into()), outcomes, baton: Vec::new() };
    let [(_, prepare), ..] = orders();
    let from_agent = v1::AgentMessage { kind: Some(v1::agent_message::Kind::Hello(hello)) };
    let from_controller = v1::ControllerMessage { kind: Some(v1::controller_message::Kind::Order(prepare.into())) };
    let part = v1::BlobPart { index: 1, encoding: 2, data: b"data".to_vec(), last: true };
    seeds.extend([
        ("message", "hello", [vec![0], from_agent.encode_to_vec()].concat()),
        ("message", "order", [vec![1], from_controller.encode_to_vec()].concat()),
        ("message", "part", [vec![9], part.encode_to_vec()].concat()),
    ]);
    seeds
}

fn identities() -> Vec<Seed> {
    let secret = "A".repeat(43);
    let token = JoinToken::parse(&format!("rst1.{secret}.{}", KeyPin::from_bytes([7; 32]))).unwrap();
    vec![
        ("join_token", "whole", token.reveal().into_bytes()),
        // Another one each time that it is written: its key is forgotten at once.
        ("request", "ours", PendingCredentials::generate().unwrap().request().to_vec()),
        ("credentials", "a-byte", vec![100, 0, 1, 1, b'A']),
        ("credentials", "a-line-more", vec![0, 0, 0, 2, b'#', b'\n', 200, 1, 0, 1, b'\n']),
    ]
}

fn lists() -> Vec<Seed> {
    let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:1F90 00000000:0000 0A \
                 00000000:00000000 00:00000000 00000000     0        0 12345 1\n   1: 00000000000000000000000001000000:0050 \
                 00000000000000000000000000000000:0000 01 0 0 0 0 0 7\n";
    let name = |name, text: &str| ("names", name, text.as_bytes().to_vec());
    vec![
        ("command_show", "three-hosts", b"# group blog\nweb-1 100 up 12\nweb-2 0 down 0\n\nweb-3 5 up 1\n".to_vec()),
        ("haproxy_stat", "two-servers", HAPROXY.as_bytes().to_vec()),
        ("sockets", "both-families", table.as_bytes().to_vec()),
        (
            "static_names",
            "two-files",
            br#"{"paths": {"css/a.css": "css/a.0123456789ab.css", "b.txt": "b.txt"}, "version": "1.1", "hash": "x"}"#.to_vec(),
        ),
        ("signatures", "two-of-three", vec![1, 0, 255, 4, 255, 2, 255, 1, 20]),
        name("release", "1.4.2-3-gabc1234-0123456789ab"),
        name("selector", "role=web,zone=a|b,zone!=c,gpu,!canary"),
        name("labels", "role=web,zone=a"),
        name("identity", "roadstead:host:abcdefghijklmnopqrstuvwxyz"),
        name("digest", &Digest::of(b"x").to_string()),
        name("path", "static/css/a.css"),
        name("step", "collectstatic"),
    ]
}
