//! Plans over the wire: what is foreseen, what refuses it, and a deployment of exactly that.

use roadstead_bundle::manifest::{Entry, EntryKind, Node, Package, TreeRef};
use roadstead_driver::{ReleaseRecord, samples};
use roadstead_model::outlook::Outlook;
use roadstead_model::{Digest, EnvironmentSpec, Millis};
use roadstead_proto::v1;
use roadstead_proto::v1::operator_client::OperatorClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::rig::{self, Rig};

type Admin = OperatorClient<Channel>;

async fn plan(admin: &mut Admin, release: &str) -> Result<Outlook, Status> {
    let request = v1::PlanRolloutRequest { environment: "staging".into(), app: String::new(), release: release.into() };
    Ok(serde_json::from_slice(&admin.plan_rollout(request).await?.into_inner().outlook).unwrap())
}

async fn deploy(admin: &mut Admin, release: &str, plan: &str) -> Result<v1::Rollout, Status> {
    let request =
        v1::StartRolloutRequest { environment: "staging".into(), release: release.into(), plan: plan.into(), ..Default::default() };
    Ok(admin.start_rollout(request).await?.into_inner())
}

async fn apply(admin: &mut Admin, spec: &EnvironmentSpec) {
    let spec = serde_json::to_vec(spec).unwrap();
    admin.apply_environment(v1::ApplyEnvironmentRequest { spec }).await.unwrap();
}

/// Publishes a release of one module and one package.
async fn publish(admin: &mut Admin, version: &str, module: &str, django: &str) -> ReleaseRecord {
    let mut manifest = samples::manifest(version);
    let (digest, size) = (Digest::of(module.as_bytes()), module.len() as u64);
    let root = Node(vec![Entry { name: "erp.py".to_owned(), kind: EntryKind::File { digest, size, executable: false } }]).encode().unwrap();
    manifest.code = TreeRef { root: Digest::of(&root), entries: 1, bytes: size };
    manifest.packages.list = vec![Package { name: "django".to_owned(), version: django.to_owned() }];
    let blobs = [b"[]".to_vec(), module.as_bytes().to_vec(), root];
    rig::upload(admin, blobs.map(|bytes| (Digest::of(&bytes), bytes)).to_vec()).await.unwrap();
    let bytes = manifest.encode();
    let signatures = vec![v1::Signature { key_id: vec![1; 16], signature: vec![2; 64] }];
    admin.publish_release(v1::PublishReleaseRequest { manifest: bytes.clone(), signatures }).await.unwrap();
    ReleaseRecord { digest: Digest::of(&bytes), bytes, manifest, ..samples::release(version) }
}

async fn end(admin: &mut Admin, rollout: u64) -> String {
    let mut changes = admin.watch_rollout(v1::GetRolloutRequest { rollout }).await.unwrap().into_inner();
    let mut phase = String::new();
    while let Some(change) = changes.message().await.unwrap() {
        phase = change.phase;
    }
    phase
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_shown_and_exactly_that_is_deployed() {
    let rig = Rig::start().await;
    let mut admin = rig.admin().await;
    assert_eq!(plan(&mut admin, "1.0").await.unwrap_err().code(), Code::NotFound);
    apply(&mut admin, &samples::environment()).await;
    let first = publish(&mut admin, "1.0", "print(1)", "5.1").await;
    assert_eq!(plan(&mut admin, "9.9").await.unwrap_err().code(), Code::NotFound);
    let nowhere = plan(&mut admin, "1.0").await.unwrap();
    assert_eq!((nowhere.obstacles[0].kind.as_str(), nowhere.plan.is_none()), ("no-hosts", true));
    assert!(nowhere.obstacles[0].next.contains("roadstead host list"), "{nowhere:?}");

    let token = rig.host_token(&mut admin).await;
    let host = rig.enroll(&token, 0).await.unwrap();
    let agent = tokio::spawn(rig.connect(&host).await.obey(0));
    let shown = plan(&mut admin, "1.0").await.unwrap();
    assert_eq!((shown.current.clone(), shown.obstacles.len(), shown.changes.files.clone()), (None, 0, None));
    let course = shown.plan.unwrap();
    assert_eq!(course.batches[0].hosts[0].name.as_str(), "web-0");
    assert_eq!((course.estimate.total, course.bytes_at_most), (None, course.batches[0].hosts[0].bytes_at_most));
    assert!(course.bytes_at_most > Some(first.bytes.len() as u64), "{:?}", course.bytes_at_most);
    let begun = deploy(&mut admin, "1.0", &course.digest.short()).await.unwrap();
    assert_eq!(end(&mut admin, begun.id).await, "done");

    publish(&mut admin, "1.1", "print(2)", "5.2").await;
    let shown = plan(&mut admin, "1.1").await.unwrap();
    assert_eq!(shown.current, Some(first.id()));
    let (files, package) = (shown.changes.files.unwrap(), &shown.changes.packages[0]);
    assert_eq!((files.all.changed, files.all.total(), files.folders[0].0.as_str()), (1, 1, "."));
    assert_eq!((package.before.as_deref(), package.after.as_deref()), (Some("5.1"), Some("5.2")));
    let course = shown.plan.unwrap();
    assert_eq!(course.estimate.from.len(), 1);

    let spec = EnvironmentSpec { bake: Millis(1), ..samples::environment() };
    apply(&mut admin, &spec).await;
    let refused = deploy(&mut admin, "1.1", &course.digest.to_string()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().ends_with("the bake of batch 1: 0 ms → 1 ms"), "{}", refused.message());
    let next = refused.metadata().get("roadstead-hint").unwrap().to_str().unwrap();
    assert!(next.contains("`roadstead plan staging 1.1-"), "{next}");
    for nonsense in ["3f2a", "yes", &"0".repeat(65)] {
        assert_eq!(deploy(&mut admin, "1.1", nonsense).await.unwrap_err().code(), Code::InvalidArgument, "{nonsense}");
    }
    let again = plan(&mut admin, "1.1").await.unwrap().plan.unwrap();
    let begun = deploy(&mut admin, "1.1", &again.digest.to_string()).await.unwrap();
    assert_eq!(begun.id, 2, "neither a plan nor a refusal takes a number");
    assert_eq!(end(&mut admin, begun.id).await, "done");
    let mut events = admin.list_events(v1::ListEventsRequest::default()).await.unwrap().into_inner();
    let (mut started, mut all) = (Vec::new(), 0);
    while let Some(event) = events.message().await.unwrap() {
        all += 1;
        if event.kind == "rollout-started" {
            started.push(event.text);
        }
    }
    assert!(started[1].contains(&format!("plan {}", again.digest.short())), "{started:?}");
    plan(&mut admin, "1.0").await.unwrap();
    let mut events = admin.list_events(v1::ListEventsRequest::default()).await.unwrap().into_inner();
    while events.message().await.unwrap().is_some() {
        all -= 1;
    }
    assert_eq!(all, 0, "the history says nothing of plans");
    rig.stop().await;
    agent.abort();
}
