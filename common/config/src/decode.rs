//! A configuration object out of what the API server stores.
//!
//! Under CRDs that are not this version's the API server stores and sends objects that do not
//! fit their type: without a field, or with a list where a text should be. Such an object still
//! has a name. It goes on as an object that says nothing and carries a mark, in memory
//! only, by which [`parse`](crate::parse) sets it aside alone; its condition tells why.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::check::Wrong;

/// The mark. Whatever an object has under this name is removed when it is decoded.
const MARK: &str = "clarion.dev/unreadable";
/// Parts of a message are what somebody wrote into an object.
const LONGEST: usize = 300;

/// The object. `body` is all of it but the metadata (which some types insist on: an
/// empty one does). Without `spec` it has an empty one, as under our own CRDs: an
/// L2Advertisement of that kind is what MetalLB's manual begins with.
#[must_use]
pub fn decode<K>(mut metadata: ObjectMeta, mut body: Value) -> K
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Default,
{
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(MARK);
    }
    if let Value::Object(fields) = &mut body {
        let spec = fields.entry("spec").or_insert(Value::Null);
        if spec.is_null() {
            *spec = Value::Object(serde_json::Map::new());
        }
    }
    let read = K::deserialize(&body).or_else(|error| {
        // What is shown of it is ours: a status of another shape does no harm.
        body.as_object_mut().and_then(|fields| fields.remove("status"));
        K::deserialize(&body).map_err(|_| error)
    });
    let mut object = read.unwrap_or_else(|error| {
        let why = error.to_string().chars().take(LONGEST).collect();
        metadata.annotations.get_or_insert_default().insert(MARK.to_owned(), why);
        K::default()
    });
    *object.meta_mut() = metadata;
    object
}

/// Why an object that [`decode`] returned says nothing.
pub(crate) fn unreadable<K: Resource>(object: &K) -> Option<Wrong> {
    let why = object.meta().annotations.as_ref()?.get(MARK)?;
    let message = format!(
        "cannot be read: {why}: apply the CustomResourceDefinitions of this release, and the object again, or delete it"
    );
    Some(Wrong::new("spec", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarion_api::{IPAddressPool, L2Advertisement};
    use serde_json::json;

    fn read<K>(body: Value) -> K
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Default,
    {
        let mut body = body;
        body["metadata"] = json!({});
        let annotations = Some([(MARK.to_owned(), "by a user".to_owned())].into());
        let metadata = ObjectMeta { name: Some("x".to_owned()), annotations, ..ObjectMeta::default() };
        decode(metadata, body)
    }

    #[test]
    fn what_fits_is_read_whoever_wrote_the_mark() {
        let pool: IPAddressPool = read(json!({ "spec": { "addresses": ["192.0.2.0/24"] } }));
        assert_eq!((unreadable(&pool), pool.spec.addresses.len()), (None, 1));
        assert_eq!(pool.metadata.name.as_deref(), Some("x"));
    }

    #[test]
    fn a_status_of_another_shape_does_no_harm() {
        let pool: IPAddressPool = read(json!({ "spec": { "addresses": ["192.0.2.0/24"] }, "status": 7 }));
        assert_eq!((unreadable(&pool), pool.spec.addresses.len(), pool.status), (None, 1, None));
    }

    #[test]
    fn what_does_not_fit_says_what_and_the_remedy() {
        for (body, what) in [
            (json!({}), "missing field `addresses`"),
            (json!({ "spec": null }), "missing field `addresses`"),
            (json!({ "spec": 7 }), "7"),
            (json!({ "spec": { "addresses": "192.0.2.0/24" } }), "expected a sequence"),
            (json!({ "spec": { "addresses": "x".repeat(9999) } }), "xxx"),
        ] {
            let wrong = unreadable(&read::<IPAddressPool>(body)).unwrap();
            assert!(wrong.message.contains(what) && wrong.message.contains("apply"), "{wrong:?}");
            assert!(wrong.message.len() < 600, "{} characters", wrong.message.len());
        }
    }

    #[test]
    fn an_advertisement_without_spec_is_one_for_all_pools() {
        assert_eq!(unreadable(&read::<L2Advertisement>(json!({}))), None);
        // Its default would be in force for every pool.
        assert!(unreadable(&read::<L2Advertisement>(json!({ "spec": { "nodeSelectors": 7 } }))).is_some());
    }
}
