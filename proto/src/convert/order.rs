//! Orders, fences, releases by reference.

use roadstead_model::{
    AppName, BackupName, Digest, EnvironmentName, Fence, JobName, Millis, Order, OrderKey, OrderKind, RelativePath, ReleaseId, ReleaseRef,
    RolloutId, SecretRef, ServiceName, VariableName, limits,
};

use crate::invalid::{InField, bounded, optional};
use crate::{Invalid, v1};

impl From<Fence> for v1::Fence {
    fn from(fence: Fence) -> Self {
        Self { term: fence.term, rollout: fence.rollout.0, sequence: fence.sequence }
    }
}

impl From<v1::Fence> for Fence {
    fn from(fence: v1::Fence) -> Self {
        Self { term: fence.term, rollout: RolloutId(fence.rollout), sequence: fence.sequence }
    }
}

impl From<OrderKey> for v1::OrderKey {
    fn from(key: OrderKey) -> Self {
        Self { rollout: key.rollout.0, sequence: key.sequence }
    }
}

impl From<v1::OrderKey> for OrderKey {
    fn from(key: v1::OrderKey) -> Self {
        Self { rollout: RolloutId(key.rollout), sequence: key.sequence }
    }
}

impl From<ReleaseRef> for v1::ReleaseRef {
    fn from(release: ReleaseRef) -> Self {
        Self { id: release.id.to_string(), manifest: release.manifest.as_bytes().to_vec() }
    }
}

impl TryFrom<v1::ReleaseRef> for ReleaseRef {
    type Error = Invalid;
    fn try_from(wire: v1::ReleaseRef) -> Result<Self, Invalid> {
        let id = ReleaseId::parse(&wire.id).field("release.id")?;
        let manifest = Digest::from_slice(&wire.manifest).field("release.manifest")?;
        if id.bare().as_str().ends_with(&manifest.short()) {
            Ok(Self { id, manifest })
        } else {
            Err(Invalid::new("release", "its id and its manifest's digest do not belong together"))
        }
    }
}

impl From<Order> for v1::Order {
    fn from(order: Order) -> Self {
        Self {
            fence: Some(order.fence.into()),
            environment: order.environment.to_string(),
            app: order.app.to_string(),
            deadline_ms: order.deadline.0,
            kind: Some(order.kind.into()),
        }
    }
}

impl TryFrom<v1::Order> for Order {
    type Error = Invalid;
    fn try_from(wire: v1::Order) -> Result<Self, Invalid> {
        Ok(Self {
            fence: wire.fence.field("order.fence")?.into(),
            environment: EnvironmentName::parse(&wire.environment).field("order.environment")?,
            app: AppName::parse(&wire.app).field("order.app")?,
            deadline: Millis(wire.deadline_ms),
            kind: wire.kind.field("order.kind")?.try_into()?,
        })
    }
}

impl From<OrderKind> for v1::order::Kind {
    fn from(kind: OrderKind) -> Self {
        match kind {
            OrderKind::Prepare { release, variables, secrets, files, singletons, keep, publish } => Self::Prepare(v1::Prepare {
                release: Some(release.into()),
                variables: variables.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
                singletons: singletons.iter().map(ToString::to_string).collect(),
                keep,
                secrets: secrets.into_iter().map(|(name, place)| (name.to_string(), place.to_string())).collect(),
                files: files.into_iter().map(|(path, text)| (path.to_string(), text)).collect(),
                publish,
            }),
            OrderKind::Migrate { release, backup, idle } => Self::Migrate(v1::Migrate {
                release: Some(release.into()),
                backup: backup.map(|demand| demand.to_string()).unwrap_or_default(),
                idle,
            }),
            OrderKind::Activate { release, expected, confirm_within } => Self::Activate(v1::Activate {
                release: Some(release.into()),
                expected: expected.map(String::from).unwrap_or_default(),
                confirm_within_ms: confirm_within.0,
            }),
            OrderKind::Confirm { release } => Self::Confirm(v1::Confirm { release: Some(release.into()) }),
            OrderKind::Revert { from, to, condemn, everywhere } => {
                Self::Revert(v1::Revert { from: Some(from.into()), to: to.map(Into::into), condemn, everywhere })
            }
            OrderKind::Backup { release, demand } => {
                Self::Backup(v1::MakeBackup { release: Some(release.into()), check: demand.to_string() })
            }
            OrderKind::Recheck { release, backup, demand } => {
                Self::Recheck(v1::Recheck { release: Some(release.into()), backup: backup.to_string(), check: demand.to_string() })
            }
            OrderKind::Job { release, job } => Self::Job(v1::Job { release: Some(release.into()), name: job.to_string() }),
            OrderKind::Survey { release, backup } => Self::Survey(v1::Survey { release: Some(release.into()), backup: backup.to_string() }),
            OrderKind::Halt { release } => Self::Halt(v1::Halt { release: Some(release.into()) }),
            OrderKind::Restore { release, backup } => {
                Self::Restore(v1::Restore { release: Some(release.into()), backup: backup.to_string() })
            }
            OrderKind::Exchange { release, backup } => {
                Self::Exchange(v1::Exchange { release: Some(release.into()), backup: backup.to_string() })
            }
            OrderKind::Abandon { release, condemn } => Self::Abandon(v1::Abandon { release: Some(release.into()), condemn }),
        }
    }
}

fn release(wire: Option<v1::ReleaseRef>) -> Result<ReleaseRef, Invalid> {
    wire.field("order.release")?.try_into()
}

fn backup(name: &str) -> Result<BackupName, Invalid> {
    BackupName::parse(name).field("order.backup")
}

impl TryFrom<v1::order::Kind> for OrderKind {
    type Error = Invalid;
    fn try_from(wire: v1::order::Kind) -> Result<Self, Invalid> {
        use v1::order::Kind;
        Ok(match wire {
            Kind::Prepare(prepare) => prepare.try_into()?,
            Kind::Migrate(migrate) => Self::Migrate {
                release: release(migrate.release)?,
                backup: optional(&migrate.backup, str::parse, "migrate.backup")?,
                idle: migrate.idle,
            },
            Kind::Activate(activate) => Self::Activate {
                release: release(activate.release)?,
                expected: optional(&activate.expected, ReleaseId::parse, "activate.expected")?,
                confirm_within: Millis(activate.confirm_within_ms),
            },
            Kind::Confirm(confirm) => Self::Confirm { release: release(confirm.release)? },
            Kind::Revert(revert) => Self::Revert {
                from: release(revert.from)?,
                to: revert.to.map(TryInto::try_into).transpose()?,
                condemn: revert.condemn,
                everywhere: revert.everywhere,
            },
            Kind::Backup(made) => Self::Backup { release: release(made.release)?, demand: made.check.parse().field("backup.check")? },
            Kind::Recheck(again) => Self::Recheck {
                release: release(again.release)?,
                backup: backup(&again.backup)?,
                demand: again.check.parse().field("backup.check")?,
            },
            Kind::Job(job) => Self::Job { release: release(job.release)?, job: JobName::parse(&job.name).field("order.job")? },
            Kind::Survey(survey) => Self::Survey { release: release(survey.release)?, backup: backup(&survey.backup)? },
            Kind::Halt(halt) => Self::Halt { release: release(halt.release)? },
            Kind::Restore(restore) => Self::Restore { release: release(restore.release)?, backup: backup(&restore.backup)? },
            Kind::Exchange(exchange) => Self::Exchange { release: release(exchange.release)?, backup: backup(&exchange.backup)? },
            Kind::Abandon(abandon) => Self::Abandon { release: release(abandon.release)?, condemn: abandon.condemn },
        })
    }
}

impl TryFrom<v1::Prepare> for OrderKind {
    type Error = Invalid;
    fn try_from(wire: v1::Prepare) -> Result<Self, Invalid> {
        bounded(wire.variables.len(), limits::VARIABLES_MAX, "prepare.variables")?;
        bounded(wire.files.len(), limits::CONFIGURED_FILES_MAX, "prepare.files")?;
        bounded(wire.singletons.len(), limits::SERVICES_MAX, "prepare.singletons")?;
        bounded(wire.secrets.len(), limits::VARIABLES_MAX, "prepare.secrets")?;
        let secret = |(name, place): (String, String)| {
            Ok((VariableName::parse(&name).field("prepare.secrets")?, SecretRef::parse(&place).field("prepare.secrets")?))
        };
        let file = |(path, text): (String, String)| {
            bounded(text.len(), limits::VARIABLE_VALUE_BYTES_MAX, "prepare.files")?;
            Ok((RelativePath::parse(&path).field("prepare.files")?, text))
        };
        let variable = |(name, value): (String, String)| {
            bounded(value.len(), limits::VARIABLE_VALUE_BYTES_MAX, "prepare.variables")?;
            Ok((VariableName::parse(&name).field("prepare.variables")?, value))
        };
        Ok(Self::Prepare {
            release: release(wire.release)?,
            variables: wire.variables.into_iter().map(variable).collect::<Result<_, Invalid>>()?,
            secrets: wire.secrets.into_iter().map(secret).collect::<Result<_, Invalid>>()?,
            files: wire.files.into_iter().map(file).collect::<Result<_, Invalid>>()?,
            singletons: wire.singletons.iter().map(|s| ServiceName::parse(s).field("prepare.singletons")).collect::<Result<_, _>>()?,
            keep: wire.keep,
            publish: wire.publish,
        })
    }
}
