//! `roadstead login`: who this user is to a controller.

use roadstead_pki::{ClientTls, Credentials, JoinToken, PendingCredentials};
use roadstead_proto::v1::{EnrollAdminRequest, enrollment_client::EnrollmentClient};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::failure::{self, Failure, Result};
use crate::output::Output;
use crate::remote::{Config, enrolling, folder};

const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// Makes this user known to a controller, once.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  roadstead login --controller deploy.example.org:7443 --token-file token\n  roadstead login --controller deploy.example.org:7443 --credential admin.pem"
)]
pub(crate) struct Arguments {
    /// Where the controller is.
    #[arg(long, value_name = "HOST:PORT")]
    controller: String,
    /// A file with the token that `roadstead admin invite` printed; - reads standard input.
    #[arg(long, value_name = "FILE", required_unless_present = "credential", conflicts_with = "credential")]
    token_file: Option<PathBuf>,
    /// The credential file that `roadstead-controller init` wrote.
    #[arg(long, value_name = "FILE")]
    credential: Option<PathBuf>,
}

/// Keeps the credentials and the address in the user's folder.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let credentials = match (&arguments.credential, &arguments.token_file) {
        (Some(file), _) => {
            Credentials::load(file).map_err(|error| Failure::usage(format!("{} is not used", file.display())).because(&error))?
        }
        (None, Some(file)) => redeem(&arguments.controller, file)?,
        (None, None) => return Err(Failure::usage("say --token-file or --credential")),
    };
    keep(&arguments.controller, &credentials)?;
    let who = credentials.identity().to_string();
    output.result(&serde_json::json!({ "identity": who, "controller": arguments.controller }), || {
        format!("You are {who} to the controller at {}.", arguments.controller)
    });
    Ok(())
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
        std::io::stdin().lock().take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| failure::file("read", file, &error))?;
    JoinToken::parse(&text).map_err(|error| Failure::usage("the token is not used").because(&error))
}
