//! Evidence of how a release does that its hosts do not author: numbers of a metrics server, and what hosts answer to the controller's
//! own requests. Where addresses lead is the environment's policy, which admins apply; what comes back is bounded, and nobody is
//! followed anywhere else.

mod http;
mod prometheus;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use roadstead_driver::Measure;
use roadstead_http::{Bytes, Method, OutsideTls};
use roadstead_model::{HttpUrl, limits};
use roadstead_rollout::{Answer, Question};

use http::{Reply, exchange};

/// How much of a wrong answer is told.
const TOLD_CHARACTERS: usize = 80;

/// Looks by HTTP.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// Whom this machine believed when the controller started; or why nobody.
    tls: Result<OutsideTls, String>,
}

impl Evidence {
    /// Ready to look.
    pub(crate) fn new() -> Self {
        Self { tls: OutsideTls::of_this_machine().map_err(|error| error.to_string()) }
    }
}

#[async_trait]
impl Measure for Evidence {
    async fn query(&self, server: &str, query: &str) -> Result<f64, String> {
        let url = HttpUrl::parse(server).map_err(|error| error.to_string())?;
        let address = format!("{}/api/v1/query", url.path.trim_end_matches('/'));
        let request = http::request(Method::POST, &url, &address, Some(prometheus::form(query)))?;
        let reply = exchange(self.tls.as_ref(), &url, request, limits::QUERY_ANSWER_BYTES_MAX).await;
        let Reply { status, body, cut } = reply.map_err(|why| format!("the metrics server {}: {why}", url.authority()))?;
        if cut {
            let max = limits::QUERY_ANSWER_BYTES_MAX / 1024;
            return Err(format!(
                "the metrics server's answer is larger than {max} KiB: aggregate the query to one number, such as with sum()"
            ));
        }
        prometheus::number(status, &body)
    }

    async fn ask(&self, question: &Question) -> Answer {
        let url = match HttpUrl::parse(&question.url) {
            Ok(url) => url,
            Err(error) => return Answer::Silent(format!("cannot be asked: {error}")),
        };
        let request = match http::request(Method::GET, &url, &url.path, None) {
            Ok(request) => request,
            Err(why) => return Answer::Silent(format!("cannot be asked: {why}")),
        };
        match exchange(self.tls.as_ref(), &url, request, limits::HEALTH_BODY_BYTES_MAX).await {
            Ok(reply) => judged(question, &reply),
            Err(why) => Answer::Silent(format!("does not answer: {why}")),
        }
    }
}

/// Whether an answer is the one that is wanted.
fn judged(question: &Question, reply: &Reply) -> Answer {
    if reply.status != question.status {
        return Answer::Wrong(format!("answers {}, not {}{}", reply.status, question.status, beginning(&reply.body)));
    }
    match &question.contains {
        Some(text) if !reply.body.windows(text.len().max(1)).any(|window| window == text.as_bytes()) => {
            Answer::Wrong(format!("answers {} without {text:?}{}", reply.status, beginning(&reply.body)))
        }
        _ => Answer::Good,
    }
}

/// The beginning of what came, for whoever has to find out why.
fn beginning(body: &Bytes) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * TOLD_CHARACTERS)]).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    let told: String = words.join(" ").chars().filter(|c| !c.is_control()).take(TOLD_CHARACTERS).collect();
    if told.is_empty() { String::new() } else { format!(": {told}") }
}
