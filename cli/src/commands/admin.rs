//! `roadstead admin`: who may steer.

use clap::Subcommand;
use roadstead_proto::v1::{CreateTokenRequest, RevokeAdminRequest};

use crate::failure::Result;
use crate::output::Output;
use crate::remote::{Controller, moment, spans};

/// Lets admins in, and cuts them off.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead admin token grace --ttl 1h\n  roadstead admin revoke grace --reason 'left the team'")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints a token with which a new admin logs in, once. An admin who is known already gets a new credential with it.
    #[command(after_help = "Example:\n  roadstead admin token grace --ttl 1h > token\n  \
        then at the other desk: roadstead login --controller deploy.example.org:7443 --token-file token")]
    Token {
        /// The admin's name.
        name: roadstead_model::AdminName,
        /// How long the token is good.
        #[arg(long, default_value = "15m", value_parser = spans::parse)]
        ttl: roadstead_model::Millis,
    },
    /// Cuts an admin off at once and for good.
    #[command(after_help = "Example:\n  roadstead admin revoke grace --reason 'left the team' --yes")]
    Revoke {
        /// The admin's name.
        name: roadstead_model::AdminName,
        /// Why, for the history.
        #[arg(long)]
        reason: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

/// Runs the action.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let controller = Controller::of_user()?;
    match &arguments.action {
        Action::Token { name, ttl } => {
            let request = CreateTokenRequest { environment: String::new(), labels: Vec::new(), ttl_ms: ttl.0, admin: name.to_string() };
            let made = controller.call(async |mut client| Ok(client.create_token(request).await?.into_inner()))?;
            output.note(&format!("{name} logs in with it, once, until {}", moment(made.expires_at_ms)));
            output.result(&serde_json::json!({ "token": made.token, "expires_at_ms": made.expires_at_ms }), || made.token.clone());
        }
        Action::Revoke { name, reason, yes } => {
            output.confirm(*yes, &format!("{name} is cut off for good"))?;
            let request = RevokeAdminRequest { name: name.to_string(), reason: reason.clone() };
            controller.call(async |mut client| client.revoke_admin(request).await)?;
            output.result(&serde_json::json!({ "revoked": name }), || format!("{name} is cut off"));
        }
    }
    Ok(())
}
