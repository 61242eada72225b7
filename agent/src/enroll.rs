//! `roadstead-agent enroll`: redeems a join token. The key is made here and never leaves the host.

use roadstead_model::HostFacts;
use roadstead_pki::{ClientTls, CredentialsError, Identity as Name, InvalidJoinToken, JoinToken, KeyError, PendingCredentials, TlsError};
use roadstead_proto::v1::{self, enrollment_client::EnrollmentClient};
use roadstead_worker::files::{FileError, read_all_bounded, read_bounded};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::time::{Duration, timeout};
use tonic::Status;

use crate::args::Enroll;
use crate::facts;
use crate::identity::{Identity, IdentityError};
use crate::layout::Layout;
use crate::link::{DialError, connect, spoken};
use crate::remembered;
use crate::settings::{SettingsError, check_address};

/// A token file may hold white space around the token, and nothing else.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;
/// The metadata key under which the controller says what to do next.
const HINT: &str = "roadstead-hint";
const HINT_CHARACTERS_MAX: usize = 400;
/// How long the controller may take.
const ANSWER_AT_MOST: Duration = Duration::from_secs(30);

/// Why the host did not enroll.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrollError {
    /// It is enrolled already.
    #[error("this host is enrolled already; to enroll it as a new host, say --again, and revoke the old one with `roadstead host revoke`")]
    Already,
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] InvalidJoinToken),
    /// The file of the token, or the agent's own files.
    #[error(transparent)]
    File(#[from] FileError),
    /// The address is none.
    #[error(transparent)]
    Address(#[from] SettingsError),
    /// No key could be made.
    #[error("no key could be made")]
    Key(#[from] KeyError),
    /// The token names an authority that makes no connection.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The controller was not reached, or is not the one that the token names.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The controller took too long.
    #[error("the controller did not answer within {} s; try again", ANSWER_AT_MOST.as_secs())]
    Slow,
    /// The controller refused.
    #[error("the controller refused: {0}")]
    Refused(String),
    /// What the controller sent is no identity for this host.
    #[error("the controller's answer is no identity for this host")]
    Answer(#[source] CredentialsError),
    /// It is an identity, but not this host's.
    #[error("the controller's answer names {found}, not the host {expected}")]
    Another {
        /// Whose identity came.
        found: Name,
        /// Whose should have come.
        expected: String,
    },
    /// The identity cannot be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl From<Status> for EnrollError {
    fn from(status: Status) -> Self {
        let hint = status.metadata().get(HINT).and_then(|hint| hint.to_str().ok());
        let hint = hint.map_or_else(String::new, |hint| format!("; {}", hint.chars().take(HINT_CHARACTERS_MAX).collect::<String>()));
        Self::Refused(format!("{}{hint}", spoken(&status)))
    }
}

/// Reads the token from a file, or from standard input for `-`.
pub(crate) fn read_token(file: &Path) -> Result<JoinToken, EnrollError> {
    let bytes = if file == Path::new("-") {
        read_all_bounded(std::io::stdin().lock(), Path::new("standard input"), TOKEN_FILE_BYTES_MAX)?
    } else {
        read_bounded(file, TOKEN_FILE_BYTES_MAX)?
    };
    Ok(JoinToken::parse(&String::from_utf8_lossy(&bytes))?)
}

/// Enrolls this host, and says so.
pub(crate) async fn enroll(layout: &Layout, how: &Enroll, token: &JoinToken) -> Result<String, EnrollError> {
    if Identity::is_there(layout) && !how.again {
        return Err(EnrollError::Already);
    }
    check_address(&how.controller, "--controller")?;
    let pending = PendingCredentials::generate()?;
    // Nothing of the token is sent before the controller has shown the authority that the token names.
    let mut client = EnrollmentClient::new(connect(&how.controller, ClientTls::for_enrollment(token.authority())?, Arc::default()).await?);
    let facts = facts::gather(&PathBuf::from("/"), layout, &remembered::states(layout), "", &[]);
    let answer = timeout(ANSWER_AT_MOST, client.enroll_host(request(token, &pending, facts)));
    let answer = answer.await.map_err(|_| EnrollError::Slow)??.into_inner();
    let credentials = pending.complete(&answer.certificate, &answer.authority).map_err(EnrollError::Answer)?;
    match credentials.identity() {
        Name::Host(host) if host.as_str() == answer.host_id => {}
        other => return Err(EnrollError::Another { found: other.clone(), expected: answer.host_id.chars().take(40).collect() }),
    }
    Identity::establish(layout, &credentials, &how.controller)?;
    // What the host that it was before had logged in as elsewhere is not this one's; where there is nothing, nothing is left.
    std::fs::remove_dir_all(layout.logins()).ok();
    Ok(format!("This host is enrolled as {} with the controller at {}.", answer.host_id, how.controller))
}

fn request(token: &JoinToken, pending: &PendingCredentials, facts: HostFacts) -> v1::EnrollHostRequest {
    v1::EnrollHostRequest { token_secret: token.secret().to_vec(), csr: pending.request().to_vec(), facts: Some(facts.into()) }
}
