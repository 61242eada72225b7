//! The nouns of Roadstead: typed identifiers, versions, digests, host facts, step names, orders, reports and limits.
//!
//! This crate is what two strangers share. It holds plain data with its validity rules ("parse, do not validate") and
//! nothing else: no I/O, no clock, no randomness, no wire format, no policy.

mod analysis;
mod backup;
pub mod configuration;
mod difference;
mod digest;
mod drift;
mod environment;
mod facts;
mod finding;
mod gates;
pub mod hidden;
mod http_url;
mod ids;
mod label;
mod lease;
pub mod limits;
mod loss;
pub mod mistake;
mod number;
mod order;
pub mod outlook;
mod relative_path;
mod report;
pub mod root_cause;
pub mod samples;
mod secret_ref;
mod share;
mod size;
mod steers_code;
mod step;
mod strategy;
mod time;
mod traffic;

pub use analysis::{Analysis, Check, HOST, HOSTS, InvalidAnalysis, Query, VERSION};
pub use backup::{Backup, BackupCheck, BackupDemand, DatabasePolicy, InvalidDemand, Safeguard};
pub use configuration::{Clash, Configuration, InvalidConfiguration, InvalidKey, Key, Layer, Values};
pub use difference::{Difference, differences};
pub use digest::{Digest, DigestHasher, DigestStart, InvalidDigest, InvalidDigestStart};
pub use drift::{DRIFT_FINDINGS_MAX, DRIFT_TEXT_BYTES_MAX, Differs, Drift, DriftFinding, DriftPart, DriftPolicy};
pub use environment::{EnvironmentSpec, Timeouts};
pub use facts::{AppState, DiskSpace, HostFacts, PythonFact, ReleaseKeys};
pub use finding::{Finding, Verdict};
pub use gates::{After, ApprovalRule, CivilTime, Freeze, Gates, InvalidCivilTime, InvalidGates, InvalidWindow, Window};
pub use http_url::{HttpUrl, InvalidUrl};
pub use ids::{
    AdminName, AppName, BackupName, ConfigurationId, EnvironmentName, HostId, HostName, InvalidName, JobName, ProviderName, ReleaseId,
    RoleName, RolloutId, ServiceName, VariableName, Version,
};
pub use label::{InvalidLabel, InvalidLabelKey, InvalidSelector, LabelKey, Labels, Selector};
pub use lease::{InvalidLease, LEASE_MAX, LEASE_MIN, LeaseAsk, LeaseSpan, LeaseTable};
pub use loss::{Loss, TableLoss};
pub use number::{NotFinite, Number};
pub use order::{Fence, Order, OrderKey, OrderKind, ReleaseRef};
pub use relative_path::{InvalidPath, RelativePath};
pub use report::{Failure, FailureKind, OrderOutcome, Report, StepDone, StepReport, StepState};
pub use root_cause::{Place, RootCause};
pub use secret_ref::{InvalidSecretRef, SecretKey, SecretPath, SecretRef};
pub use share::{InvalidShare, Share};
pub use size::size;
pub use steers_code::steers_code;
pub use step::{InvalidStep, StepName};
pub use strategy::{CanaryStep, DomainOrder, FailureDomain, InvalidStrategy, OnFailure, Promotion, Strategy};
pub use time::{Millis, Timestamp};
pub use traffic::{InvalidWeight, ServerSeen, Traffic, TrafficSeen, TrafficTable, Weight};
