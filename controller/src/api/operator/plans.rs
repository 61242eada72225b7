//! What a rollout would be: asked of the driver, read from the store, and told.

use roadstead_model::outlook::Obstacle;
use roadstead_model::{AppName, EnvironmentName, ReleaseId};
use roadstead_proto::v1;
use roadstead_rollout::{InvalidPlan, State};
use std::collections::{BTreeMap, BTreeSet};
use tonic::Status;

use super::super::Context;
use super::super::status::{hint, internal, refused, stored};
use super::Admin;
use super::rollouts::{contracts_of, floor_of, place, wanted};
use crate::floor::WAYS_OUT;
use crate::outlook::contents::{self, Contents, Holding};
use crate::outlook::outlook;
use roadstead_bundle::manifest::Manifest;
use roadstead_driver::{Foresee, Foreseen, Refused};

/// Rollouts of an environment among which a history is looked for.
const EARLIER_MAX: u32 = 20;

pub(super) async fn plan(context: &Context, admin: &Admin, request: v1::PlanRolloutRequest) -> Result<v1::PlanRolloutResponse, Status> {
    let (environment, app) = place(context, &request.environment, &request.app).await?;
    let release = wanted(context, &environment, &app, &request.release).await?;
    let floor = floor_of(context, &environment, &app, Some(&release)).await?;
    let contracts = contracts_of(context, &environment, &app, &release).await?;
    let asked = Foresee { environment: environment.clone(), app: app.clone(), release, by: admin.actor(), contracts };
    let mut foreseen = context.driver.foresee(asked).await.map_err(refused)?;
    let mut obstacles = std::mem::take(&mut foreseen.obstacles).into_iter().map(obstacle).collect::<Result<Vec<_>, _>>()?;
    let floor = floor.map(|what| Obstacle { kind: "below-floor".to_owned(), what, next: WAYS_OUT.to_owned() });
    obstacles.extend(floor);
    let history = history(context, &environment, &app).await?;
    let (foreseen, contents) = read(context, foreseen).await?;
    let outlook = outlook(&foreseen, obstacles, &contents, &history);
    Ok(v1::PlanRolloutResponse { outlook: serde_json::to_vec(&outlook).map_err(internal)? })
}

/// Rollouts of an app in an environment, newest first; not those of an environment of this name that was removed.
async fn history(context: &Context, environment: &EnvironmentName, app: &AppName) -> Result<Vec<State>, Status> {
    let removed = context.store.removed_up_to(environment, app).await.map_err(stored)?;
    let earlier = context.store.rollouts(environment.as_str(), EARLIER_MAX).await.map_err(stored)?;
    let states = earlier.into_iter().map(|record| record.state);
    Ok(states.filter(|state| state.plan.app == *app && state.plan.rollout > removed).collect())
}

/// What lies in the store of the release, of what runs, and of what hosts hold.
async fn read(context: &Context, foreseen: Foreseen) -> Result<(Foreseen, Contents), Status> {
    let app = foreseen.environment.spec.app.clone();
    let hosts = foreseen.plan.iter().flat_map(|plan| plan.hosts.keys());
    let holdings: BTreeMap<_, _> =
        hosts.map(|host| (host.clone(), Holding::of(&foreseen.release, &app, foreseen.facts.get(host)))).collect();
    let ids: BTreeSet<&ReleaseId> = holdings.values().flat_map(Holding::releases).collect();
    let mut known: BTreeMap<ReleaseId, Manifest> = BTreeMap::new();
    for id in ids {
        // What is not known here may be on a host all the same: then it fetches less.
        if let Some(release) = context.store.release_by_id(&app, id).await.map_err(stored)? {
            known.insert(id.clone(), release.manifest);
        }
    }
    let blobs = context.blobs.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let contents =
            contents::read(&blobs, foreseen.current.as_ref().map(|current| &current.release), &foreseen.release, holdings, &known);
        (foreseen, contents)
    });
    reading.await.map_err(internal)
}

/// A refusal as one of several things that stand in the way. The controller's own failures are none.
fn obstacle(why: Refused) -> Result<Obstacle, Status> {
    let kind = match &why {
        Refused::Busy(..) => "busy",
        Refused::Bad { .. } => "bad-release",
        Refused::Behind(_) => "hosts-ahead",
        Refused::NotEverywhere { .. } => "not-everywhere",
        Refused::Lacking { .. } | Refused::Clash(_) => "configuration",
        Refused::Plan(InvalidPlan::NoHosts { .. }) => "no-hosts",
        Refused::Plan(InvalidPlan::TooManyHosts(_)) => "too-many-hosts",
        Refused::Ledger(_) => return Err(refused(why)),
        _ => "refused",
    };
    let status = refused(why);
    Ok(Obstacle { kind: kind.to_owned(), what: status.message().to_owned(), next: hint(&status).to_owned() })
}
