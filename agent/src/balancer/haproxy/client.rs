//! HAProxy's runtime socket: one connection for each command, which HAProxy closes behind its answer.

use roadstead_model::{Failure, FailureKind};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::servers::Nonsense;

/// How long one answer may take: HAProxy answers between two requests.
const ANSWER_AT_MOST: Duration = Duration::from_secs(5);
/// Hundreds of bytes for each server, for thousands of servers.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why HAProxy did not do as told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HaProxyError {
    /// Nobody listens there.
    #[error("HAProxy's socket {} cannot be reached", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("HAProxy's socket broke at '{command}'")]
    Broken {
        /// What was said.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// It does not answer.
    #[error("HAProxy did not answer '{command}' within {} s", ANSWER_AT_MOST.as_secs())]
    Silent {
        /// What was said.
        command: String,
    },
    /// It does not stop to answer.
    #[error("HAProxy's answer to '{command}' is larger than {ANSWER_BYTES_MAX} bytes")]
    Huge {
        /// What was said.
        command: String,
    },
    /// The answer ends too early.
    #[error("HAProxy's answer to '{command}' ends in its middle")]
    Cut {
        /// What was said.
        command: String,
    },
    /// It says no.
    #[error("HAProxy does not take '{command}': {said}")]
    Refused {
        /// What was said.
        command: String,
        /// What it answered.
        said: String,
    },
    /// It says something else.
    #[error("HAProxy: {0}")]
    Nonsense(#[from] Nonsense),
}

impl HaProxyError {
    /// The failure for people.
    pub(crate) fn failure(&self) -> Failure {
        let (kind, hint) = match self {
            Self::Unreachable { path, .. } => (
                FailureKind::Host,
                format!(
                    "is HAProxy running, and has its global section `stats socket {} mode 660 level admin`? Another path is `socket` under [traffic.APP] in agent.toml",
                    path.display()
                ),
            ),
            Self::Silent { .. } => (FailureKind::Deadline, "is HAProxy overloaded or stopped? systemctl status haproxy".into()),
            Self::Refused { said, .. } if said.starts_with("Permission denied") => {
                (FailureKind::Unfit, "write `level admin` behind the `stats socket` in haproxy.cfg and reload HAProxy".into())
            }
            Self::Refused { said, .. } if said.contains("backend") || said.contains("proxy") => {
                (FailureKind::Unfit, "name the backend as haproxy.cfg does: `backend` under [traffic.APP] in agent.toml".into())
            }
            Self::Refused { said, .. } if said.starts_with("No such server") => {
                (FailureKind::Unfit, "name the server as haproxy.cfg does: `servers` under [traffic.APP] in agent.toml".into())
            }
            Self::Broken { .. } | Self::Huge { .. } | Self::Cut { .. } | Self::Refused { .. } | Self::Nonsense(_) => (
                FailureKind::Host,
                "is it HAProxy that listens at this socket? Try it: echo 'show stat' to the socket, such as with socat".into(),
            ),
        };
        Failure::new(kind, roadstead_worker::failure::chain(self), hint)
    }
}

/// The runtime socket.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    /// Connects to nothing yet.
    pub(crate) const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks for a table.
    pub(crate) async fn table(&self, command: &str) -> Result<String, HaProxyError> {
        let answer = self.ask(command).await?;
        // Tables have a line of names, refusals have none.
        if !answer.lines().any(|line| line.starts_with("# ")) {
            return Err(HaProxyError::Refused { command: command.to_owned(), said: said(&answer) });
        }
        if !answer.ends_with("\n\n") {
            return Err(HaProxyError::Cut { command: command.to_owned() });
        }
        Ok(answer)
    }

    /// Tells it to do something, which it answers with nothing.
    pub(crate) async fn tell(&self, command: &str) -> Result<(), HaProxyError> {
        let answer = self.ask(command).await?;
        match answer.trim() {
            "" if answer.is_empty() => Err(HaProxyError::Cut { command: command.to_owned() }),
            "" => Ok(()),
            _ => Err(HaProxyError::Refused { command: command.to_owned(), said: said(&answer) }),
        }
    }

    /// The whole answer to one command.
    pub(crate) async fn ask(&self, command: &str) -> Result<String, HaProxyError> {
        timeout(ANSWER_AT_MOST, self.exchange(command)).await.map_err(|_| HaProxyError::Silent { command: command.to_owned() })?
    }

    async fn exchange(&self, command: &str) -> Result<String, HaProxyError> {
        let unreachable = |source| HaProxyError::Unreachable { path: self.socket.clone(), source };
        let broken = |source| HaProxyError::Broken { command: command.to_owned(), source };
        let mut stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        stream.write_all(format!("{command}\n").as_bytes()).await.map_err(broken)?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer).await.map_err(broken)?;
        if answer.len() as u64 > ANSWER_BYTES_MAX {
            return Err(HaProxyError::Huge { command: command.to_owned() });
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// The first line of an answer.
fn said(answer: &str) -> String {
    let line = answer.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
