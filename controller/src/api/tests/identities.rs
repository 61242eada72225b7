//! Nobody acts for another: every call of every service with every kind of identity that it is not for, and one host against another.

use roadstead_model::{
    AppName, Digest, EnvironmentName, EnvironmentSpec, Failure, FailureKind, Order, OrderOutcome, Report, StepName, StepReport, StepState,
};
use roadstead_proto::v1::{self, agent_message, controller_message};
use std::collections::BTreeSet;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::rig::{self, Rig};
use roadstead_driver::samples;

const OPERATOR: &str = include_str!("../../../../proto/roadstead/v1/operator.proto");
const FLEET: &str = include_str!("../../../../proto/roadstead/v1/fleet.proto");

/// Asserts that each call is refused with this code, and gives the calls' names.
macro_rules! refused {
    ($code:expr, $client:expr, $($call:ident($request:expr)),+ $(,)?) => {{
        let mut calls = BTreeSet::new();
        $(
            let answer = $client.$call($request).await.map(drop);
            assert_eq!(answer.unwrap_err().code(), $code, stringify!($call));
            calls.insert(stringify!($call).to_owned());
        )+
        calls
    }};
}

/// The calls of a service as its proto file lists them, in the spelling of the generated client.
fn calls(proto: &str, service: &str) -> BTreeSet<String> {
    let body = proto.split_once(&format!("service {service} {{")).unwrap().1.split_once("\n}").unwrap().0;
    let names = body.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next());
    let snake = |name: &str| {
        name.chars().fold(String::new(), |mut text, letter| {
            if letter.is_uppercase() && !text.is_empty() {
                text.push('_');
            }
            text.extend(letter.to_lowercase());
            text
        })
    };
    names.map(snake).collect()
}

/// Every call of the operator's service. A new one that is not listed here fails the test.
macro_rules! operator_calls {
    ($code:expr, $client:expr) => {
        refused!(
            $code,
            $client,
            who_am_i(v1::WhoAmIRequest {}),
            renew_admin(v1::RenewRequest::default()),
            missing_blobs(v1::MissingBlobsRequest::default()),
            upload_blobs(futures_util::stream::iter([v1::UploadPart::default()])),
            publish_release(v1::PublishReleaseRequest::default()),
            list_releases(v1::ListReleasesRequest::default()),
            get_release(v1::GetReleaseRequest::default()),
            apply_environment(v1::ApplyEnvironmentRequest::default()),
            diff_environment(v1::ApplyEnvironmentRequest::default()),
            remove_environment(v1::RemoveEnvironmentRequest::default()),
            list_environments(v1::ListEnvironmentsRequest::default()),
            get_configuration(v1::GetConfigurationRequest::default()),
            list_configurations(v1::ListConfigurationsRequest::default()),
            set_configuration(v1::SetConfigurationRequest::default()),
            plan_rollout(v1::PlanRolloutRequest::default()),
            start_rollout(v1::StartRolloutRequest::default()),
            steer_rollout(v1::SteerRolloutRequest::default()),
            lock_environment(v1::LockEnvironmentRequest::default()),
            unlock_environment(v1::UnlockEnvironmentRequest::default()),
            restore_database(v1::RestoreDatabaseRequest::default()),
            list_jobs(v1::ListJobsRequest::default()),
            run_job(v1::RunJobRequest::default()),
            back_up_database(v1::BackUpDatabaseRequest::default()),
            recheck_backup(v1::RecheckBackupRequest::default()),
            rollback(v1::RollbackRequest::default()),
            list_rollouts(v1::ListRolloutsRequest::default()),
            get_rollout(v1::GetRolloutRequest::default()),
            watch_rollout(v1::GetRolloutRequest::default()),
            list_events(v1::ListEventsRequest::default()),
            step_output(v1::StepOutputRequest::default()),
            create_token(v1::CreateTokenRequest::default()),
            list_hosts(v1::ListHostsRequest::default()),
            revoke_host(v1::RevokeHostRequest::default()),
            repair_host(v1::RepairHostRequest::default()),
            revoke_admin(v1::RevokeAdminRequest::default()),
        )
    };
}

/// Every call of the fleet's service.
macro_rules! fleet_calls {
    ($code:expr, $client:expr) => {
        refused!(
            $code,
            $client,
            session(futures_util::stream::iter([v1::AgentMessage::default()])),
            fetch_release(v1::FetchReleaseRequest::default()),
            fetch_blobs(v1::FetchBlobsRequest::default()),
            renew_host(v1::RenewRequest::default()),
        )
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_for_one_kind_of_identity() {
    let rig = Rig::start().await;
    let mut admin = rig.admin().await;
    let token = rig.host_token(&mut admin).await;
    let host = rig.connect(&rig.enroll(&token, 0).await.unwrap()).await;
    let nobody = rig.nobody(&token).await;

    let listed = calls(OPERATOR, "Operator");
    assert_eq!(operator_calls!(Code::PermissionDenied, host.operator()), listed, "a host is no admin");
    assert_eq!(operator_calls!(Code::Unauthenticated, nobody.operator()), listed);
    let listed = calls(FLEET, "Fleet");
    assert_eq!(fleet_calls!(Code::PermissionDenied, rig.admin_connection().await.fleet()), listed, "an admin is no host");
    assert_eq!(fleet_calls!(Code::Unauthenticated, nobody.fleet()), listed);

    admin.revoke_host(v1::RevokeHostRequest { host: "web-0".into(), reason: "test".into() }).await.unwrap();
    assert_eq!(fleet_calls!(Code::PermissionDenied, host.fleet()), listed, "it was cut off");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_neither_reports_for_another_nor_fetches_what_is_anothers() {
    let rig = Rig::start().await;
    let mut admin = rig.admin().await;
    for name in ["staging", "production"] {
        let app = AppName::parse(if name == "staging" { "shop" } else { "erp" }).unwrap();
        let spec = EnvironmentSpec { name: EnvironmentName::parse(name).unwrap(), app, ..samples::environment() };
        admin.apply_environment(v1::ApplyEnvironmentRequest { spec: serde_json::to_vec(&spec).unwrap() }).await.unwrap();
    }
    let mine = rig.enroll(&rig.host_token_for(&mut admin, "staging").await, 0).await.unwrap();
    let theirs = rig.enroll(&rig.host_token_for(&mut admin, "production").await, 1).await.unwrap();
    rig::upload(&mut admin, vec![(Digest::of(b"[]"), b"[]".to_vec())]).await.unwrap();
    let release = samples::release("1.0");
    let signatures = vec![v1::Signature { key_id: vec![1; 16], signature: vec![2; 64] }];
    admin.publish_release(v1::PublishReleaseRequest { manifest: release.bytes.clone(), signatures }).await.unwrap();

    // The other host takes its order and is busy with it.
    let other = rig.connect(&theirs).await;
    let (_up, mut down) = other.session(1).await;
    let start = v1::StartRolloutRequest { environment: "production".into(), release: "1.0".into(), ..Default::default() };
    let rollout = admin.start_rollout(start).await.unwrap().into_inner().id;
    let order = loop {
        if let Some(controller_message::Kind::Order(order)) = down.message().await.unwrap().unwrap().kind {
            break Order::try_from(order).unwrap();
        }
    };

    let one = rig.connect(&mine).await;
    let digest = release.digest.as_bytes().to_vec();
    let refused = one.fleet().fetch_release(v1::FetchReleaseRequest { manifest: digest.clone() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains("web-0 is a host of staging, which does not run erp"), "{refused}");
    other.fleet().fetch_release(v1::FetchReleaseRequest { manifest: digest }).await.unwrap();

    // Whatever it says of that order is said in its own name, of which the rollout knows nothing.
    let (up, mut answers) = one.session(0).await;
    let lies = [
        Report::Order { key: order.key(), outcome: OrderOutcome::Done { current: Some(release.id()) } },
        Report::Step(StepReport {
            key: order.key(),
            step: StepName::Fetch,
            state: StepState::Failed {
                took: roadstead_model::Millis(1),
                failure: Failure::new(FailureKind::Host, "a lie", "believe nothing"),
            },
        }),
        Report::Refused { key: order.key(), highest: None, why: "a lie".into() },
    ];
    let output = v1::Output { key: Some(order.key().into()), step: "fetch".into(), sequence: 0, text: "a lie\n".into(), dropped: 0 };
    up.send(v1::AgentMessage { kind: Some(agent_message::Kind::Output(output)) }).await.unwrap();
    for (sequence, lie) in (1..).zip(lies) {
        let report = v1::Report { sequence, ..lie.into() };
        up.send(v1::AgentMessage { kind: Some(agent_message::Kind::Report(report)) }).await.unwrap();
    }
    loop {
        if let Some(controller_message::Kind::Acknowledge(taken)) = answers.message().await.unwrap().unwrap().kind
            && taken.sequence == 3
        {
            break;
        }
    }
    let seen = admin.get_rollout(v1::GetRolloutRequest { rollout }).await.unwrap().into_inner();
    assert_eq!((seen.phase.as_str(), seen.hosts.len()), ("preparing", 1), "{seen:?}");
    assert_eq!((seen.hosts[0].host_name.as_str(), seen.hosts[0].state.as_str()), ("web-1", "preparing"));
    let mut output = admin.step_output(v1::StepOutputRequest { rollout, ..Default::default() }).await.unwrap().into_inner();
    assert!(output.message().await.unwrap().is_none(), "nothing was said by a host of the rollout");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_renews_their_own_certificate_until_they_are_cut_off() {
    let rig = Rig::start().await;
    let mut admin = rig.admin().await;
    let bob = rig.enroll_admin(&mut admin, "bob").await;
    let pending = roadstead_pki::PendingCredentials::generate().unwrap();
    let request = v1::RenewRequest { csr: pending.request().to_vec() };
    let answer = rig.connect(&bob).await.operator().renew_admin(request.clone()).await.unwrap().into_inner();
    let renewed = pending.complete(&answer.certificate, &answer.authority).unwrap();
    assert_eq!(renewed.identity(), bob.identity());
    let mut client = rig.connect(&renewed).await.operator();
    assert_eq!(client.who_am_i(v1::WhoAmIRequest {}).await.unwrap().into_inner().name, "bob");
    admin.revoke_admin(v1::RevokeAdminRequest { name: "bob".into(), reason: "test".into() }).await.unwrap();
    for credentials in [&bob, &renewed] {
        let mut client = rig.connect(credentials).await.operator();
        assert_eq!(client.renew_admin(request.clone()).await.unwrap_err().code(), Code::PermissionDenied, "old or new");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_cut_off_before_its_hello_gets_no_session() {
    let rig = Rig::start().await;
    let mut admin = rig.admin().await;
    let host = rig.enroll(&rig.host_token(&mut admin).await, 0).await.unwrap();
    let (up, messages) = mpsc::channel(1);
    let mut down = rig.connect(&host).await.fleet().session(ReceiverStream::new(messages)).await.unwrap().into_inner();
    admin.revoke_host(v1::RevokeHostRequest { host: "web-0".into(), reason: "stolen".into() }).await.unwrap();
    let hello = v1::Hello { protocol: 1, facts: Some(samples::facts(0).into()), outcomes: vec![], baton: vec![] };
    // The stream may have ended already.
    drop(up.send(v1::AgentMessage { kind: Some(agent_message::Kind::Hello(hello)) }).await);
    assert_eq!(down.message().await.unwrap_err().code(), Code::PermissionDenied);
    rig.stop().await;
}
