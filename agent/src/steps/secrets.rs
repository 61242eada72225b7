//! Secrets of a release on this host: asked for where the configuration says they are, written where only root reads them, and given to the
//! app's processes by systemd. Their values are told to nobody else.

use roadstead_model::{AppName, Failure, FailureKind, SecretRef, VariableName};
use roadstead_secrets::{Asked, Asker, Providers, Secret, SecretError};
use roadstead_worker::failure::{called_off, chain};
use roadstead_worker::files::{create_private_folder, read_bounded};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::configure::write_when_other;
use super::release::Release;
use super::util::{io_failure, on_disk};
use crate::host::environment_file;
use crate::host::links;
use crate::layout::Layout;
use crate::secrets::ENVIRONMENT_BYTES_MAX;

/// How long all providers together may take, and how much longer for each reference: they are asked one after another.
const WITHIN: Duration = Duration::from_secs(30);
const FOR_EACH: Duration = Duration::from_secs(3);

/// What was found, and what of it may be told.
#[derive(Clone, Default)]
pub(crate) struct Found {
    values: BTreeMap<VariableName, String>,
    places: BTreeMap<VariableName, SecretRef>,
    /// How many, and which versions, for the step's note.
    pub(crate) note: String,
}

/// Asks for all secrets of a release, together.
pub(crate) async fn find(
    providers: &Providers,
    layout: &Layout,
    release: &Release,
    places: &BTreeMap<VariableName, SecretRef>,
    cancelled: &CancellationToken,
) -> Result<Found, Failure> {
    if places.is_empty() {
        return Ok(Found::default());
    }
    let last = Found::of_last_time(layout, release, places);
    // A version is the same whenever it is asked for: what the host has needs no provider.
    if let Some(last) = last.as_ref().filter(|_| places.values().all(|place| place.version.is_some())) {
        return Ok(last.clone());
    }
    let tree = release.tree(layout);
    let asker = Asker { app: release.app(), tree: Some(&tree), by_operator: false };
    let references: Vec<SecretRef> = places.values().cloned().collect();
    let within = WITHIN + FOR_EACH * u32::try_from(references.len()).unwrap_or(u32::MAX);
    let mut issued = Vec::new();
    let secrets = tokio::select! {
        () = cancelled.cancelled() => None,
        secrets = providers.resolve_all(asker, &references, Instant::now() + within, &mut issued) => Some(secrets),
    };
    // Nothing that ends by itself is of use here.
    providers.end_in_vain(&issued).await;
    let secrets = match (secrets.ok_or_else(called_off)?, last) {
        (Ok(secrets), _) => secrets,
        // Nobody can say what is newest now: what this very release was told here is good enough to come level, or to go back.
        (Err(error), Some(mut last)) if error.fault.is_transient() => {
            last.note = format!(", secrets as they were found before, since {}", chain(&error));
            return Ok(last);
        }
        (Err(error), _) => return Err(not_found(release.app(), places, &error)),
    };
    if let Some(name) = places.keys().zip(&secrets).find_map(|(name, secret)| secret.lease.is_some().then_some(name)) {
        let summary =
            format!("the secret {name} is issued for a time only: the processes of a release would go on with one that has ended");
        return Err(Failure::new(FailureKind::Unfit, summary, "name a secret that stays, such as one of a KV engine"));
    }
    let mut found = Found { places: places.clone(), ..Found::default() };
    let mut versions = Vec::new();
    for (name, secret) in places.keys().zip(&secrets) {
        found.take(release, name, secret)?;
        versions.push(secret.version.map_or_else(|| name.to_string(), |version| format!("{name} version {version}")));
    }
    found.note = format!(", secrets: {}", versions.join(", "));
    Ok(found)
}

fn not_found(app: &AppName, places: &BTreeMap<VariableName, SecretRef>, error: &SecretError) -> Failure {
    // The first that is there: several variables may be of one place.
    let name = places
        .iter()
        .find(|(_, place)| matches!(&error.of, Asked::Secret(of) if of == *place))
        .map(|(name, _)| name.as_str())
        .unwrap_or_default();
    Failure::new(FailureKind::Host, format!("the secret {name} of {app}: {}", chain(error)), error.hint())
}

impl Found {
    /// What this release was told here when it was prepared last, if its secrets were at the same places.
    fn of_last_time(layout: &Layout, release: &Release, places: &BTreeMap<VariableName, SecretRef>) -> Option<Self> {
        let read = |path: &Path| read_bounded(path, ENVIRONMENT_BYTES_MAX).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let known: BTreeMap<VariableName, SecretRef> = serde_json::from_str(&read(&release.secret_places(layout))?).ok()?;
        let values = environment_file::parse(&read(&release.secret_file(layout))?).ok()?;
        let same = known == *places && values.keys().eq(places.keys());
        same.then(|| Self { values, places: known, note: ", secrets as they were found before".to_owned() })
    }

    fn take(&mut self, release: &Release, name: &VariableName, secret: &Secret) -> Result<(), Failure> {
        let unfit = |why: &str| {
            let summary = format!("the value of the secret {name} {why}");
            Failure::new(FailureKind::Unfit, summary, "correct it where it is kept")
        };
        let text = secret.value.reveal_text().ok_or_else(|| unfit("is no text"))?;
        if let Some(why) = release.manifest.spec.variables.get(name).and_then(|variable| variable.mistake(text)) {
            return Err(unfit(&why));
        }
        self.values.insert(name.clone(), text.to_owned());
        Ok(())
    }

    /// Writes them for systemd to read, and nobody else; a release without secrets has no such file.
    pub(crate) fn write(&self, layout: &Layout, release: &Release) -> Result<(), Failure> {
        let (path, places) = (release.secret_file(layout), release.secret_places(layout));
        if self.values.is_empty() {
            let remove = |path: &Path| links::remove(path).map_err(|error| io_failure("remove", path, &error));
            return remove(&places).and_then(|()| remove(&path));
        }
        create_private_folder(path.parent().unwrap_or(Path::new("/"))).map_err(|error| on_disk(&error))?;
        let text = environment_file::render(&self.values)
            .map_err(|error| Failure::new(FailureKind::Unfit, error.to_string(), "correct it where it is kept"))?;
        if text.len() as u64 > ENVIRONMENT_BYTES_MAX {
            let summary = format!("all secrets together are {} bytes, and systemd is to read them for each process", text.len());
            return Err(Failure::new(FailureKind::Unfit, summary, "give the app files of its own for what is large"));
        }
        // What says where they are from is there only while they are.
        links::remove(&places).map_err(|error| io_failure("remove", &places, &error))?;
        write_when_other(&path, &text)?;
        // References are texts.
        write_when_other(&places, &serde_json::to_string(&self.places).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::samples;
    use async_trait::async_trait;
    use roadstead_bundle::spec::{ValueType, Variable};
    use roadstead_secrets::{Content, Document, Fault, Place, Provider, Value};
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::Arc;

    /// Knows one value at every place.
    #[derive(Debug)]
    struct Fixed(&'static str);

    #[async_trait]
    impl Provider for Fixed {
        async fn read(&self, _place: Place<'_>, _until: Instant) -> Result<Document, Fault> {
            Ok(Document { content: Content::Whole(Value::new(self.0.as_bytes().to_vec())), version: Some(4), lease: None })
        }

        async fn look(&self, _until: Instant) -> Result<String, Fault> {
            Ok(String::new())
        }
    }

    fn name(text: &str) -> VariableName {
        VariableName::parse(text).unwrap()
    }

    fn providers(value: &'static str) -> Providers {
        let allow = vec![roadstead_secrets::Pattern::parse("pins/*").unwrap()];
        Providers::default().with("fixed".parse().unwrap(), Arc::new(Fixed(value)), allow)
    }

    fn release() -> Release {
        let mut manifest = samples::manifest("1.0");
        let number = Variable { secret: true, kind: ValueType::Integer, ..Variable::default() };
        manifest.spec.variables.insert(name("PIN"), number);
        Release::new(manifest.release_id(), manifest)
    }

    #[tokio::test]
    async fn what_is_found_is_root_s_and_of_the_type_that_is_declared() {
        let root = tempfile::tempdir().unwrap();
        let (layout, release) = (Layout::new(root.path()), release());
        let places = BTreeMap::from([(name("PIN"), SecretRef::parse("fixed:pins/erp").unwrap())]);
        let never = CancellationToken::new();
        let found = find(&providers("481516"), &layout, &release, &places, &never).await.unwrap();
        found.write(&layout, &release).unwrap();
        assert_eq!(found.note, ", secrets: PIN version 4");
        let path = release.secret_file(&layout);
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.mode() & 0o777, std::fs::read_to_string(&path).unwrap().trim()), (0o600, "PIN=\"481516\""));
        assert_eq!(release.environment_files(&layout).first(), Some(&path));

        let failure = find(&providers("s3cr3t"), &layout, &release, &places, &never).await.err().unwrap();
        assert_eq!(failure.summary, "the value of the secret PIN is to be a whole number");
        let failure = find(&Providers::default(), &layout, &release, &places, &never).await.err().unwrap();
        assert!(failure.summary.starts_with("the secret PIN of erp: ") && failure.summary.contains("[secrets.fixed]"), "{failure:?}");

        // What the host was told once it has, whatever becomes of the provider; other places are asked for.
        let versioned = BTreeMap::from([(name("PIN"), SecretRef::parse("fixed:pins/erp?version=4").unwrap())]);
        find(&providers("481516"), &layout, &release, &versioned, &never).await.unwrap().write(&layout, &release).unwrap();
        let again = find(&Providers::default(), &layout, &release, &versioned, &never).await.unwrap();
        assert_eq!(again.note, ", secrets as they were found before");
        assert!(find(&Providers::default(), &layout, &release, &places, &never).await.is_err());

        Found::default().write(&layout, &release).unwrap();
        assert!(!release.secret_places(&layout).exists());
        assert!(!path.exists());
    }
}
