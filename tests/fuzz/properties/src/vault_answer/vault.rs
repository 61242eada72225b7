#[path = "../../../../../agent/secrets/src/vault/answer.rs"]
mod answer;

/// All that can be shown of an answer, but for names that a server gives: keys, and the ids of leases.
pub(super) fn shown(body: &[u8]) -> Vec<String> {
    let kv = answer::kv(body).map(|read| (read.version, read.values.into_values().collect::<Vec<_>>()));
    let issued = answer::issued(body)
        .map(|read| (read.lease_duration, read.renewable, read.data.map(|data| data.0.into_values().collect::<Vec<_>>())));
    let health = answer::health(body).map(|read| (read.initialized, read.sealed));
    let mut shown = vec![
        format!("{:?}", kv.map(|(version, values)| (version, values.len(), format!("{:?}", values.first())))),
        format!(
            "{:?}",
            issued.map(|(duration, renewable, values)| (duration, renewable, values.map(|values| format!("{:?}", values.first()))))
        ),
        format!("{:?}", answer::auth(body)),
        format!("{:?} {:?} {health:?}", answer::newest(body), answer::own_token(body)),
    ];
    for status in [200, 400, 403, 404, 429, 500, 503] {
        let fault = answer::refusal(status, body, "vault:8200", "secret/data/erp");
        shown.push(format!("{fault} {fault:?} {}", fault.hint()));
    }
    shown.push(format!("{}", answer::is_unknown_lease(body)));
    shown
}
