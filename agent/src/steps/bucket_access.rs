//! What steps need of any bucket that `agent.toml` names: its keys, resolved when they are needed, and its faults as failures for people.

use roadstead_bucket::{Bucket, BucketError, Fault, Keys, Section};
use roadstead_model::{Failure, FailureKind, SecretRef, VariableName};
use roadstead_secrets::Asker;
use roadstead_worker::failure::{called_off, chain};
use std::time::Duration;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::StepContext;
use super::release::Release;
use crate::settings::BucketSettings;

/// How long the providers of secrets may take.
const KEYS_WITHIN: Duration = Duration::from_secs(30);

/// What a bucket is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Use {
    /// For people: "the bucket for backups".
    what: &'static str,
    /// Where it is written, and where people read about it.
    section: Section,
    /// What its keys are called where no output may show them.
    keys: [&'static str; 3],
}

/// The bucket for backups of the database.
pub(super) const BACKUPS: Use = Use {
    what: "the bucket for backups",
    section: Section { name: "[backup.APP.bucket]", page: "docs/backups.md" },
    keys: ["BUCKET_ACCESS_KEY", "BUCKET_SECRET_KEY", "BUCKET_SESSION_TOKEN"],
};

/// The bucket for static files.
pub(super) const STATICS: Use = Use {
    what: "the bucket for static files",
    section: Section { name: "[static.APP.bucket]", page: "docs/static-files.md" },
    keys: ["STATIC_ACCESS_KEY", "STATIC_SECRET_KEY", "STATIC_SESSION_TOKEN"],
};

impl Use {
    /// The bucket of the settings, with the keys that they refer to.
    pub(super) async fn bucket(self, context: &StepContext, release: &Release, settings: &BucketSettings) -> Result<Bucket, Failure> {
        let keys = self.keys(context, release, settings).await?;
        Ok(Bucket::new(settings.place.clone(), keys, settings.authorities.as_deref(), context.cancelled.clone()))
    }

    /// What went wrong, for people; `kept` tells what it means.
    pub(super) fn failure(self, error: &BucketError, kept: &str) -> Failure {
        let kind = match &error.fault {
            Fault::CalledOff => return called_off(),
            Fault::File { .. } => FailureKind::Host,
            fault if fault.is_transient() => FailureKind::Transfer,
            Fault::Size { .. } | Fault::Connection(_) => FailureKind::Transfer,
            _ => FailureKind::Unfit,
        };
        Failure::new(kind, error.to_string(), format!("{}; {kept}", error.hint(self.section)))
    }

    /// No output shows the keys.
    async fn keys(self, context: &StepContext, release: &Release, settings: &BucketSettings) -> Result<Keys, Failure> {
        let references = [Some(&settings.access_key), Some(&settings.secret_key), settings.session_token.as_ref()];
        let references: Vec<SecretRef> = references.into_iter().flatten().cloned().collect();
        let tree = release.tree(&context.layout);
        let asker = Asker { app: &context.order.app, tree: Some(&tree), by_operator: true };
        let mut issued = Vec::new();
        let secrets = tokio::select! {
            biased;
            () = context.cancelled.cancelled() => None,
            secrets = context.providers.resolve_all(asker, &references, Instant::now() + KEYS_WITHIN, &mut issued) => Some(secrets),
        };
        context.providers.end_in_vain(&issued).await;
        let secrets = secrets.ok_or_else(called_off)?.map_err(|error| {
            let summary = format!("the keys of {} cannot be had: {}", self.what, chain(&error));
            Failure::new(FailureKind::Unfit, summary, error.hint())
        })?;
        if !issued.is_empty() {
            let summary = format!("a key of {} is issued for a time only: it could end in the middle of an upload", self.what);
            return Err(Failure::new(FailureKind::Unfit, summary, "name a secret that stays, such as one of a KV engine"));
        }
        let mut values = Vec::new();
        for ((name, reference), secret) in self.keys.iter().zip(&references).zip(&secrets) {
            let text = secret.value.reveal_text().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
            let text = text.ok_or_else(|| {
                let summary = format!("the secret {reference} is no key of a bucket: it is empty, or holds spaces or other characters");
                let hint = format!("correct what is stored there, or the reference in {} of agent.toml", self.section.name);
                Failure::new(FailureKind::Unfit, summary, hint)
            })?;
            if let Ok(name) = VariableName::parse(name) {
                context.secrets.add([(name, text.to_owned())]);
            }
            values.push(Zeroizing::new(text.to_owned()));
        }
        let mut values = values.into_iter();
        let (Some(access), Some(secret)) = (values.next(), values.next()) else {
            let hint = format!("see {} of agent.toml", self.section.name);
            return Err(Failure::new(FailureKind::Host, format!("the keys of {} are not there", self.what), hint));
        };
        Ok(Keys { access, secret, token: values.next() })
    }
}
