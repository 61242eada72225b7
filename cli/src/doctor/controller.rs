//! Who we are, and the way to the controller: name, connection, trust, clock, version.

use roadstead_model::{Finding, Millis};
use roadstead_pki::{ClientTls, ConnectError, Credentials, Refusal};
use roadstead_proto::PROTOCOL;
use roadstead_proto::v1::{WhoAmIRequest, WhoAmIResponse};
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::Checkup;
use crate::failure::Failure;
use crate::output::took;
use crate::remote::{Config, Controller, folder, moment, now_ms, read_config, unconnected};

/// How long a name or a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A credential that ends sooner deserves a look.
const CREDENTIAL_SHORT: Millis = Millis::from_secs(3 * 24 * 3600);
/// Clocks that are further apart make certificates fail one day.
const SKEW_WARNING: Millis = Millis::from_secs(5);
/// And deadlines and times in the history mean little.
const SKEW_FAILED: Millis = Millis::from_secs(120);

/// A controller that answers.
#[derive(Debug)]
pub(crate) struct Known {
    /// How to ask it more.
    pub(crate) controller: Controller,
    /// What it said of itself.
    pub(crate) says: WhoAmIResponse,
}

/// Looks from here to the controller; stops where nothing further can be seen.
pub(crate) fn look(checkup: &mut Checkup<'_>) -> Option<Known> {
    let config = told(checkup, configuration())?;
    let credentials = told(checkup, credential(now_ms()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let reached = runtime.block_on(async {
        told(checkup, name(&config.controller).await)?;
        told(checkup, connection(&config.controller).await)?;
        told(checkup, trust(&config.controller, &credentials).await)
    });
    reached?;
    let controller =
        told(checkup, Controller::of_user().map(|controller| (controller, None)).map_err(|failure| finding("session", &failure)))?;
    let (sent, begun) = (now_ms(), Instant::now());
    match controller.call(async |mut client| Ok(client.who_am_i(WhoAmIRequest {}).await?.into_inner())) {
        Ok(says) => {
            checkup.tell(Finding::ok("session", format!("the controller knows you as admin {}", says.name)));
            checkup.tell(clock(&says, sent, begun.elapsed()));
            checkup.tell(version(&says));
            Some(Known { controller, says })
        }
        Err(failure) => {
            checkup.tell(finding("session", &failure));
            None
        }
    }
}

type Looked<T> = Result<(T, Option<Finding>), Finding>;

fn told<T>(checkup: &mut Checkup<'_>, looked: Looked<T>) -> Option<T> {
    match looked {
        Ok((value, finding)) => {
            finding.into_iter().for_each(|finding| checkup.tell(finding));
            Some(value)
        }
        Err(finding) => {
            checkup.tell(finding);
            None
        }
    }
}

/// A failure of a command as a finding.
pub(super) fn finding(check: &str, failure: &Failure) -> Finding {
    let says: Vec<&str> = std::iter::once(failure.summary.as_str()).chain(failure.causes.iter().map(String::as_str)).collect();
    Finding::failed(check, says.join(": "), failure.hint.clone().unwrap_or_default())
}

fn configuration() -> Looked<Config> {
    let failed = |failure: Failure| finding("configuration", &failure);
    let folder = folder().map_err(failed)?;
    let config = read_config(&folder).map_err(failed)?;
    let says = format!("{} names the controller at {}", folder.join("config.toml").display(), config.controller);
    Ok((config, Some(Finding::ok("configuration", says))))
}

fn credential(now: u64) -> Looked<Credentials> {
    let path = folder().map_err(|failure| finding("credential", &failure))?.join("identity.pem");
    let again = "log in again: another admin makes a token with `roadstead admin token NAME`";
    let credentials = Credentials::load(&path)
        .map_err(|error| Finding::failed("credential", format!("{} cannot be used: {error}", path.display()), again))?;
    let (who, end) = (credentials.identity().to_string(), credentials.not_after().0);
    let left = Millis(end.saturating_sub(now));
    let found = if left.0 == 0 {
        return Err(Finding::failed("credential", format!("{who}: the certificate ended {}", moment(end)), again));
    } else if credentials.not_before().0 > now {
        Finding::failed(
            "credential",
            format!("{who}: the certificate begins {}, which is still to come", moment(credentials.not_before().0)),
            "set this machine's clock: it is behind",
        )
    } else if left < CREDENTIAL_SHORT {
        let hint = "any command that reaches the controller renews it; when it has ended, only another admin's token helps";
        Finding::warning("credential", format!("{who}, until {}: {left} more", moment(end)), hint)
    } else {
        Finding::ok("credential", format!("{who}, until {}: {left} more", moment(end)))
    };
    Ok((credentials, Some(found)))
}

async fn name(address: &str) -> Looked<()> {
    let failed = |says: String| Finding::failed("name", says, "is the name right (config.toml), and does this machine's DNS know it?");
    let found = match timeout(PATIENCE, lookup_host(address)).await {
        Ok(Ok(found)) => found.map(|address| address.ip().to_string()).collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(failed(format!("{address} cannot be looked up: {error}"))),
        Err(_) => return Err(failed(format!("{address} cannot be looked up: no answer within {}", took(PATIENCE)))),
    };
    if found.is_empty() {
        return Err(failed(format!("{address} has no address")));
    }
    Ok(((), Some(Finding::ok("name", format!("{address} is {}", found.join(", "))))))
}

async fn connection(address: &str) -> Looked<()> {
    let begun = Instant::now();
    let hint = "is the controller running (`systemctl status roadstead-controller`), and does a firewall let port and address through?";
    match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(((), Some(Finding::ok("connection", format!("{address} answers after {} ms", begun.elapsed().as_millis()))))),
        Ok(Err(error)) => Err(Finding::failed("connection", format!("{address}: {error}"), hint)),
        Err(_) => Err(Finding::failed("connection", format!("{address} does not answer within {}", took(PATIENCE)), hint)),
    }
}

async fn trust(address: &str, credentials: &Credentials) -> Looked<()> {
    let tls = ClientTls::new(credentials).map_err(|error| Finding::failed("trust", error.to_string(), "log in again"))?;
    match roadstead_pki::connect(address, &tls).await {
        Ok(_) => Ok(((), Some(Finding::ok("trust", "the controller is of the authority that this credential names")))),
        Err(ConnectError::Refused { refusal: Refusal::Expired, .. }) => Err(Finding::failed(
            "trust",
            "a certificate is not valid at this time, though this side's is by this clock",
            "compare the clocks of both machines (`timedatectl`), and see `journalctl -u roadstead-controller`",
        )),
        Err(error) => Err(finding("trust", &unconnected(&error))),
    }
}

/// Compares the clocks, as of the middle of the call.
fn clock(says: &WhoAmIResponse, sent: u64, took: Duration) -> Finding {
    let half = u64::try_from(took.as_millis() / 2).unwrap_or(0);
    let apart = Millis(says.now_ms.abs_diff(sent.saturating_add(half)));
    let side = if says.now_ms > sent { "behind" } else { "ahead of" };
    let text = format!("this clock is {apart} {side} the controller's");
    let hint = "set both clocks by NTP: `timedatectl set-ntp true`";
    if says.now_ms == 0 {
        Finding::ok("clock", "a controller of this version does not tell its time")
    } else if apart > SKEW_FAILED {
        Finding::failed("clock", text, hint)
    } else if apart > SKEW_WARNING {
        Finding::warning("clock", text, hint)
    } else {
        Finding::ok("clock", "the same as the controller's")
    }
}

fn version(says: &WhoAmIResponse) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    let text = format!("controller {}, command {own}, protocol {}", says.controller_version, says.protocol);
    if says.controller_version != own || (says.protocol != 0 && says.protocol != PROTOCOL) {
        let hint = "upgrade the older one; the controller first, then agents and commands";
        return Finding::warning("version", text, hint);
    }
    Finding::ok("version", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_at_the_middle_of_the_call() {
        let at = |now_ms| clock(&WhoAmIResponse { now_ms, ..Default::default() }, 1_000_000, Duration::from_secs(2));
        let told = [1_001_000, 1_011_000, 991_000, 2_000_000].map(|now| at(now).to_string());
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn versions_that_differ_deserve_a_look() {
        let says = |version: &str| WhoAmIResponse { controller_version: version.into(), protocol: PROTOCOL, ..Default::default() };
        assert_eq!(version(&says(env!("CARGO_PKG_VERSION"))).verdict, roadstead_model::Verdict::Ok);
        assert_eq!(version(&says("0.0.1")).verdict, roadstead_model::Verdict::Warning);
    }
}
