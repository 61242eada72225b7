//! Who may do what: identities come from certificates alone; whether they are still welcome is asked at every call.

use roadstead_model::{AdminName, HostId, Timestamp};
use roadstead_pki::{Identity, PeerCertificate};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::store::{HostRecord, Store, StoreError};

/// Why a caller is sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// No certificate.
    #[error("this call needs a certificate")]
    Nobody,
    /// A certificate of another kind.
    #[error("this certificate is not for this call")]
    WrongKind,
    /// Cut off, or never let in.
    #[error("this certificate was revoked")]
    Revoked,
    /// Two machines came with it.
    #[error("two machines came with this identity, so that it is locked for both; their apps serve on")]
    Locked,
    /// No longer valid.
    #[error("this certificate has expired, by the controller's clock")]
    Expired,
}

#[derive(Debug, Clone)]
struct HostAccess {
    not_after: Timestamp,
    cut: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    hosts: HashMap<HostId, HostAccess>,
    /// Those of which there were two.
    locked: HashSet<HostId>,
    admins: HashMap<AdminName, CancellationToken>,
}

/// Everyone who is welcome.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access(Arc<RwLock<Table>>);

impl Access {
    /// Reads who is welcome.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) async fn load(store: &Store) -> Result<Self, StoreError> {
        let access = Self::default();
        for host in &store.hosts(None).await? {
            if host.revoked_at.is_none() {
                access.let_host_in(host);
            } else if host.locked {
                access.lock_host(&host.id);
            }
        }
        for (admin, _) in store.admins().await?.into_iter().filter(|(_, revoked)| !revoked) {
            access.let_admin_in(admin);
        }
        Ok(access)
    }

    fn change(&self, change: impl FnOnce(&mut Table)) {
        // Nothing panics while it holds the lock.
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn read<T>(&self, read: impl FnOnce(&Table) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A host is welcome.
    pub(crate) fn let_host_in(&self, host: &HostRecord) {
        let access = HostAccess { not_after: host.certificate_not_after, cut: CancellationToken::new() };
        self.change(|table| {
            table.hosts.insert(host.id.clone(), access);
        });
    }

    /// A host's newest certificate is valid until then, an older one perhaps longer: one that was given while the clock was wrong locks
    /// nobody out. A host that was cut off meanwhile stays out.
    pub(crate) fn renewed(&self, host: &HostId, not_after: Timestamp) {
        self.change(|table| {
            if let Some(access) = table.hosts.get_mut(host) {
                access.not_after = access.not_after.max(not_after);
            }
        });
    }

    /// Whether a host is welcome.
    pub(crate) fn host_is_in(&self, host: &HostId) -> bool {
        self.read(|table| table.hosts.contains_key(host))
    }

    /// An admin is welcome.
    pub(crate) fn let_admin_in(&self, admin: AdminName) {
        self.change(|table| {
            table.admins.entry(admin).or_default();
        });
    }

    /// There are two machines with the identity of a host: neither is welcome.
    pub(crate) fn lock_host(&self, host: &HostId) {
        self.change(|table| {
            table.locked.insert(host.clone());
            if let Some(access) = table.hosts.remove(host) {
                access.cut.cancel();
            }
        });
    }

    /// Why a host is not welcome.
    pub(crate) fn why_out(&self, host: &HostId) -> Denied {
        if self.read(|table| table.locked.contains(host)) { Denied::Locked } else { Denied::Revoked }
    }

    /// A host is not welcome any more: its session and whatever is being sent to it end.
    pub(crate) fn shut_host_out(&self, host: &HostId) {
        self.change(|table| {
            table.locked.remove(host);
            if let Some(access) = table.hosts.remove(host) {
                access.cut.cancel();
            }
        });
    }

    /// An admin is not welcome any more: what they follow ends.
    pub(crate) fn shut_admin_out(&self, admin: &AdminName) {
        self.change(|table| {
            if let Some(cut) = table.admins.remove(admin) {
                cut.cancel();
            }
        });
    }

    /// The host that calls, and what fires when it is shut out.
    ///
    /// Its connection may be older than its newest certificate, which is what must still be valid: so a renewal needs no
    /// new connection.
    ///
    /// # Errors
    /// [`Denied`].
    pub(crate) fn host(&self, peer: Option<&PeerCertificate>) -> Result<(HostId, CancellationToken), Denied> {
        let Identity::Host(id) = peer.ok_or(Denied::Nobody)?.identity() else { return Err(Denied::WrongKind) };
        let access = self.read(|table| table.hosts.get(id).cloned()).ok_or_else(|| self.why_out(id))?;
        if clock::now() > access.not_after { Err(Denied::Expired) } else { Ok((id.clone(), access.cut)) }
    }

    /// The admin who calls, and what fires when they are shut out.
    ///
    /// # Errors
    /// [`Denied`].
    pub(crate) fn admin(&self, peer: Option<&PeerCertificate>) -> Result<(AdminName, CancellationToken), Denied> {
        let peer = peer.ok_or(Denied::Nobody)?;
        let Identity::Admin(name) = peer.identity() else { return Err(Denied::WrongKind) };
        let cut = self.read(|table| table.admins.get(name).cloned()).ok_or(Denied::Revoked)?;
        if clock::now() > peer.not_after() { Err(Denied::Expired) } else { Ok((name.clone(), cut)) }
    }
}
