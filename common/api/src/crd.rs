//! From types to CustomResourceDefinitions.
//!
//! What kube derives is corrected in three points, for every kind alike: fields are not
//! nullable (MetalLB's are not, and a null would reach the CEL rules); descriptions are
//! paragraphs, not lines of source; and a spec whose fields are all optional may be left
//! out. BGPPeer gets its second version.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSON;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps,
    JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::{
    BFDProfile, BGPAdvertisement, BGPPeer, Community, ConfigurationState, IPAddressPool, L2Advertisement,
    OwnerPlan, ServiceBGPStatus, ServiceL2Status,
};

/// MetalLB's `deprecationWarning`, to the letter.
const V1BETA1_DEPRECATED: &str = "v1beta1 is deprecated, please use v1beta2";

/// Every CustomResourceDefinition, ready to be applied, sorted by name.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut all = vec![
        IPAddressPool::crd(),
        L2Advertisement::crd(),
        BGPAdvertisement::crd(),
        BGPPeer::crd(),
        BFDProfile::crd(),
        Community::crd(),
        ServiceL2Status::crd(),
        ServiceBGPStatus::crd(),
        ConfigurationState::crd(),
        OwnerPlan::crd(),
    ];
    for crd in &mut all {
        crd.spec.names.short_names = None;
        crd.spec.names.categories = None;
        for schema in
            crd.spec.versions.iter_mut().filter_map(|v| v.schema.as_mut()?.open_api_v3_schema.as_mut())
        {
            tidy(schema);
            optional_spec(schema);
        }
        if crd.spec.names.kind == "BGPPeer" {
            serve_v1beta1(crd);
        }
    }
    all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    all
}

/// Removes what kube derives and no CRD of MetalLB has, in the whole tree.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    if let Some(description) = &mut schema.description {
        *description = paragraphs(description);
    }
    // A default of null says nothing, and is refused where null is not allowed.
    if schema.default.as_ref().is_some_and(|JSON(value)| value.is_null()) {
        schema.default = None;
    }
    schema.properties.iter_mut().flat_map(|p| p.values_mut()).for_each(tidy);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

/// Doc comments are wrapped for the editor; `kubectl explain` wraps for the terminal.
fn paragraphs(description: &str) -> String {
    let whole = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    description.split("\n\n").map(whole).collect::<Vec<_>>().join("\n\n")
}

/// `spec` may be left out where nothing in it is required: the API server then fills in an
/// empty one, so that readers always find one.
fn optional_spec(root: &mut JSONSchemaProps) {
    let spec = root.properties.as_mut().and_then(|p| p.get_mut("spec"));
    if let Some(spec) = spec
        && spec.required.is_none()
    {
        spec.default = Some(JSON(json!({})));
    }
}

/// Serves BGPPeer as `v1beta1` too. There is no conversion webhook, so both versions have
/// one shape: strategy `None` then loses nothing in either direction (MetalLB's webhook
/// drops the fields that v1beta1 lacks). v1beta1 differs in that `peerPort` may be 0, which
/// means 179 as ever.
fn serve_v1beta1(crd: &mut CustomResourceDefinition) {
    let Some(stored) = crd.spec.versions.first() else { return };
    let mut old = CustomResourceDefinitionVersion {
        name: "v1beta1".to_owned(),
        storage: false,
        served: true,
        deprecated: Some(true),
        deprecation_warning: Some(V1BETA1_DEPRECATED.to_owned()),
        ..stored.clone()
    };
    let port = old
        .schema
        .as_mut()
        .and_then(|s| s.open_api_v3_schema.as_mut()?.properties.as_mut()?.get_mut("spec"))
        .and_then(|spec| spec.properties.as_mut()?.get_mut("peerPort"));
    if let Some(port) = port {
        port.minimum = Some(0.0);
        port.default = None;
    }
    crd.spec.versions.insert(0, old);
    crd.spec.conversion = Some(CustomResourceConversion { strategy: "None".to_owned(), webhook: None });
}
