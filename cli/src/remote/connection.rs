//! One connection to the controller: configuration and identity from the user's folder, TLS from the pki crate, errors in our words.

use roadstead_model::{Timestamp, limits, mistake};
use roadstead_pki::{ClientTls, Credentials};
use roadstead_proto::v1::operator_client::OperatorClient;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};

use super::refusal::refusal;
use super::renewal::{is_due, renew};
use crate::failure::{self, Failure, Result};

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
        let answer = self.runtime.block_on(call(self.client.clone())).map_err(|status| refusal(&status, &self.address))?;
        if let Some(identity) = self.renewal.take() {
            self.runtime.block_on(renew(self.client.clone(), &identity));
        }
        Ok(answer)
    }

    /// As [`Controller::call`], but Ctrl-C ends it: then there is no answer.
    pub(crate) fn call_interruptibly<T>(
        &self,
        call: impl AsyncFnOnce(OperatorClient<Channel>) -> std::result::Result<T, Status>,
    ) -> Option<Result<T>> {
        self.runtime.block_on(async {
            tokio::select! {
                answer = call(self.client.clone()) => Some(answer.map_err(|status| refusal(&status, &self.address))),
                // Without a handler Ctrl-C ends the whole command, which is as well.
                Ok(()) = tokio::signal::ctrl_c() => None,
            }
        })
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

/// Reads `config.toml` of the user's folder.
///
/// # Errors
/// When the user is not logged in, or the file cannot be read.
pub(crate) fn read_config(folder: &Path) -> Result<Config> {
    let path = folder.join("config.toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::refused("no controller is known: you are not logged in").hint("run `roadstead login --help`"));
        }
        Err(error) => return Err(failure::file("read", &path, &error)),
    };
    toml::from_str(&text).map_err(|error| {
        let what = mistake::located(&text, error.span().map_or(0, |span| span.start), error.message());
        Failure::usage(format!("{}:{what}", path.display())).hint("`roadstead login` writes this file")
    })
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
