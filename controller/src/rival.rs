//! Somebody else who writes the status of our Services: who that is, and what people are told of it.

use std::collections::BTreeMap;

use clarion_core::ServiceKey;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

/// The name under which our fields are managed.
pub const FIELD_MANAGER: &str = "clarion-controller";

/// Who else writes the status of a Service, as its `managedFields` tell while our own write is
/// taken back: the manager of what is there, else whoever wrote the status last.
#[must_use]
pub fn other_writer(fields: &[ManagedFieldsEntry]) -> Option<&str> {
    let owns = |entry: &ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.is_some_and(|fields| !fields["f:status"]["f:loadBalancer"].is_null())
    };
    let status = fields.iter().filter(|entry| owns(entry) || entry.subresource.as_deref() == Some("status"));
    let last = status.max_by_key(|entry| (owns(entry), entry.time.as_ref().map(|time| time.0)));
    last?.manager.as_deref()
}

/// The other one as people know it, and what they can do. `manager`: as it names itself in
/// `managedFields`; `None` if nobody knows.
#[must_use]
pub fn remedy(manager: Option<&str>) -> String {
    let who = match manager {
        Some(FIELD_MANAGER) => format!("another installation of Clarion (field manager {FIELD_MANAGER:?})"),
        // The name of its binary.
        Some("controller") => "a MetalLB (field manager \"controller\")".to_owned(),
        Some(name) => format!("field manager {name:?}"),
        None => "somebody".to_owned(),
    };
    format!(
        "{who} writes another status.loadBalancer than ours again and again: two serve the same Services, so none is served. Delete one of them, or give each its own Services (spec.loadBalancerClass, --lb-class); until then this one writes ever more rarely"
    )
}

/// Services named in a condition; more are counted.
const NAMED: usize = 5;

/// What is to be said of Services that somebody else writes, too; empty if there are none.
#[must_use]
pub fn summary<'a>(services: impl Iterator<Item = (&'a ServiceKey, Option<&'a str>)>) -> String {
    let mut by_other: BTreeMap<&str, Vec<&ServiceKey>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for (service, other) in services {
        match other {
            Some(other) => by_other.entry(other).or_default().push(service),
            None => unknown.push(service),
        }
    }
    // Of many only some were asked about; the others are contested by the same one.
    if let Some(services) = by_other.values_mut().next() {
        services.append(&mut unknown);
    }
    let unknown = (!unknown.is_empty()).then_some((None, unknown));
    let known = by_other.into_iter().map(|(other, services)| (Some(other), services));
    let said = known.chain(unknown).map(|(other, services)| {
        let names: Vec<_> = services.iter().take(NAMED).map(ToString::to_string).collect();
        let more = services.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("Services {}{more}: {}", names.join(", "), remedy(other))
    });
    said.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_many_some_are_named_and_the_one_that_is_known_is_everybodys() {
        let keys: Vec<_> = (0..9).map(|n| ServiceKey::new("ns", format!("s{n}"))).collect();
        let others = keys.iter().enumerate().map(|(n, key)| (key, (n == 3).then_some("controller")));
        let said = summary(others);
        assert!(said.starts_with("Services ns/s3, ns/s0, "), "{said}");
        assert!(said.contains(" and 4 more: a MetalLB (field manager \"controller\")"), "{said}");
        assert!(summary([(&keys[0], None)].into_iter()).starts_with("Services ns/s0: somebody writes"));
        assert_eq!(summary(std::iter::empty()), "");
    }

    #[test]
    fn the_other_one_is_who_manages_what_is_there() {
        let entry = |manager: &str, subresource: Option<&str>, second: i64, fields: serde_json::Value| {
            let time = k8s_openapi::jiff::Timestamp::from_second(second).unwrap();
            serde_json::from_value::<ManagedFieldsEntry>(json!({
                "manager": manager, "subresource": subresource, "time": time.to_string(), "fieldsV1": fields,
            }))
            .unwrap()
        };
        let spec = || entry("kubectl", None, 9, json!({"f:spec": {}}));
        let status = json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}});
        let notes = json!({"f:metadata": {"f:annotations": {}}});
        // (entries, other)
        let table = [
            (vec![], None),
            (vec![spec()], None),
            (vec![spec(), entry("controller", Some("status"), 5, status.clone())], Some("controller")),
            (
                // Ours holds the annotation only; the newer one has cleared the addresses.
                vec![
                    entry("clarion-controller", Some("status"), 3, notes.clone()),
                    entry("controller", Some("status"), 7, notes.clone()),
                ],
                Some("controller"),
            ),
            (
                vec![
                    entry("clarion-controller", Some("status"), 8, status),
                    entry("controller", Some("status"), 9, notes),
                ],
                Some("clarion-controller"),
            ),
        ];
        for (entries, other) in table {
            assert_eq!(other_writer(&entries), other, "{entries:?}");
        }
        assert!(remedy(Some("clarion-controller")).starts_with("another installation of Clarion"));
        assert!(remedy(Some("kubectl-edit")).contains("\"kubectl-edit\""));
    }
}
