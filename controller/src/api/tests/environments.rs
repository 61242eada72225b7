//! Environments over the wire: what applying would do, what it does, and how one goes.

use roadstead_driver::samples;
use roadstead_model::{EnvironmentSpec, Selector};
use roadstead_proto::v1;
use roadstead_proto::v1::operator_client::OperatorClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::rig::Rig;

type Admin = OperatorClient<Channel>;

fn request(spec: &EnvironmentSpec) -> v1::ApplyEnvironmentRequest {
    v1::ApplyEnvironmentRequest { spec: serde_json::to_vec(spec).unwrap() }
}

async fn diff(admin: &mut Admin, spec: &EnvironmentSpec) -> Result<v1::ApplyEnvironmentResponse, Status> {
    Ok(admin.diff_environment(request(spec)).await?.into_inner())
}

async fn apply(admin: &mut Admin, spec: &EnvironmentSpec) -> Result<v1::ApplyEnvironmentResponse, Status> {
    Ok(admin.apply_environment(request(spec)).await?.into_inner())
}

async fn remove(admin: &mut Admin, environment: &str, dry_run: bool) -> Result<(), Status> {
    let request = v1::RemoveEnvironmentRequest { environment: environment.into(), app: "erp".into(), dry_run };
    admin.remove_environment(request).await.map(drop)
}

async fn kinds(admin: &mut Admin) -> Vec<String> {
    let mut events = admin.list_events(v1::ListEventsRequest::default()).await.unwrap().into_inner();
    let mut kinds = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        kinds.push(event.kind);
    }
    kinds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_foreseen_is_what_is_applied_and_foreseeing_changes_nothing() {
    let rig = Rig::start().await;
    let mut admin = rig.admin().await;
    let mut spec = samples::environment();
    for step in 0..3u32 {
        spec.keep += step;
        let foreseen = diff(&mut admin, &spec).await.unwrap();
        assert_eq!(diff(&mut admin, &spec).await.unwrap(), foreseen, "it was only asked");
        assert_eq!(apply(&mut admin, &spec).await.unwrap(), foreseen);
        assert_eq!(foreseen.result, if step == 0 { "created" } else { "changed" });
        assert_eq!(foreseen.changes.len(), usize::from(step != 0), "{foreseen:?}");
        assert_eq!(diff(&mut admin, &spec).await.unwrap().result, "unchanged");
    }
    assert_eq!(kinds(&mut admin).await.iter().filter(|kind| *kind == "environment-applied").count(), 3);

    spec.timeouts.prepare = roadstead_model::Millis(0);
    let (foreseen, applied) = (diff(&mut admin, &spec).await.unwrap_err(), apply(&mut admin, &spec).await.unwrap_err());
    assert_eq!((foreseen.code(), foreseen.message()), (Code::InvalidArgument, applied.message()));
    let large = v1::ApplyEnvironmentRequest { spec: vec![b' '; 300 * 1024] };
    assert!(admin.diff_environment(large).await.unwrap_err().message().contains("larger than"));
    let unknown = v1::ApplyEnvironmentRequest { spec: b"{\"name\":\"x\",\"app\":\"x\",\"colour\":\"red\"}".to_vec() };
    assert!(admin.diff_environment(unknown).await.unwrap_err().message().contains("unknown field"));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_selector_without_a_host_is_told_with_the_labels_that_there_are() {
    let rig = Rig::start().await;
    let mut admin = rig.admin().await;
    let spec = EnvironmentSpec { hosts: Selector::parse("role=wbe").unwrap(), ..samples::environment() };
    let mut told = vec![apply(&mut admin, &spec).await.unwrap().warnings];
    let token = rig.host_token(&mut admin).await;
    rig.enroll(&token, 0).await.unwrap();
    told.push(diff(&mut admin, &spec).await.unwrap().warnings);
    told.push(apply(&mut admin, &spec).await.unwrap().warnings);
    let right = EnvironmentSpec { hosts: Selector::parse("role=web").unwrap(), ..samples::environment() };
    told.push(apply(&mut admin, &right).await.unwrap().warnings);
    admin.revoke_host(v1::RevokeHostRequest { host: "web-0".into(), reason: "test".into() }).await.unwrap();
    told.push(diff(&mut admin, &right).await.unwrap().warnings);
    let none = "no host has enrolled for staging yet: `roadstead host token --env staging` lets one in";
    let other = "no host of staging matches \"role=wbe\" (1 enrolled): their labels are role=web";
    assert_eq!(told, [vec![none], vec![other], vec![other], vec![], vec![none]]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_is_removed_when_no_host_belongs_to_it() {
    let rig = Rig::start().await;
    let mut admin = rig.admin().await;
    assert_eq!(remove(&mut admin, "staging", false).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(remove(&mut admin, "../staging", false).await.unwrap_err().code(), Code::InvalidArgument);
    apply(&mut admin, &samples::environment()).await.unwrap();
    let token = rig.host_token(&mut admin).await;
    rig.enroll(&token, 0).await.unwrap();
    for dry_run in [true, false] {
        let refused = remove(&mut admin, "staging", dry_run).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "staging of erp is not removed: web-0 belongs to it"));
        assert!(refused.metadata().get("roadstead-hint").unwrap().to_str().unwrap().contains("host revoke"));
    }
    admin.revoke_host(v1::RevokeHostRequest { host: "web-0".into(), reason: "test".into() }).await.unwrap();
    remove(&mut admin, "staging", true).await.unwrap();
    let listed = |answer: tonic::Response<v1::ListEnvironmentsResponse>| answer.into_inner().environments.len();
    assert_eq!(admin.list_environments(v1::ListEnvironmentsRequest::default()).await.map(listed).unwrap(), 1, "it was only asked");
    remove(&mut admin, "staging", false).await.unwrap();
    assert_eq!(admin.list_environments(v1::ListEnvironmentsRequest::default()).await.map(listed).unwrap(), 0);
    assert_eq!(kinds(&mut admin).await.iter().filter(|kind| *kind == "environment-removed").count(), 1);
    assert_eq!(diff(&mut admin, &samples::environment()).await.unwrap().result, "created");
    rig.stop().await;
}
