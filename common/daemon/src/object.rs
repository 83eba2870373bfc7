//! An API object as the API server sends it, before anybody decided what it is.
//!
//! Everything is decoded twice: JSON to [`Object`], which succeeds for whatever the API server
//! stores, then one object to its type. So an object that cannot be read is one object that
//! cannot be read: decoding a list or an event straight into the type would make it the end of
//! its whole kind's watch. All kinds share the code of one watch, too, and what is most of an
//! object's memory, managedFields, is never kept.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// An object of any kind.
#[derive(Debug, Clone)]
pub struct Object {
    /// What of `metadata` this product reads; everything else of it is empty.
    pub metadata: ObjectMeta,
    /// All other fields, and an empty `metadata`, which some types insist on.
    body: Value,
}

impl Object {
    /// Reads the object as a type; its `metadata` is in [`Object::metadata`] alone.
    ///
    /// # Errors
    /// It has another shape.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.body)
    }

    /// Reads the few facts of a built-in kind that somebody looks at. The API server checked
    /// the object; should it have another shape nevertheless, there are no facts.
    #[must_use]
    pub fn facts<T: DeserializeOwned + Default>(&self) -> T {
        self.read().unwrap_or_else(|error| {
            let name = self.metadata.name.as_deref();
            tracing::debug!(name, %error, "an object has an unknown shape and counts as empty");
            T::default()
        })
    }

    /// The metadata, and all the rest of the object.
    #[must_use]
    pub fn into_parts(self) -> (ObjectMeta, Value) {
        (self.metadata, self.body)
    }
}

impl Resource for Object {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.kind)
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.group)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.version)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.plural)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The fields of ObjectMeta that are kept.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    uid: Option<String>,
}

impl From<Meta> for ObjectMeta {
    fn from(meta: Meta) -> Self {
        Self {
            annotations: meta.annotations,
            creation_timestamp: meta.creation_timestamp,
            deletion_timestamp: meta.deletion_timestamp,
            generation: meta.generation,
            labels: meta.labels,
            name: meta.name,
            namespace: meta.namespace,
            resource_version: meta.resource_version,
            uid: meta.uid,
            ..Self::default()
        }
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Object, A::Error> {
        let mut metadata = Meta::default();
        let mut body = Map::new();
        while let Some(field) = fields.next_key::<Cow<'de, str>>()? {
            match field.as_ref() {
                "metadata" => metadata = fields.next_value::<Option<Meta>>()?.unwrap_or_default(),
                // Lists leave them out; who asked knows them.
                "apiVersion" | "kind" => {
                    fields.next_value::<IgnoredAny>()?;
                }
                _ => {
                    body.insert(field.into_owned(), fields.next_value()?);
                }
            }
        }
        body.insert("metadata".to_owned(), Value::Object(Map::new()));
        Ok(Object { metadata: metadata.into(), body: Value::Object(body) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::coordination::v1::Lease;
    use serde_json::json;

    fn object(value: &Value) -> Object {
        serde_json::from_str(&value.to_string()).unwrap()
    }

    #[test]
    fn whatever_is_stored_can_be_decoded_and_says_its_name() {
        for value in [
            json!({ "metadata": { "name": "a" } }),
            json!({ "metadata": { "name": "a" }, "spec": null, "status": [1, 2] }),
            json!({ "spec": 7, "kind": "X", "metadata": { "name": "a", "managedFields": [{ "x": 1 }] } }),
        ] {
            assert_eq!(object(&value).metadata.name.as_deref(), Some("a"), "{value}");
        }
        assert_eq!(object(&json!({})).metadata, ObjectMeta::default());
    }

    #[test]
    fn an_object_is_read_as_its_type_or_refused_alone() {
        let lease =
            json!({ "kind": "Lease", "metadata": { "name": "l" }, "spec": { "holderIdentity": "me" } });
        let read: Lease = object(&lease).read().unwrap();
        assert_eq!(read.spec.unwrap().holder_identity.as_deref(), Some("me"));
        let broken = object(&json!({ "metadata": { "name": "l" }, "spec": { "holderIdentity": 7 } }));
        assert!(broken.read::<Lease>().is_err());
        assert_eq!(broken.facts::<Lease>(), Lease::default());
    }

    #[test]
    fn one_broken_object_does_not_end_a_list() {
        let text = json!({ "kind": "LeaseList", "apiVersion": "coordination.k8s.io/v1",
            "metadata": { "resourceVersion": "7" },
            "items": [{ "metadata": { "name": "bad" }, "spec": 7 }, { "metadata": { "name": "good" } }] });
        let list: kube::core::ObjectList<Object> = serde_json::from_str(&text.to_string()).unwrap();
        let names: Vec<_> = list.items.iter().filter_map(|o| o.metadata.name.as_deref()).collect();
        assert_eq!(names, ["bad", "good"]);
    }
}
