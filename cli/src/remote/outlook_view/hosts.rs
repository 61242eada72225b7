//! The hosts of a plan as rows, batch by batch, with what is waited for after each.

use roadstead_model::outlook::{Batch, Course, HostOutlook};
use roadstead_model::{Millis, Promotion, ServiceName};

use crate::output::{count, size, table};

/// Hosts that are shown; all are in the JSON.
const HOSTS_MAX: usize = 40;

pub(super) fn host_table(plan: &Course) -> String {
    let total: usize = plan.batches.iter().map(|batch| batch.hosts.len()).sum();
    let last = plan.batches.len();
    let rows = (1..).zip(&plan.batches).flat_map(|(number, batch)| rows(number, batch, number == last));
    let text = table(["BATCH", "HOST", "SERVES", "FETCHES AT MOST", "CHOSEN FOR", "THEN"], rows.take(HOSTS_MAX));
    match total.saturating_sub(HOSTS_MAX) {
        0 => text,
        more => format!("{text}\n{} more in the batches up to {last}: `--output json` names them", count(more, "host")),
    }
}

/// The hosts of a batch; what comes after it stands at its last one.
fn rows(number: usize, batch: &Batch, is_last: bool) -> impl Iterator<Item = [String; 6]> {
    let total = batch.hosts.len();
    let row = move |(place, host): (usize, &HostOutlook)| {
        let serves = host.serves.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        [
            if place == 1 { number.to_string() } else { String::new() },
            host.name.to_string(),
            if host.away { format!("{serves}, away") } else { serves },
            host.bytes_at_most.map_or_else(|| "not known".to_owned(), size),
            host.chosen_for.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", "),
            if place == total { then(batch, is_last) } else { String::new() },
        ]
    };
    (1..).zip(&batch.hosts).map(row)
}

fn then(batch: &Batch, is_last: bool) -> String {
    let bake = if batch.bake == Millis(0) { String::new() } else { format!("bakes {}; ", batch.bake) };
    let promoted = if batch.promotion == Promotion::Manual { "an operator promotes it; " } else { "" };
    let next = if is_last { "all is confirmed" } else { "the next batch moves" };
    format!("{bake}{promoted}{next}")
}
