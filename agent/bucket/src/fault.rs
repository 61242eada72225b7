//! What goes wrong with a bucket, in words: what, where, why, and what next. No word shows a key, a token or a signature.

use roadstead_model::size;
use std::io;
use std::path::PathBuf;

/// Characters of what a server says that are told.
const TOLD_CHARACTERS: usize = 200;

/// Something that was asked of a bucket did not come about.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: {fault}")]
pub struct BucketError {
    /// What was done, with the place.
    pub doing: String,
    /// Why it did not come about.
    #[source]
    pub fault: Fault,
}

/// Why something did not come about.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The server does not answer, or not to the end.
    #[error("the server does not answer as it should: {0}")]
    Connection(roadstead_http::Fault),
    /// It took longer than it may.
    #[error("no answer within {0} s")]
    TooLong(u64),
    /// The server refuses.
    #[error("the server answers {status}{}", said(.code, .message))]
    Refused {
        /// The status of its answer.
        status: u16,
        /// S3's name for why; empty where none came.
        code: String,
        /// What it says, bounded.
        message: String,
    },
    /// The answer is not understood.
    #[error("the server's answer is not that of S3: {0}")]
    Malformed(&'static str),
    /// Other bytes are there than those that were sent, or are expected.
    #[error("{} are there, and not {}", size(*.there), size(*.expected))]
    Size {
        /// How many there are.
        there: u64,
        /// How many there have to be.
        expected: u64,
    },
    /// A file of this host.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It cannot be asked at all.
    #[error("{0}")]
    Unfit(String),
    /// It was called off.
    #[error("it was called off")]
    CalledOff,
}

fn said(code: &str, message: &str) -> String {
    match (code, message) {
        ("", "") => String::new(),
        ("", message) => format!(": {message}"),
        (code, "") => format!(" {code}"),
        (code, message) => format!(" {code}: {message}"),
    }
}

/// What a server said, as far as it is told: it may be anybody's.
pub(crate) fn told(text: &str) -> String {
    let plain = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(char::is_control, "");
    let mut told: String = plain.chars().take(TOLD_CHARACTERS).collect();
    if told.len() < plain.len() {
        told.push('…');
    }
    told
}

impl Fault {
    /// Whether another attempt may end otherwise.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connection(fault) => fault.is_transient(),
            Self::TooLong(_) => true,
            Self::Refused { status, code, .. } => {
                (*status >= 500 && !matches!(status, 501 | 507))
                    || *status == 429
                    || matches!(code.as_str(), "RequestTimeout" | "SlowDown" | "InternalError" | "OperationAborted")
            }
            Self::Malformed(_) | Self::Size { .. } | Self::File { .. } | Self::Unfit(_) | Self::CalledOff => false,
        }
    }

    /// Whether there is no such object.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, code, .. } if code != "NoSuchBucket" && code != "NoSuchUpload")
    }
}

/// Where an operator wrote what a bucket is, and where they read about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// The section of agent.toml, such as `[backup.APP.bucket]`.
    pub name: &'static str,
    /// The page with the rights that suffice.
    pub page: &'static str,
}

impl BucketError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self, section: Section) -> String {
        self.advice().replace("{section}", section.name).replace("{page}", section.page)
    }

    fn advice(&self) -> &'static str {
        match &self.fault {
            Fault::Connection(roadstead_http::Fault::Name { .. } | roadstead_http::Fault::Connect { .. }) => {
                "see whether the server runs and this host reaches it, and `endpoint` under {section} of agent.toml"
            }
            Fault::Connection(roadstead_http::Fault::Tls(_)) => {
                "the server has to speak TLS 1.3 with a certificate that this host believes: `ca` names the file of another authority"
            }
            Fault::Connection(roadstead_http::Fault::Source(_)) | Fault::File { .. } => "look at the disk of this host",
            Fault::Connection(_) | Fault::TooLong(_) => "see whether the server does well and what is between it and this host",
            Fault::Refused { status, code, .. } => refused(*status, code),
            Fault::Malformed(_) => "see whether `endpoint` is that of an S3-compatible server, and not of its console or a proxy's page",
            Fault::Size { .. } => "somebody else writes there, or the server lost something: look at the bucket",
            Fault::Unfit(_) => "correct {section} of agent.toml or what it refers to",
            Fault::CalledOff => "nothing of it counts",
        }
    }
}

fn refused(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (_, "NoSuchBucket") => "make the bucket, or correct `bucket` or `style`",
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch") => {
            "`access-key` and `secret-key` have to be those of one key that the server knows; behind a proxy, it has to hand on the name it was \
             asked by"
        }
        (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
            "the session is over: let `session-token` and its keys be new ones"
        }
        (_, "RequestTimeTooSkewed") => "the clocks of this host and of the server differ: set them",
        (_, "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException") | (301 | 307, _) => {
            "the bucket is elsewhere: correct `region` and `endpoint`"
        }
        (_, "EntityTooLarge" | "QuotaExceeded" | "XMinioStorageFull") | (507, _) => "there is no room for it in the bucket",
        (_, "InvalidObjectState") => "it was moved to an archive: restore it there first",
        (403, _) => "the key may not do this: {page} has the policy that it needs",
        (404, _) => "it is not there, or somebody removed it",
        (429 | 500..=599, _) => "the server is not well, or has too much to do: try again later",
        _ => "see {page}, and what the server's log says",
    }
}
