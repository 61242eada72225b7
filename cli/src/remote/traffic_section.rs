//! `[traffic]` of an environment file.

use roadstead_model::{Selector, Traffic};
use serde::Deserialize;
use toml::Spanned;

use super::spans::Span;

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct TrafficSection {
    balancers: Spanned<Selector>,
    #[serde(default)]
    hosts: Selector,
    drain: Option<Span>,
}

impl TrafficSection {
    /// Where the environment's traffic comes from.
    ///
    /// # Errors
    /// Where a mistake begins, in bytes of the file, and what it is.
    pub(crate) fn read(self) -> Result<Traffic, (usize, String)> {
        if self.balancers.get_ref().is_everything() {
            let what = "balancers would be every host: name the label of those that share out the traffic, such as \"role=balancer\"";
            return Err((self.balancers.span().start, what.to_owned()));
        }
        let drain = self.drain.map_or_else(Traffic::default_drain, |span| span.0);
        Ok(Traffic { balancers: self.balancers.into_inner(), hosts: self.hosts, drain })
    }
}
