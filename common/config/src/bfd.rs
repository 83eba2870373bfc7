//! BFDProfile to [`BfdProfile`]. What is not set gets FRR's defaults, which MetalLB's users
//! have today (contract §1.5).

use clarion_api::BFDProfile;
use kube::ResourceExt;

use crate::check::{Wrong, number};
use crate::model::BfdProfile;

pub(crate) fn read(object: &BFDProfile) -> Result<BfdProfile, Wrong> {
    let spec = &object.spec;
    let interval = |field: &str, value: Option<i64>, default: i64| {
        number(&format!("spec.{field}"), value.unwrap_or(default), 10_u32, 60_000)
    };
    Ok(BfdProfile {
        name: object.name_any(),
        receive_interval_ms: interval("receiveInterval", spec.receive_interval, 300)?,
        transmit_interval_ms: interval("transmitInterval", spec.transmit_interval, 300)?,
        echo_interval_ms: interval("echoInterval", spec.echo_interval, 50)?,
        detect_multiplier: number("spec.detectMultiplier", spec.detect_multiplier.unwrap_or(3), 2, 255)?,
        echo_mode: spec.echo_mode.unwrap_or(false),
        passive_mode: spec.passive_mode.unwrap_or(false),
        minimum_ttl: number("spec.minimumTtl", spec.minimum_ttl.unwrap_or(254), 1, 254)?,
    })
}
