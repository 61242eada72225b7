//! The power fails, and what was not flushed to the disk is lost in part: whatever is left, the host boots from it and comes level.

use roadstead_tests::crash::{self, Trial};
use std::time::SystemTime;

/// Disks that are looked through, and boots among them: as many as fit between the other stories. `make crash-images` tries hundreds.
const IMAGES: usize = 12;
const BOOTS: usize = 4;

#[test]
fn a_host_comes_level_from_whatever_a_power_cut_leaves() {
    // others each day
    let days = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / (24 * 60 * 60);
    let trial = Trial { name: "lost".to_owned(), images: IMAGES, boots: BOOTS, seed: days };
    let report = crash::run(&trial, &|line| println!("{line}")).unwrap();
    println!("{report}");
    assert_eq!((report.cuts(), report.boots()), (IMAGES, BOOTS));
    assert!(report.failures.is_empty(), "seed {days}: {report}");
}
