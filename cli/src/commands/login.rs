//! `roadstead login`: who this user is to a controller.

use roadstead_pki::{ClientTls, Credentials, JoinToken, PendingCredentials};
use roadstead_proto::v1::{EnrollAdminRequest, enrollment_client::EnrollmentClient};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::failure::{self, Failure, Result};
use crate::output::Output;
use crate::remote::{Config, enrolling, folder, moment};

const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Makes this user known to a controller, once.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  roadstead login --credential admin.pem\n  roadstead login --controller deploy.example.org:7443 --token-file token"
)]
pub(crate) struct Arguments {
    /// Where the controller is; a credential says it itself.
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "credential")]
    controller: Option<String>,
    /// A file with the token that `roadstead admin token` printed; - reads standard input.
    #[arg(long, value_name = "FILE", required_unless_present = "credential", conflicts_with = "credential")]
    token_file: Option<PathBuf>,
    /// The credential file that `roadstead-controller init` wrote.
    #[arg(long, value_name = "FILE")]
    credential: Option<PathBuf>,
}

/// Keeps the credentials and the address in the user's folder.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let unknown = || Failure::usage("it is not known where the controller is").hint("say --controller HOST:PORT");
    let (controller, credentials) = match (&arguments.credential, &arguments.token_file) {
        (Some(file), _) => {
            let (named, credentials) = credential(file)?;
            (arguments.controller.clone().or(named).ok_or_else(unknown)?, credentials)
        }
        (None, Some(file)) => {
            let controller = arguments.controller.clone().ok_or_else(unknown)?;
            let credentials = redeem(&controller, file)?;
            (controller, credentials)
        }
        (None, None) => return Err(Failure::usage("say --token-file or --credential")),
    };
    keep(&controller, &credentials)?;
    let who = credentials.identity().to_string();
    let until = credentials.not_after().0;
    output.result(&serde_json::json!({ "identity": who, "controller": controller, "valid_until_ms": until }), || {
        format!("You are {who} to the controller at {controller}, until {}.", moment(until))
    });
    Ok(())
}

/// Reads what `roadstead-controller init` wrote: where the controller is, then the credentials.
fn credential(file: &Path) -> Result<(Option<String>, Credentials)> {
    let unused = |error: &dyn std::error::Error| Failure::usage(format!("{} is not used", file.display())).because(error);
    let credentials = Credentials::load(file).map_err(|error| unused(&error))?;
    let mut head = String::new();
    // The credentials have been read from it: it is small, and it is text.
    std::fs::File::open(file).and_then(|opened| opened.take(FILE_BYTES_MAX).read_to_string(&mut head)).map_err(|error| unused(&error))?;
    Ok((named_controller(&head), credentials))
}

/// The address above the credentials.
fn named_controller(text: &str) -> Option<String> {
    let head = text.split("-----BEGIN").next()?;
    toml::from_str::<Config>(head).ok().map(|config| config.controller)
}

fn keep(controller: &str, credentials: &Credentials) -> Result<()> {
    let folder = folder()?;
    std::fs::create_dir_all(&folder).map_err(|error| failure::file("make", &folder, &error))?;
    let config = toml::to_string(&Config { controller: controller.to_owned() })
        .map_err(|error| Failure::failed("cannot write the settings").because(&error))?;
    let path = folder.join("config.toml");
    std::fs::write(&path, config).map_err(|error| failure::file("write", &path, &error))?;
    let path = folder.join("identity.pem");
    credentials.save(&path).map_err(|error| Failure::failed("the credentials are not kept").because(&error))
}

fn redeem(controller: &str, file: &Path) -> Result<Credentials> {
    let token = read_token(file)?;
    let failed = |error: &dyn std::error::Error| Failure::failed("no credentials were made").because(error);
    let tls = ClientTls::for_enrollment(token.authority()).map_err(|error| failed(&error))?;
    let pending = PendingCredentials::generate().map_err(|error| failed(&error))?;
    let request = EnrollAdminRequest { token_secret: token.secret().to_vec(), csr: pending.request().to_vec() };
    let answer = enrolling(controller, tls, async |channel| Ok(EnrollmentClient::new(channel).enroll_admin(request).await?.into_inner()))?;
    pending.complete(&answer.certificate, &answer.authority).map_err(|error| failed(&error))
}

fn read_token(file: &Path) -> Result<JoinToken> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| failure::file("read", file, &error))?;
    JoinToken::parse(&text).map_err(|error| Failure::usage("the token is not used").because(&error))
}

#[cfg(test)]
mod tests {
    use super::named_controller;

    #[test]
    fn a_credential_says_where_its_controller_is() {
        let text = "controller = \"deploy.example.org:7443\"\n-----BEGIN PRIVATE KEY-----\n";
        assert_eq!(named_controller(text).as_deref(), Some("deploy.example.org:7443"));
        assert_eq!(named_controller("-----BEGIN PRIVATE KEY-----\n"), None);
        assert_eq!(named_controller("controller = 5\n-----BEGIN"), None);
    }
}
