//! What a failed call means to a person: kind, words, hint. No status of the transport is ever shown as it is.

use roadstead_pki::{ConnectError, Refusal};
use std::error::Error;
use tonic::{Code, Status};

use crate::failure::{Failure, Kind};

/// The metadata key under which the controller says what to do next.
const HINT: &str = "roadstead-hint";

/// The failure that a status amounts to.
pub(super) fn refusal(status: &Status, address: &str) -> Failure {
    if let Some(error) = connect_error(status) {
        return unconnected(error);
    }
    let hint = status.metadata().get(HINT).and_then(|value| value.to_str().ok());
    // The controller's own words come with a hint; what the transport makes up does not.
    let is_transport = hint.is_none() && !status.message().is_empty() && is_broken(status);
    let kind = match status.code() {
        _ if is_transport => Kind::Unreachable,
        Code::Unavailable | Code::DeadlineExceeded => Kind::Unreachable,
        Code::PermissionDenied | Code::Unauthenticated | Code::FailedPrecondition => Kind::Refused,
        Code::InvalidArgument => Kind::Usage,
        _ => Kind::Failed,
    };
    if status.code() == Code::Unimplemented {
        return Failure::failed(format!("the controller at {address} does not know this call"))
            .hint("it is older or newer than this command: `roadstead doctor` shows both versions; upgrade the older one");
    }
    let failure = match (kind, is_transport) {
        (Kind::Unreachable, true) => lost(status, address),
        (Kind::Unreachable, false) => Failure::new(kind, format!("the controller at {address} does not answer")).cause(status.message()),
        _ => Failure::new(kind, status.message()),
    };
    match hint {
        Some(hint) => failure.hint(hint),
        None if kind == Kind::Unreachable => {
            failure.hint("is it running (`systemctl status roadstead-controller`)? `roadstead doctor` looks further")
        }
        None => failure,
    }
}

/// Codes that the transport gives to what it makes up.
fn is_broken(status: &Status) -> bool {
    matches!(status.code(), Code::Unknown | Code::Internal | Code::Unavailable | Code::Cancelled | Code::Aborted)
}

/// The connection broke in the middle of a call.
fn lost(status: &Status, address: &str) -> Failure {
    let failure = Failure::new(Kind::Unreachable, format!("the connection to the controller at {address} broke"));
    let mut deepest: &dyn Error = status;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let words =
        if deepest.source().is_none() && !std::ptr::addr_eq(deepest, status) { deepest.to_string() } else { status.message().to_owned() };
    failure.cause(words)
}

/// Why there is no connection, when that is the reason.
fn connect_error(status: &Status) -> Option<&ConnectError> {
    let mut next = status.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<ConnectError>() {
            return Some(found);
        }
        // An I/O error hides what it was made of from `source`.
        if let Some(found) = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref()?.downcast_ref::<ConnectError>()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The failure of an attempt to connect.
pub(crate) fn unconnected(error: &ConnectError) -> Failure {
    match error {
        ConnectError::Unreachable { address, source } => {
            Failure::new(Kind::Unreachable, format!("the controller at {address} does not answer"))
                .cause(source.to_string())
                .hint("is it running (`systemctl status roadstead-controller`), and is the address right? `roadstead doctor` looks further")
        }
        ConnectError::Deadline { address } => Failure::new(Kind::Unreachable, format!("the controller at {address} does not answer"))
            .cause(error.to_string())
            .hint("does a firewall drop what goes there? `roadstead doctor` looks further"),
        ConnectError::Refused { address, refusal } => {
            let (what, hint) = refused(*refusal);
            Failure::refused(format!("there is no trust between this command and {address}")).cause(what).hint(hint)
        }
        ConnectError::NotTheController { address, fault } => Failure::refused(format!("{address} is not the controller of the fleet"))
            .cause(fault.clone())
            .hint("log in at the controller's own address: `roadstead login --help`"),
    }
}

/// What a refusal means, and what to do.
fn refused(refusal: Refusal) -> (String, &'static str) {
    let hint = match refusal {
        Refusal::Stranger => "if the controller was made anew, log in again; if not, someone else answers there",
        Refusal::Expired => {
            "compare the clocks of both machines; when this side's certificate is over, log in with a new token of `roadstead admin token`"
        }
        Refusal::Impostor => "check the address in config.toml: it is not a controller that answers there",
        Refusal::Unwelcome => "log in again with a token that another admin makes: `roadstead admin token NAME`",
        Refusal::Protocol => "check the address and the port: the controller's is 7443 unless it was set otherwise",
    };
    (refusal.to_string(), hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn status(code: Code, message: &str, hint: &str) -> Status {
        let mut status = Status::new(code, message);
        if !hint.is_empty() {
            status.metadata_mut().insert(HINT, hint.parse().unwrap());
        }
        status
    }

    #[test]
    fn the_controllers_words_are_shown_as_they_are() {
        let address = "deploy.example.org:7443";
        let told = [
            status(Code::NotFound, "there is no release \"9\" of erp", "see `roadstead release list`"),
            status(Code::FailedPrecondition, "r-7 is under way in staging", "watch it with `roadstead rollout watch r-7`"),
            status(Code::PermissionDenied, "this certificate was revoked", "an admin can make a new token"),
            status(Code::InvalidArgument, "a token is good for 10.0 s to 7 days, not 1.0 s", ""),
            status(Code::Unavailable, "the controller stops", "follow again in a moment"),
            status(Code::Internal, "the database is damaged", "see `journalctl -u roadstead-controller`"),
            status(Code::Unimplemented, "", ""),
            status(Code::Unknown, "h2 protocol error: error reading a body from connection", ""),
        ]
        .map(|status| {
            let failure = refusal(&status, address);
            format!("{failure}\nexit code {}\n", failure.kind.code())
        });
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn why_there_is_no_connection_is_told_in_words() {
        let address = || "deploy.example.org:7443".to_owned();
        let mut errors = vec![
            ConnectError::Unreachable { address: address(), source: io::Error::from(io::ErrorKind::ConnectionRefused) },
            ConnectError::Deadline { address: address() },
            ConnectError::NotTheController { address: address(), fault: "it is host h-1".to_owned() },
        ];
        let refusals = [Refusal::Stranger, Refusal::Expired, Refusal::Impostor, Refusal::Unwelcome, Refusal::Protocol];
        errors.extend(refusals.map(|refusal| ConnectError::Refused { address: address(), refusal }));
        let told = errors.into_iter().map(|error| {
            let failure = refusal(&Status::from_error(Box::new(io::Error::other(error))), "x");
            format!("{failure}\nexit code {}\n", failure.kind.code())
        });
        insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
    }
}
