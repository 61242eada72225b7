//! What an admin may call.

mod admins;
mod configurations;
mod databases;
mod environments;
mod events;
mod homes;
mod hosts;
mod jobs;
mod locks;
mod output;
mod plans;
mod releases;
mod rollouts;
mod upload;
mod warnings;

use roadstead_model::AdminName;
use roadstead_proto::v1;
use roadstead_proto::v1::operator_server::Operator;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::Context;
use super::peer::Caller;
use super::status::{denied, status};
use crate::clock;

/// Messages of a stream that its reader has not taken yet.
const QUEUE: usize = 16;

/// The calls.
#[derive(Debug)]
pub(super) struct OperatorCalls(pub(super) Arc<Context>);

/// Who calls.
#[derive(Debug, Clone)]
struct Admin {
    name: AdminName,
    cut: CancellationToken,
}

impl Admin {
    /// As the history names them.
    fn actor(&self) -> String {
        format!("admin:{}", self.name)
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Lines<T> = mpsc::Sender<Result<T, Status>>;

impl OperatorCalls {
    fn admin<T>(&self, request: &Request<T>) -> Result<Admin, Status> {
        let (name, cut) = self.0.access.admin(Caller::certificate(request)).map_err(denied)?;
        Ok(Admin { name, cut })
    }

    /// A stream that `work` writes; it ends with the admin's access and with the controller.
    fn stream<T, W>(&self, admin: &Admin, work: impl FnOnce(Arc<Context>, Lines<T>) -> W + Send + 'static) -> Answers<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<(), Status>> + Send,
    {
        let (lines, stream) = mpsc::channel(QUEUE);
        let (context, cut, stopping) = (Arc::clone(&self.0), admin.cut.clone(), self.0.stopping.clone());
        tokio::spawn(async move {
            let end = lines.clone();
            let ended = tokio::select! {
                ended = work(context, lines) => ended,
                () = cut.cancelled() => Err(denied(crate::access::Denied::Revoked)),
                () = stopping.cancelled() => Err(status(tonic::Code::Unavailable, "the controller stops", "follow again in a moment")),
                () = end.closed() => return,
            };
            if let Err(status) = ended {
                drop(end.send(Err(status)).await);
            }
        });
        Box::pin(ReceiverStream::new(stream))
    }
}

/// Sends a line of a stream; an error means that nobody reads any more.
async fn put<T>(lines: &Lines<T>, line: T) -> Result<(), Status> {
    lines.send(Ok(line)).await.map_err(|_| Status::cancelled("nobody reads"))
}

#[tonic::async_trait]
impl Operator for OperatorCalls {
    type WatchRolloutStream = Answers<v1::Rollout>;
    type ListEventsStream = Answers<v1::Event>;
    type StepOutputStream = Answers<v1::OutputPart>;

    async fn who_am_i(&self, request: Request<v1::WhoAmIRequest>) -> Answer<v1::WhoAmIResponse> {
        let admin = self.admin(&request)?;
        Ok(Response::new(v1::WhoAmIResponse {
            name: admin.name.to_string(),
            controller_version: env!("CARGO_PKG_VERSION").to_owned(),
            certificate_not_after_ms: Caller::certificate(&request).map_or(0, |certificate| certificate.not_after().0),
            term: self.0.term,
            now_ms: clock::now().0,
            protocol: roadstead_proto::PROTOCOL,
        }))
    }

    async fn renew_admin(&self, request: Request<v1::RenewRequest>) -> Answer<v1::RenewResponse> {
        let admin = self.admin(&request)?;
        admins::renew(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn missing_blobs(&self, request: Request<v1::MissingBlobsRequest>) -> Answer<v1::MissingBlobsResponse> {
        self.admin(&request)?;
        upload::missing(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn upload_blobs(&self, request: Request<Streaming<v1::UploadPart>>) -> Answer<v1::UploadBlobsResponse> {
        let admin = self.admin(&request)?;
        upload::take(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn publish_release(&self, request: Request<v1::PublishReleaseRequest>) -> Answer<v1::Release> {
        let admin = self.admin(&request)?;
        releases::publish(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn list_releases(&self, request: Request<v1::ListReleasesRequest>) -> Answer<v1::ListReleasesResponse> {
        self.admin(&request)?;
        releases::list(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn get_release(&self, request: Request<v1::GetReleaseRequest>) -> Answer<v1::GetReleaseResponse> {
        self.admin(&request)?;
        releases::get(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn apply_environment(&self, request: Request<v1::ApplyEnvironmentRequest>) -> Answer<v1::ApplyEnvironmentResponse> {
        let admin = self.admin(&request)?;
        environments::apply(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn diff_environment(&self, request: Request<v1::ApplyEnvironmentRequest>) -> Answer<v1::ApplyEnvironmentResponse> {
        self.admin(&request)?;
        environments::diff(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn remove_environment(&self, request: Request<v1::RemoveEnvironmentRequest>) -> Answer<v1::RemoveEnvironmentResponse> {
        let admin = self.admin(&request)?;
        environments::remove(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn list_environments(&self, request: Request<v1::ListEnvironmentsRequest>) -> Answer<v1::ListEnvironmentsResponse> {
        self.admin(&request)?;
        environments::list(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn plan_rollout(&self, request: Request<v1::PlanRolloutRequest>) -> Answer<v1::PlanRolloutResponse> {
        let admin = self.admin(&request)?;
        plans::plan(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn start_rollout(&self, request: Request<v1::StartRolloutRequest>) -> Answer<v1::Rollout> {
        let admin = self.admin(&request)?;
        rollouts::start(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn steer_rollout(&self, request: Request<v1::SteerRolloutRequest>) -> Answer<v1::Rollout> {
        let admin = self.admin(&request)?;
        rollouts::steer(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn restore_database(&self, request: Request<v1::RestoreDatabaseRequest>) -> Answer<v1::Rollout> {
        let admin = self.admin(&request)?;
        databases::restore(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Answer<v1::ListJobsResponse> {
        self.admin(&request)?;
        jobs::list(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn run_job(&self, request: Request<v1::RunJobRequest>) -> Answer<v1::Rollout> {
        let admin = self.admin(&request)?;
        jobs::run(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn back_up_database(&self, request: Request<v1::BackUpDatabaseRequest>) -> Answer<v1::Rollout> {
        let admin = self.admin(&request)?;
        databases::back_up(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn recheck_backup(&self, request: Request<v1::RecheckBackupRequest>) -> Answer<v1::Rollout> {
        let admin = self.admin(&request)?;
        databases::recheck(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn rollback(&self, request: Request<v1::RollbackRequest>) -> Answer<v1::Rollout> {
        let admin = self.admin(&request)?;
        rollouts::rollback(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn lock_environment(&self, request: Request<v1::LockEnvironmentRequest>) -> Answer<v1::LockEnvironmentResponse> {
        let admin = self.admin(&request)?;
        locks::lock(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn unlock_environment(&self, request: Request<v1::UnlockEnvironmentRequest>) -> Answer<v1::UnlockEnvironmentResponse> {
        let admin = self.admin(&request)?;
        locks::unlock(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn get_configuration(&self, request: Request<v1::GetConfigurationRequest>) -> Answer<v1::Configuration> {
        self.admin(&request)?;
        configurations::get(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn list_configurations(&self, request: Request<v1::ListConfigurationsRequest>) -> Answer<v1::ListConfigurationsResponse> {
        self.admin(&request)?;
        configurations::list(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn set_configuration(&self, request: Request<v1::SetConfigurationRequest>) -> Answer<v1::Configuration> {
        let admin = self.admin(&request)?;
        configurations::set(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn list_rollouts(&self, request: Request<v1::ListRolloutsRequest>) -> Answer<v1::ListRolloutsResponse> {
        self.admin(&request)?;
        rollouts::list(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn get_rollout(&self, request: Request<v1::GetRolloutRequest>) -> Answer<v1::Rollout> {
        self.admin(&request)?;
        rollouts::get(&self.0, request.into_inner().rollout).await.map(Response::new)
    }

    async fn watch_rollout(&self, request: Request<v1::GetRolloutRequest>) -> Answer<Self::WatchRolloutStream> {
        let admin = self.admin(&request)?;
        let rollout = request.into_inner().rollout;
        rollouts::get(&self.0, rollout).await?;
        Ok(Response::new(self.stream(&admin, move |context, lines| rollouts::watch(context, rollout, lines))))
    }

    async fn list_events(&self, request: Request<v1::ListEventsRequest>) -> Answer<Self::ListEventsStream> {
        let admin = self.admin(&request)?;
        let request = request.into_inner();
        Ok(Response::new(self.stream(&admin, move |context, lines| events::list(context, request, lines))))
    }

    async fn step_output(&self, request: Request<v1::StepOutputRequest>) -> Answer<Self::StepOutputStream> {
        let admin = self.admin(&request)?;
        let wanted = output::Wanted::read(&self.0, request.into_inner()).await?;
        Ok(Response::new(self.stream(&admin, move |context, lines| output::send(context, wanted, lines))))
    }

    async fn create_token(&self, request: Request<v1::CreateTokenRequest>) -> Answer<v1::CreateTokenResponse> {
        let admin = self.admin(&request)?;
        admins::create_token(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn list_hosts(&self, request: Request<v1::ListHostsRequest>) -> Answer<v1::ListHostsResponse> {
        self.admin(&request)?;
        hosts::list(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn revoke_host(&self, request: Request<v1::RevokeHostRequest>) -> Answer<v1::RevokeHostResponse> {
        let admin = self.admin(&request)?;
        hosts::revoke(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn repair_host(&self, request: Request<v1::RepairHostRequest>) -> Answer<v1::RepairHostResponse> {
        let admin = self.admin(&request)?;
        hosts::repair(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }

    async fn revoke_admin(&self, request: Request<v1::RevokeAdminRequest>) -> Answer<v1::RevokeAdminResponse> {
        let admin = self.admin(&request)?;
        admins::revoke(&self.0, &admin, request.into_inner()).await.map(Response::new)
    }
}
