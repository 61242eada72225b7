//! `env/*.toml`: the policy of an environment, as it is written, sent and stored.

use roadstead_model::{EnvironmentSpec, Share, limits};
use std::fs;

use crate::command::environment_file::read;
use crate::scratch::scratch;
use crate::text::text;

/// A policy that is read arrives at the controller as it was, asks for a share of the hosts that there is, and can be told apart from
/// one that would move nobody. A mistake is told with its place. (What the controller is sent directly reads back too.)
pub fn policy(bytes: &[u8]) {
    if let Ok(spec) = serde_json::from_slice::<EnvironmentSpec>(bytes) {
        arrives(&spec);
    }
    let Some(text) = text(bytes) else { return };
    let scratch = scratch();
    let file = scratch.path().join("staging.toml");
    fs::write(&file, text).unwrap();
    match read(&file) {
        Ok(spec) => {
            assert!(text.len() as u64 <= limits::CONFIG_FILE_BYTES_MAX);
            for share in [spec.strategy.batch, spec.strategy.max_unavailable] {
                assert!(!matches!(share, Share::Count(0) | Share::Percent(0)), "nobody could ever move");
                assert!((1..=100).all(|total| (1..=total).contains(&share.of_rounded_up(total))));
            }
            assert_eq!(spec.strategy.check(), Ok(()), "the controller would refuse it");
            assert!(spec.analysis.iter().all(|analysis| analysis.check().is_ok()), "the controller would refuse it");
            arrives(&spec);
        }
        Err(error) => {
            let told = error.to_string();
            let place = told.strip_prefix(&format!("{}:", file.display())).and_then(|rest| rest.split_once(": "));
            let numbers: Option<Vec<usize>> = place.map(|(place, _)| place.split(':').filter_map(|n| n.parse().ok()).collect());
            let is_told = numbers.is_some_and(|numbers| numbers.len() == 2 && numbers[0] <= text.split('\n').count());
            assert!(is_told || text.len() as u64 > limits::CONFIG_FILE_BYTES_MAX, "{told}");
        }
    }
}

fn arrives(spec: &EnvironmentSpec) {
    let sent = serde_json::to_vec(spec).unwrap();
    assert_eq!(&serde_json::from_slice::<EnvironmentSpec>(&sent).unwrap(), spec);
}
