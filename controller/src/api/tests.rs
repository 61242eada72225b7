//! The whole daemon over real connections: who is let in, what is taken, how hosts and admins are cut off.

mod clones;
mod environments;
mod identities;
mod plans;
mod rig;
mod transfers;

use roadstead_model::{Digest, limits};
use roadstead_proto::v1;
use roadstead_proto::v1::{agent_message, controller_message};
use tonic::Code;

use rig::Rig;
use roadstead_driver::samples;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_those_who_were_let_in_may_call() {
    let rig = Rig::start().await;
    let mut admin = rig.admin().await;
    let me = admin.who_am_i(v1::WhoAmIRequest {}).await.unwrap().into_inner();
    assert_eq!((me.name.as_str(), me.term), ("ada", 1));

    let token = rig.host_token(&mut admin).await;
    let mut nobody = rig.nobody(&token).await.operator();
    let refused = nobody.who_am_i(v1::WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.metadata().get("roadstead-hint").is_some(), "it is told what to do next");

    let host = rig.enroll(&token, 0).await.unwrap();
    let again = rig.enroll(&token, 1).await.unwrap_err();
    assert_eq!(again.code(), Code::PermissionDenied);
    assert!(again.message().contains("used"), "{again}");
    let forged = roadstead_pki::JoinToken::generate(token.authority()).unwrap();
    assert_eq!(rig.enroll(&forged, 1).await.unwrap_err().code(), Code::PermissionDenied);

    let wrong = rig.connect(&host).await.operator().list_hosts(v1::ListHostsRequest::default()).await.unwrap_err();
    assert_eq!(wrong.code(), Code::PermissionDenied, "a host is no admin");
    let listed = admin.list_hosts(v1::ListHostsRequest::default()).await.unwrap().into_inner().hosts;
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].name.as_str(), listed[0].labels.join(",").as_str()), ("web-0", "role=web"));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_cut_off_loses_its_session_and_every_call() {
    let rig = Rig::start().await;
    let mut admin = rig.admin().await;
    let token = rig.host_token(&mut admin).await;
    let host = rig.enroll(&token, 0).await.unwrap();
    let connection = rig.connect(&host).await;
    let (up, mut down) = connection.session(0).await;
    let Some(controller_message::Kind::Welcome(welcome)) = down.message().await.unwrap().unwrap().kind else { panic!("no welcome") };
    assert_eq!(welcome.term, 1);
    up.send(v1::AgentMessage { kind: Some(agent_message::Kind::Heartbeat(v1::Heartbeat { sequence: 9 })) }).await.unwrap();
    let answer = down.message().await.unwrap().unwrap();
    assert_eq!(answer.kind, Some(controller_message::Kind::Heartbeat(v1::Heartbeat { sequence: 9 })));

    let pending = roadstead_pki::PendingCredentials::generate().unwrap();
    let renewal = v1::RenewRequest { csr: pending.request().to_vec() };
    connection.fleet().renew_host(renewal.clone()).await.unwrap();

    admin.revoke_host(v1::RevokeHostRequest { host: "web-0".into(), reason: "stolen".into() }).await.unwrap();
    let ended = down.message().await.unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied);
    assert_eq!(connection.fleet().renew_host(renewal).await.unwrap_err().code(), Code::PermissionDenied);
    drop(up);

    let last = admin.revoke_admin(v1::RevokeAdminRequest { name: "ada".into(), reason: "test".into() }).await.unwrap_err();
    assert!(last.message().contains("last admin"), "{last}");
    let mut events = admin.list_events(v1::ListEventsRequest::default()).await.unwrap().into_inner();
    let mut kinds = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        kinds.push((event.actor.starts_with("admin:ada"), event.kind));
    }
    assert!(kinds.contains(&(true, "host-revoked".to_owned())), "{kinds:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_taken_only_whole_and_fetched_as_it_was() {
    let rig = Rig::start().await;
    let mut admin = rig.admin().await;
    let release = samples::release("1.0");
    let publish = || v1::PublishReleaseRequest {
        manifest: release.bytes.clone(),
        signatures: vec![v1::Signature { key_id: vec![1; 16], signature: vec![2; 64] }],
    };
    let unsigned = v1::PublishReleaseRequest { signatures: vec![], ..publish() };
    assert_eq!(admin.publish_release(unsigned).await.unwrap_err().code(), Code::FailedPrecondition);
    let twice = v1::PublishReleaseRequest { signatures: [publish().signatures, publish().signatures].concat(), ..publish() };
    assert!(admin.publish_release(twice).await.unwrap_err().message().contains("signed the release twice"));
    let lacking = admin.publish_release(publish()).await.unwrap_err();
    assert!(lacking.message().contains("not in the store"), "{lacking}");
    let node = Digest::of(b"[]");
    let question = v1::MissingBlobsRequest { digests: vec![node.as_bytes().to_vec()] };
    assert_eq!(admin.missing_blobs(question.clone()).await.unwrap().into_inner().digests.len(), 1);

    let wrong = rig::upload(&mut admin, vec![(node, b"{}".to_vec())]).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument, "{wrong}");
    let bomb = vec![0; 4 * 1024 * 1024];
    let refused = rig::upload_as(&mut admin, Digest::of(&bomb), &bomb, 1024).await.unwrap_err();
    assert!(refused.message().contains("more than"), "{refused}");
    let big: Vec<u8> = (0..3_000_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 16).to_le_bytes()).take(3_000_000).collect();
    let (small, changed) = (text(0), text(1));
    let blobs = [b"[]".to_vec(), big.clone(), small.clone(), changed.clone()].map(|bytes| (Digest::of(&bytes), bytes));
    assert_eq!(rig::upload(&mut admin, blobs.to_vec()).await.unwrap(), 4);
    assert_eq!(rig::upload(&mut admin, blobs.to_vec()).await.unwrap(), 0, "what is there is not stored again");
    assert!(admin.missing_blobs(question.clone()).await.unwrap().into_inner().digests.is_empty());
    // Bit rot on the controller's disk: whoever pushes again is asked for the blob, and it is whole again.
    std::fs::write(rig.blob(&node), b"rot").unwrap();
    assert_eq!(admin.missing_blobs(question.clone()).await.unwrap().into_inner().digests.len(), 1);
    assert_eq!(rig::upload(&mut admin, vec![(node, b"[]".to_vec())]).await.unwrap(), 1);
    assert!(admin.missing_blobs(question).await.unwrap().into_inner().digests.is_empty());
    let published = admin.publish_release(publish()).await.unwrap().into_inner();
    assert_eq!(published.id, release.id().to_string());
    for name in ["1.0", published.id.as_str(), &release.digest.to_string()[..8]] {
        let found = admin.get_release(v1::GetReleaseRequest { app: "erp".into(), release: name.into() }).await.unwrap().into_inner();
        assert_eq!(found.manifest, release.bytes, "{name}");
    }

    let spec = serde_json::to_vec(&samples::environment()).unwrap();
    admin.apply_environment(v1::ApplyEnvironmentRequest { spec }).await.unwrap();
    let token = rig.host_token(&mut admin).await;
    let host = rig.enroll(&token, 0).await.unwrap();
    let mut fleet = rig.connect(&host).await.fleet();
    let fetched = fleet.fetch_release(v1::FetchReleaseRequest { manifest: release.digest.as_bytes().to_vec() }).await.unwrap().into_inner();
    assert_eq!((fetched.manifest, fetched.signatures.len()), (release.bytes.clone(), 1));
    let whole = rig::fetch(&mut fleet, Digest::of(&big), None, 0).await.unwrap();
    assert_eq!(zstd::decode_all(whole.1.as_slice()).unwrap(), big);
    assert!(whole.1.len() > 2 * limits::BLOB_PART_BYTES, "it came in parts");
    let rest = rig::fetch(&mut fleet, Digest::of(&big), None, 100_000).await.unwrap();
    assert_eq!(rest.1, whole.1[100_000..]);
    let plain = rig::fetch(&mut fleet, Digest::of(&changed), None, 0).await.unwrap();
    let patch = rig::fetch(&mut fleet, Digest::of(&changed), Some(Digest::of(&small)), 0).await.unwrap();
    assert_eq!((plain.0, patch.0), (v1::BlobEncoding::Zstd, v1::BlobEncoding::ZstdPatch));
    assert!(patch.1.len() * 4 < plain.1.len(), "{} against {} bytes", patch.1.len(), plain.1.len());
    let mut decoder = zstd::stream::read::Decoder::with_dictionary(patch.1.as_slice(), &small).unwrap();
    let mut decoded = Vec::new();
    std::io::Read::read_to_end(&mut decoder, &mut decoded).unwrap();
    assert_eq!(decoded, changed);
    assert_eq!(rig::fetch(&mut fleet, Digest::of(b"?"), None, 0).await.unwrap_err().code(), Code::NotFound);
    rig.stop().await;
}

/// Lines that differ from one another, and in one place from each other text.
fn text(which: usize) -> Vec<u8> {
    let line = |n: usize| format!("{} {}\n", n, Digest::of(&n.to_le_bytes()));
    let mut text: String = (0..200).map(line).collect();
    text.push_str(&line(1000 + which));
    text.into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_is_driven_over_the_wire_and_watched_to_its_end() {
    let rig = Rig::start().await;
    let mut admin = rig.admin().await;
    let token = rig.host_token(&mut admin).await;
    let host = rig.enroll(&token, 0).await.unwrap();
    let connection = rig.connect(&host).await;
    let agent = tokio::spawn(connection.obey(0));

    let none = v1::StartRolloutRequest { environment: "staging".into(), release: "1.0".into(), ..Default::default() };
    assert_eq!(admin.start_rollout(none.clone()).await.unwrap_err().code(), Code::NotFound);
    let spec = serde_json::to_vec(&samples::environment()).unwrap();
    let applied = admin.apply_environment(v1::ApplyEnvironmentRequest { spec }).await.unwrap().into_inner();
    assert_eq!(applied.result, "created");
    rig::upload(&mut admin, vec![(Digest::of(b"[]"), b"[]".to_vec())]).await.unwrap();
    let release = samples::release("1.0");
    let signatures = vec![v1::Signature { key_id: vec![1; 16], signature: vec![2; 64] }];
    admin.publish_release(v1::PublishReleaseRequest { manifest: release.bytes.clone(), signatures }).await.unwrap();

    let started = admin.start_rollout(none).await.unwrap().into_inner();
    let mut changes = admin.watch_rollout(v1::GetRolloutRequest { rollout: started.id }).await.unwrap().into_inner();
    let mut last = None;
    while let Some(change) = changes.message().await.unwrap() {
        last = Some(change);
    }
    let last = last.unwrap();
    assert_eq!((last.phase.as_str(), last.hosts[0].state.as_str()), ("done", "confirmed"));
    assert_eq!((last.started_by.as_str(), last.app.as_str()), ("admin:ada", "erp"));
    let request = v1::StepOutputRequest { rollout: started.id, host: "web-0".into(), ..Default::default() };
    let mut output = admin.step_output(request).await.unwrap().into_inner();
    let mut text = String::new();
    while let Some(part) = output.message().await.unwrap() {
        text.push_str(&part.text);
        assert_eq!(part.host, "web-0");
    }
    assert!(text.contains("did prepare"), "{text:?}");
    let named = v1::GetReleaseRequest { app: String::new(), release: release.manifest.version.to_string() };
    assert_eq!(admin.get_release(named).await.unwrap().into_inner().release.unwrap().id, release.id().to_string());
    let environments = admin.list_environments(v1::ListEnvironmentsRequest::default()).await.unwrap().into_inner().environments;
    assert_eq!(environments[0].current, release.id().to_string());
    assert_eq!(environments[0].hosts, ["web-0"]);
    rig.stop().await;
    agent.abort();
}
