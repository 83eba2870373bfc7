//! From types to CustomResourceDefinitions.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Every CustomResourceDefinition, in the order of their file names.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![crate::IPAddressPool::crd()]
}
