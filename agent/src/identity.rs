//! Who this host is, and where its controller is: `identity/identity.pem` and `identity/controller`.

use roadstead_model::{HostId, Timestamp};
use roadstead_pki::{
    ClientFiles, ClientTls, Credentials, CredentialsError, Identity as Name, PendingCredentials, TlsError, jitter_seed, renew_at,
};
use roadstead_worker::clock;
use roadstead_worker::files::{FileError, create_private_folder, read_bounded, write_atomically};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::layout::Layout;
use crate::settings::{SettingsError, check_address};

/// Key, certificate and authority, in a file of pki's.
const CREDENTIALS: &str = "identity.pem";
/// One line: `host:port`.
const CONTROLLER: &str = "controller";
const ADDRESS_BYTES_MAX: u64 = 1024;

/// What to do when a certificate is not of this time.
pub(crate) const CLOCKS: &str = "compare the clocks of both machines: `timedatectl`";

/// Why the host's identity cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// It never enrolled.
    #[error("this host has no identity yet: run `roadstead-agent enroll` with a join token of `roadstead host token`")]
    Missing,
    /// The certificate or key cannot be used.
    #[error("the identity in {} cannot be used; enroll again with `roadstead-agent enroll --again`", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CredentialsError,
    },
    /// The certificate is another's than a host's.
    #[error("the identity in {} is not that of a host, but {name}; enroll again with `roadstead-agent enroll --again`", path.display())]
    NotAHost {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        name: Name,
    },
    /// A certificate of another time would replace one that is good.
    #[error("the controller's new certificate is not valid now, by this host's clock; the one that there is stays: {CLOCKS}")]
    OfAnotherTime,
    /// The certificate does not make a connection.
    #[error("the identity makes no connection")]
    Tls(#[from] TlsError),
    /// The file that says where the controller is.
    #[error(transparent)]
    Controller(#[from] SettingsError),
    /// The file system did not do as told.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Who this host is.
#[derive(Debug)]
pub(crate) struct Identity {
    folder: PathBuf,
    host: HostId,
    controller: String,
    credentials: Mutex<Credentials>,
    tls: ClientTls,
}

impl Identity {
    /// Reads the identity of this host.
    pub(crate) fn load(layout: &Layout) -> Result<Self, IdentityError> {
        let folder = folder(layout);
        let path = folder.join(CREDENTIALS);
        if !path.exists() {
            return Err(IdentityError::Missing);
        }
        let credentials = Credentials::load(&path).map_err(|source| IdentityError::Unusable { path: path.clone(), source })?;
        let host = match credentials.identity() {
            Name::Host(host) => host.clone(),
            other => return Err(IdentityError::NotAHost { path, name: other.clone() }),
        };
        let where_from = folder.join(CONTROLLER);
        let bytes = read_bounded(&where_from, ADDRESS_BYTES_MAX)?;
        let controller = String::from_utf8_lossy(&bytes).trim().to_owned();
        check_address(&controller, &where_from.display().to_string())?;
        let tls = ClientTls::new(&credentials)?;
        Ok(Self { folder, host, controller, credentials: Mutex::new(credentials), tls })
    }

    /// Whether this host has an identity.
    pub(crate) fn is_there(layout: &Layout) -> bool {
        folder(layout).join(CREDENTIALS).exists()
    }

    /// Makes credentials the identity of this host, durably.
    pub(crate) fn establish(layout: &Layout, credentials: &Credentials, controller: &str) -> Result<(), IdentityError> {
        let folder = folder(layout);
        create_private_folder(&folder)?;
        // The identity comes last: it is what says that the host is enrolled.
        write_atomically(&folder.join(CONTROLLER), format!("{controller}\n").as_bytes(), 0o600)?;
        save(&folder, credentials)
    }

    /// The host.
    pub(crate) const fn host(&self) -> &HostId {
        &self.host
    }

    /// The name in the certificate.
    pub(crate) fn name(&self) -> Name {
        Name::Host(self.host.clone())
    }

    /// Where the controller was when the host enrolled.
    pub(crate) fn controller(&self) -> &str {
        &self.controller
    }

    /// How connections are made: always with the newest certificate.
    pub(crate) const fn tls(&self) -> &ClientTls {
        &self.tls
    }

    /// When the certificate ends.
    pub(crate) fn valid_until(&self) -> Timestamp {
        self.credentials().not_after()
    }

    /// Until when the certificate holds, for people.
    pub(crate) fn validity(&self) -> String {
        let (now, end) = (clock::now(), self.valid_until());
        if end <= now {
            return format!("expired, by this host's clock: {CLOCKS}; if they agree, `roadstead-agent enroll --again`");
        }
        let hours = end.since(now).0 / 3_600_000;
        format!("valid for {} more; it renews itself", if hours >= 48 { format!("{} days", hours / 24) } else { format!("{hours} hours") })
    }

    /// When the certificate wants to be renewed.
    pub(crate) fn renew_at(&self) -> Timestamp {
        let credentials = self.credentials();
        renew_at(credentials.not_before(), credentials.not_after(), jitter_seed(credentials.identity()))
    }

    /// Takes the renewed certificate into use, after making it durable. Connections that are open stay. While the controller's clock is
    /// wrong, it gives certificates with which the host would be locked out when the clock is right again: one that holds is kept.
    pub(crate) fn renew(&self, pending: PendingCredentials, certificate: &[u8], authority: &[u8]) -> Result<(), IdentityError> {
        let path = self.folder.join(CREDENTIALS);
        let renewed = pending.complete(certificate, authority).map_err(|source| IdentityError::Unusable { path: path.clone(), source })?;
        if renewed.identity() != &self.name() {
            return Err(IdentityError::NotAHost { path, name: renewed.identity().clone() });
        }
        let now = clock::now();
        if holds(&self.credentials(), now) && !holds(&renewed, now) {
            return Err(IdentityError::OfAnotherTime);
        }
        save(&self.folder, &renewed)?;
        self.tls.publish(&renewed)?;
        *self.credentials() = renewed;
        Ok(())
    }

    fn credentials(&self) -> MutexGuard<'_, Credentials> {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a certificate is valid at this time.
fn holds(credentials: &Credentials, now: Timestamp) -> bool {
    (credentials.not_before()..=credentials.not_after()).contains(&now)
}

/// The file with this host's certificate and its key, to be shown to servers outside of the fleet too, where the host's operator wants that.
pub(crate) fn files(layout: &Layout) -> ClientFiles {
    let path = folder(layout).join(CREDENTIALS);
    ClientFiles { certificate: path.clone(), key: path }
}

fn folder(layout: &Layout) -> PathBuf {
    layout.agent_state().join("identity")
}

fn save(folder: &Path, credentials: &Credentials) -> Result<(), IdentityError> {
    let path = folder.join(CREDENTIALS);
    credentials.save(&path).map_err(|source| IdentityError::Unusable { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::Millis;
    use roadstead_pki::Authority;

    #[test]
    fn a_certificate_of_another_time_does_not_replace_one_that_holds() {
        const DAY: Millis = Millis::from_secs(24 * 3600);
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let now = clock::now();
        let authority = Authority::create(now).unwrap();
        let name = Name::Host(HostId::parse("abcdefghijklmnopqrstuvwxyz").unwrap());
        let given_at = |now: Timestamp| {
            let pending = PendingCredentials::generate().unwrap();
            let certificate = authority.issue(pending.request(), &name, DAY, now).unwrap().der;
            (pending, certificate)
        };
        let establish = |at: Timestamp| {
            Identity::establish(&layout, &authority.issue_credentials(&name, DAY, at).unwrap(), "controller:7443").unwrap();
            Identity::load(&layout).unwrap()
        };
        let long_ago = Timestamp(now.0 - 100 * DAY.0);
        let in_years = now.plus(Millis(1000 * DAY.0));

        let identity = establish(now);
        let end = identity.valid_until();
        for wrong in [long_ago, in_years] {
            let (pending, certificate) = given_at(wrong);
            let refused = identity.renew(pending, &certificate, authority.certificate_der()).unwrap_err();
            assert!(refused.to_string().contains("compare the clocks"), "{refused}");
            assert_eq!((identity.valid_until(), Identity::load(&layout).unwrap().valid_until()), (end, end));
        }
        let (pending, certificate) = given_at(now.plus(Millis(1000)));
        identity.renew(pending, &certificate, authority.certificate_der()).unwrap();
        assert!(identity.valid_until() > end);

        // One that does not hold is no better: any other may replace it, since it may be this host's clock that is wrong.
        let (pending, certificate) = given_at(in_years);
        establish(long_ago).renew(pending, &certificate, authority.certificate_der()).unwrap();
    }
}
