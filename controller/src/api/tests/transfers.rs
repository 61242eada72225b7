//! Hundreds of transfers that nobody takes hold up nobody else.

use roadstead_model::Digest;
use roadstead_proto::v1;
use std::time::Duration;

use super::rig::{self, Rig};

/// Hosts, and how many transfers each opens and leaves: together more than the runtime has threads for what blocks.
const HOSTS: usize = 90;
const EACH: usize = 6;
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_that_nobody_takes_hold_up_nobody_else() {
    let rig = Rig::start().await;
    let mut admin = rig.admin().await;
    // More than all that waits on the way.
    let noise: Vec<u8> = (0..40_000u32).flat_map(|n| *Digest::of(&n.to_le_bytes()).as_bytes()).collect();
    let digest = Digest::of(&noise);
    rig::upload(&mut admin, vec![(digest, noise.clone())]).await.unwrap();

    let request = || v1::FetchBlobsRequest { wants: vec![v1::BlobWant { digest: digest.as_bytes().to_vec(), ..Default::default() }] };
    let mut left = Vec::new();
    for number in 0..HOSTS {
        let token = rig.host_token(&mut admin).await;
        let host = rig.enroll(&token, number).await.unwrap();
        let mut fleet = rig.connect(&host).await.fleet();
        for _ in 0..EACH {
            left.push((fleet.clone(), fleet.fetch_blobs(request()).await.unwrap()));
        }
    }

    let token = rig.host_token(&mut admin).await;
    let host = rig.enroll(&token, HOSTS).await.unwrap();
    let mut fleet = rig.connect(&host).await.fleet();
    let fetched = tokio::time::timeout(SOON, rig::fetch(&mut fleet, digest, None, 0)).await.expect("a transfer goes through").unwrap();
    assert_eq!(zstd::decode_all(fetched.1.as_slice()).unwrap(), noise);
    let more = b"pushed meanwhile".to_vec();
    let stored = tokio::time::timeout(SOON, rig::upload(&mut admin, vec![(Digest::of(&more), more)])).await.expect("a push goes through");
    assert_eq!(stored.unwrap(), 1);
    drop(left);
    rig.stop().await;
}
