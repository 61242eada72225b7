//! What callers are told when something is not done: a code, words, and what to do next.

use roadstead_proto::Invalid;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::access::Denied;
use crate::store::{StoreError, TokenRefused};
use roadstead_driver::{LedgerError, NotRemoved, Refused};

/// The metadata key of the hint.
const HINT: &str = "roadstead-hint";

/// A status with a hint.
pub(super) fn status(code: Code, message: impl Into<String>, hint: &str) -> Status {
    let mut status = Status::new(code, crate::store::printable(&message.into()));
    if !hint.is_empty()
        && let Ok(value) = MetadataValue::try_from(hint)
    {
        status.metadata_mut().insert(HINT, value);
    }
    status
}

/// What a status says to do next; empty where it says nothing.
pub(super) fn hint(status: &Status) -> &str {
    status.metadata().get(HINT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Something in the request makes no sense.
pub(super) fn invalid(error: impl std::fmt::Display) -> Status {
    status(Code::InvalidArgument, error.to_string(), "")
}

/// A conversion failed.
pub(super) fn malformed(error: Invalid) -> Status {
    status(Code::InvalidArgument, error.to_string(), "are both sides of the same version?")
}

/// There is no such thing.
pub(super) fn unknown(message: impl Into<String>, hint: &str) -> Status {
    status(Code::NotFound, message, hint)
}

/// Something else must be done first.
pub(super) fn not_now(message: impl Into<String>, hint: &str) -> Status {
    status(Code::FailedPrecondition, message, hint)
}

/// The controller itself fails.
pub(super) fn internal(error: impl std::fmt::Display) -> Status {
    tracing::error!(%error, "a call failed");
    status(Code::Internal, error.to_string(), "see `journalctl -u roadstead-controller`")
}

/// The database fails.
pub(super) fn stored(error: StoreError) -> Status {
    match error {
        StoreError::Stopping => status(Code::Unavailable, error.to_string(), "try again in a moment"),
        other => internal(other),
    }
}

/// The caller is not welcome.
pub(super) fn denied(denied: Denied) -> Status {
    match denied {
        Denied::Nobody => status(Code::Unauthenticated, denied.to_string(), "enroll the host, or `roadstead login`, first"),
        Denied::Expired => status(
            Code::Unauthenticated,
            denied.to_string(),
            "compare the clocks of both machines; if they agree, enroll or log in again with a new token",
        ),
        Denied::Revoked => status(Code::PermissionDenied, denied.to_string(), "an admin can make a new token"),
        Denied::Locked => status(
            Code::PermissionDenied,
            denied.to_string(),
            "each enrolls as a host of its own, with a token of `roadstead host token`: `roadstead-agent enroll --again`",
        ),
        Denied::WrongKind => status(Code::PermissionDenied, denied.to_string(), "hosts and admins have calls of their own"),
    }
}

/// The token lets nobody in.
pub(super) fn token_refused(refused: TokenRefused) -> Status {
    status(Code::PermissionDenied, refused.to_string(), "make a new one with `roadstead host token` or `roadstead admin token`")
}

/// An environment stays.
pub(super) fn not_removed(refused: NotRemoved) -> Status {
    let text = refused.to_string();
    match refused {
        NotRemoved::NoEnvironment(..) => unknown(text, "see `roadstead env list`"),
        NotRemoved::Busy { rollout, .. } => {
            not_now(text, &format!("wait for its end, or end it with `roadstead rollout abort {rollout}`; then remove the environment"))
        }
        NotRemoved::Hosts { .. } => not_now(
            text,
            "cut them off (`roadstead host revoke HOST`) when they are to go; when other apps go on running on them, first apply a selector \
             that matches none of them",
        ),
        NotRemoved::Ledger(LedgerError::Stopping) => stored(StoreError::Stopping),
        NotRemoved::Ledger(error) => internal(error),
    }
}

/// The driver does not do it.
pub(super) fn refused(refused: Refused) -> Status {
    let text = refused.to_string();
    match refused {
        Refused::NoEnvironment(..) => unknown(text, "see `roadstead env list`; `roadstead apply -f FILE` makes one"),
        Refused::NoRelease(..) => unknown(text, "see `roadstead release list`; `roadstead push` brings one"),
        Refused::NoConfiguration(..) => unknown(text, "see `roadstead config history`"),
        Refused::Bad { .. } => not_now(text, "build and push a corrected release"),
        Refused::Busy(rollout, ..) => {
            not_now(text, &format!("watch it with `roadstead rollout watch {rollout}`, or end it with `roadstead rollout abort {rollout}`"))
        }
        Refused::Waiting(rollout, ..) => {
            not_now(text, &format!("see `roadstead rollout show {rollout}`; end it with `roadstead rollout abort {rollout}`"))
        }
        Refused::NoHost(..) => invalid(format!("{text}; see `roadstead host list`")),
        Refused::NothingRuns(..) => not_now(text, "deploy a release first"),
        Refused::NobodyServes(..) => not_now(text, "see `roadstead host list`; hosts come level once they are connected"),
        Refused::ServesNot(host, _) => not_now(text, &format!("see `roadstead host show {host}`, or let another host do it with --on")),
        Refused::Locked(closed) => not_now(text, &closed.way),
        Refused::TwoSets(_) => not_now(text, "docs/recovery.md says how to restore a backup by hand"),
        Refused::NothingBefore(..) => not_now(text, "name a release: `roadstead rollback --to RELEASE`"),
        Refused::NeverServed(..) => not_now(text, "bring it there with `roadstead deploy`"),
        Refused::RunsAlready(..) => not_now(text, "see `roadstead env list`"),
        Refused::NotRunning(_) => not_now(text, "see `roadstead rollout list`"),
        Refused::Unfit(roadstead_rollout::Rejected::NotNow { rollout, .. }) => {
            not_now(text, &format!("see `roadstead rollout show {rollout}`"))
        }
        Refused::Unfit(_) => invalid(text),
        Refused::Behind(_) => not_now(
            text,
            "after restoring a backup, stop the controller, run `roadstead-controller restored` there, and start it; a host that does not \
             belong to this fleet: `roadstead host revoke`",
        ),
        Refused::Made(_) => internal(text),
        Refused::Lacking { environment, .. } => not_now(
            text,
            &format!(
                "correct it with `roadstead config set {environment} NAME=VALUE`, or in the environment's file; secrets: as root, in /etc/roadstead/apps/ on the hosts"
            ),
        ),
        Refused::NotEverywhere { ref host, ref runs, .. } => {
            let way = format!(
                "it comes level by itself once it is connected (see `roadstead host show {host}`); or deploy {runs} to it, cut it off (`roadstead host \
                 revoke`), or, if you know that it does no harm, ask with --despite-schema"
            );
            not_now(text, &way)
        }
        Refused::Clash(_) => not_now(text, "see `roadstead config list`"),
        Refused::Plan(_) => not_now(text, "see `roadstead host list`"),
        Refused::OtherPlan(other) => {
            not_now(text, &format!("look at what would happen now: `roadstead plan {} {}`", other.environment, other.release))
        }
        Refused::Ledger(LedgerError::Stopping) => stored(StoreError::Stopping),
        Refused::Ledger(error) => internal(error),
    }
}
