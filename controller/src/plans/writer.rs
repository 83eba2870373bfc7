//! Writes one OwnerPlan: one request, conditional on the version that was seen.

use std::time::Instant;

use clarion_api::OwnerPlan;
use clarion_daemon::Refusals;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};

use super::Stored;
use super::shards::{Action, Wrote};
use super::state::Write;
use crate::fence::{Fence, TIMEOUT, Unwritten};
use crate::writer::FIELD_MANAGER;

/// The log's word for what is written here.
pub(super) const WHAT: &str = "OwnerPlans";

/// Writes it. Failures are told to `refusals` and come back as what to do next.
pub(super) async fn write(api: &Api<OwnerPlan>, fence: &Fence, refusals: &Refusals, write: &Write) -> Wrote {
    let name = write.object.name_any();
    match fence.write(send(api, &name, write)).await {
        Ok(wrote) => {
            refusals.taken(Instant::now(), WHAT);
            wrote
        }
        Err(Unwritten::Api(kube::Error::Api(status))) if status.is_conflict() || status.is_not_found() => {
            // A list, since that right is needed anyway.
            let this = ListParams::default().fields(&format!("metadata.name={name}"));
            match tokio::time::timeout(TIMEOUT, api.list_metadata(&this)).await {
                Ok(Ok(found)) => {
                    Wrote::Conflict(found.items.first().map(|object| Stored::of(&object.metadata)))
                }
                _ => Wrote::Failed,
            }
        }
        Err(Unwritten::NotLeading) => Wrote::Failed,
        Err(error) => {
            refusals.refused(Instant::now(), WHAT, &name, &error);
            Wrote::Failed
        }
    }
}

async fn send(api: &Api<OwnerPlan>, name: &str, write: &Write) -> kube::Result<Wrote> {
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    Ok(match &write.action {
        Action::Create => Wrote::Done(Stored::of(&api.create(&params, &write.object).await?.metadata)),
        Action::Replace(_) => {
            Wrote::Done(Stored::of(&api.replace(name, &params, &write.object).await?.metadata))
        }
        Action::Delete(stored) => {
            let version = Some(stored.version.clone());
            let preconditions = Some(Preconditions { resource_version: version, uid: None });
            match api.delete(name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                result => drop(result?),
            }
            Wrote::Deleted
        }
    })
}
