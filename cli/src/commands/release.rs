//! `roadstead release`: what the controller holds.

use clap::Subcommand;
use roadstead_proto::v1::{GetReleaseRequest, ListReleasesRequest, Release};

use crate::failure::Result;
use crate::output::{Output, size, table};
use crate::remote::{Controller, hex, moment};

/// Looks at the releases that were pushed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead release list --app erp\n  roadstead release show 1.4.2")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the newest releases.
    #[command(after_help = "Examples:\n  roadstead release list\n  roadstead release list --app erp --limit 5")]
    List {
        /// Only those of this app.
        #[arg(long, default_value = "", hide_default_value = true)]
        app: String,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Shows one release: where it comes from, who signed it, where it is current.
    #[command(after_help = "Example:\n  roadstead release show 1.4.2 --app erp")]
    Show {
        /// Its id, its version, or the beginning of its manifest's digest.
        release: String,
        /// Its app, where several have such a release.
        #[arg(long, default_value = "", hide_default_value = true)]
        app: String,
    },
}

/// Runs the action.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let controller = Controller::of_user()?;
    match &arguments.action {
        Action::List { app, limit } => {
            let request = ListReleasesRequest { app: app.clone(), limit: *limit };
            let releases = controller.call(async |mut client| Ok(client.list_releases(request).await?.into_inner().releases))?;
            let json: Vec<_> = releases.iter().map(json).collect();
            output
                .result(&json, || table(["APP", "RELEASE", "COMMIT", "PUBLISHED", "BY", "CURRENT IN", "STATE"], releases.iter().map(row)));
        }
        Action::Show { release, app } => {
            let request = GetReleaseRequest { app: app.clone(), release: release.clone() };
            let found = controller.call(async |mut client| Ok(client.get_release(request).await?.into_inner()))?;
            let release = found.release.unwrap_or_default();
            let keys: Vec<String> = found.signatures.iter().map(|signature| hex(&signature.key_id)).collect();
            let mut shown = json(&release);
            shown["signed_by"] = serde_json::json!(keys);
            output.result(&shown, || text(&release, &keys));
        }
    }
    Ok(())
}

fn state(release: &Release) -> String {
    match (release.bad.is_empty(), release.dirty) {
        (false, _) => format!("bad: {}", release.bad),
        (true, true) => "dirty".to_owned(),
        (true, false) => String::new(),
    }
}

fn row(release: &Release) -> [String; 7] {
    [
        release.app.clone(),
        release.id.clone(),
        release.commit.chars().take(10).collect(),
        moment(release.published_at_ms),
        release.published_by.clone(),
        release.current_in.join(", "),
        state(release),
    ]
}

fn text(release: &Release, keys: &[String]) -> String {
    let rows = [
        ("app", release.app.clone()),
        ("release", release.id.clone()),
        ("version", release.version.clone()),
        ("commit", format!("{} by {} on {}", release.commit, release.author, moment(release.committed_at_ms))),
        ("branch", release.branch.clone()),
        ("published", format!("{} by {}", moment(release.published_at_ms), release.published_by)),
        ("size", size(release.bytes)),
        ("signed by", keys.join(", ")),
        ("current in", release.current_in.join(", ")),
        ("state", state(release)),
    ];
    table(["", ""], rows.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| [name.to_owned(), value]))
}

/// For programs.
pub(crate) fn json(release: &Release) -> serde_json::Value {
    serde_json::json!({
        "app": release.app,
        "release": release.id,
        "version": release.version,
        "commit": release.commit,
        "branch": release.branch,
        "author": release.author,
        "committed_at_ms": release.committed_at_ms,
        "published_at_ms": release.published_at_ms,
        "published_by": release.published_by,
        "dirty": release.dirty,
        "bytes": release.bytes,
        "bad": release.bad,
        "current_in": release.current_in,
    })
}
