//! One connection to the controller: configuration and identity from the user's folder, TLS from the pki crate, errors in our words.

use roadstead_model::{Timestamp, limits};
use roadstead_pki::{ClientTls, Credentials};
use roadstead_proto::v1::operator_client::OperatorClient;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

use super::renewal::{is_due, renew};
use crate::failure::{self, Failure, Kind, Result};

/// The metadata key under which the controller says what to do next.
const HINT: &str = "roadstead-hint";
/// A controller that is silent for so long during a call is asked whether it is there, and given so long to answer.
const ASK_AFTER: Duration = Duration::from_secs(15);

/// Where the controller is: `config.toml` in the user's folder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// `HOST:PORT`.
    pub(crate) controller: String,
}

/// The folder that holds `config.toml` and `identity.pem`: `$ROADSTEAD_CONFIG_DIR`, or `roadstead` below the XDG configuration folder.
///
/// # Errors
/// When neither that variable nor a home folder is set.
pub(crate) fn folder() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("ROADSTEAD_CONFIG_DIR")
        .or_else(|| set("XDG_CONFIG_HOME").map(|base| base.join("roadstead")))
        .or_else(|| set("HOME").map(|home| home.join(".config/roadstead")))
        .ok_or_else(|| Failure::usage("no home folder is known").hint("set HOME or ROADSTEAD_CONFIG_DIR"))
}

/// The controller, connected on the first call.
#[derive(Debug)]
pub(crate) struct Controller {
    runtime: tokio::runtime::Runtime,
    client: OperatorClient<Channel>,
    address: String,
    /// The file of the user's credentials, while these want to be renewed.
    renewal: RefCell<Option<PathBuf>>,
}

impl Controller {
    /// Reads who we are and where the controller is. Nothing is sent yet.
    ///
    /// # Errors
    /// When `roadstead login` was not run, or its files cannot be read.
    pub(crate) fn of_user() -> Result<Self> {
        let folder = folder()?;
        let config = read_config(&folder)?;
        let login = "run `roadstead login` first";
        let identity = folder.join("identity.pem");
        let credentials = Credentials::load(&identity)
            .map_err(|error| Failure::refused(format!("cannot use the identity in {}", identity.display())).because(&error).hint(login))?;
        let tls = ClientTls::new(&credentials).map_err(|error| Failure::refused("cannot use the identity").because(&error).hint(login))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed("cannot start").because(&error))?;
        let channel = {
            let _entered = runtime.enter();
            channel(config.controller.clone(), Arc::new(tls))
        };
        let client = OperatorClient::new(channel).max_decoding_message_size(limits::MESSAGE_BYTES_MAX * 8);
        let due = is_due(&credentials, Timestamp(super::now_ms()));
        Ok(Self { runtime, client, address: config.controller, renewal: RefCell::new(due.then_some(identity)) })
    }

    /// One call, or a conversation of calls.
    ///
    /// # Errors
    /// The controller's refusal, or that it cannot be reached, in words.
    pub(crate) fn call<T>(&self, call: impl AsyncFnOnce(OperatorClient<Channel>) -> std::result::Result<T, Status>) -> Result<T> {
        let answer = self.runtime.block_on(call(self.client.clone())).map_err(|status| self.refusal(&status))?;
        if let Some(identity) = self.renewal.take() {
            self.runtime.block_on(renew(self.client.clone(), &identity));
        }
        Ok(answer)
    }

    /// What a status of this controller means, in words.
    pub(crate) fn refusal(&self, status: &Status) -> Failure {
        refusal(status, &self.address)
    }

    /// Lets time pass while the connection stays served.
    pub(crate) fn sleep(&self, span: Duration) {
        // a timer is made inside of the runtime or not at all
        self.runtime.block_on(async { tokio::time::sleep(span).await });
    }
}

/// One conversation with a controller to which nobody is known yet.
///
/// # Errors
/// As [`Controller::call`].
pub(crate) fn enrolling<T>(address: &str, tls: ClientTls, call: impl AsyncFnOnce(Channel) -> std::result::Result<T, Status>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed("cannot start").because(&error))?;
    let called = runtime.block_on(async { call(channel(address.to_owned(), Arc::new(tls))).await });
    called.map_err(|status| refusal(&status, address))
}

fn read_config(folder: &Path) -> Result<Config> {
    let path = folder.join("config.toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::refused("no controller is known: you are not logged in").hint("run `roadstead login --help`"));
        }
        Err(error) => return Err(failure::file("read", &path, &error)),
    };
    toml::from_str(&text).map_err(|error| Failure::usage(format!("{} cannot be read", path.display())).because(&error))
}

/// A channel that dials with the newest credentials whenever it has to dial.
fn channel(address: String, tls: Arc<ClientTls>) -> Channel {
    let connector = tower::service_fn(move |_: Uri| {
        let (address, tls) = (address.clone(), tls.clone());
        async move {
            let stream = roadstead_pki::connect(&address, &tls).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://controller.roadstead")
        .http2_keep_alive_interval(ASK_AFTER)
        .keep_alive_timeout(ASK_AFTER)
        .connect_with_connector_lazy(connector)
}

/// What a status means to a person: kind, words, hint.
fn refusal(status: &Status, address: &str) -> Failure {
    let kind = match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => Kind::Unreachable,
        Code::PermissionDenied | Code::Unauthenticated | Code::FailedPrecondition => Kind::Refused,
        Code::InvalidArgument => Kind::Usage,
        _ => Kind::Failed,
    };
    let mut failure = match kind {
        Kind::Unreachable => Failure::new(kind, format!("the controller at {address} does not answer")).because(status),
        _ => Failure::new(kind, status.message()),
    };
    if let Some(hint) = status.metadata().get(HINT).and_then(|value| value.to_str().ok()) {
        failure = failure.hint(hint);
    } else if kind == Kind::Unreachable {
        failure = failure.hint("is it running (`systemctl status roadstead-controller`), and can it be reached from here?");
    }
    failure
}
