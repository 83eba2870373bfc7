//! Bounds and rules of a field's schema, in one expression beside the field.
//!
//! The API server estimates the worst cost of a CEL rule before it accepts a CRD and
//! refuses rules over lists and strings without bounds, so a bound and the rules that
//! need it belong together. schemars has attributes for some of this, but none for what
//! lies inside a list, and kube's `KubeSchema` copies every struct to add its rules.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::transform::Transform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// A schema fragment that is laid over the one schemars made of the type.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    keys: Map<String, Value>,
    rules: Vec<Value>,
    items: Option<Box<Shape>>,
}

impl Shape {
    /// No bounds: for structs and booleans that only have rules.
    pub(crate) fn any() -> Self {
        Self::default()
    }

    /// A string of at most so many characters.
    pub(crate) fn text(max_length: u32) -> Self {
        Self::default().with("maxLength", json!(max_length))
    }

    /// A whole number in these bounds, both included. The format is the widest that
    /// fits: the API server warns of formats it does not know, such as `uint32`.
    pub(crate) fn int(minimum: i64, maximum: i64) -> Self {
        let format = if maximum > i64::from(i32::MAX) { "int64" } else { "int32" };
        Self::default()
            .with("minimum", json!(minimum))
            .with("maximum", json!(maximum))
            .with("format", json!(format))
    }

    /// A list of at most so many items of this shape.
    pub(crate) fn list(max_items: u32, items: Shape) -> Self {
        Self { items: Some(Box::new(items)), ..Self::default().with("maxItems", json!(max_items)) }
    }

    /// Any other keyword.
    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.keys.insert(key.to_owned(), value);
        self
    }

    /// A CEL rule that must hold, and what the user reads when it does not.
    pub(crate) fn rule(mut self, rule: impl Into<String>, message: impl Into<String>) -> Self {
        self.rules.push(json!({ "rule": rule.into(), "message": message.into() }));
        self
    }

    fn lay_over(&self, schema: &mut Map<String, Value>) {
        schema.extend(self.keys.clone());
        if !self.rules.is_empty() {
            schema.insert("x-kubernetes-validations".to_owned(), Value::Array(self.rules.clone()));
        }
        if let Some(items) = &self.items
            && let Some(Value::Object(of_items)) = schema.get_mut("items")
        {
            items.lay_over(of_items);
        }
    }
}

impl Transform for Shape {
    fn transform(&mut self, schema: &mut Schema) {
        self.lay_over(schema.ensure_object());
    }
}

/// `[]metav1.Condition` as a map by `type`, so that two writers with server-side apply
/// keep out of each other's way.
pub(crate) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let items = Condition::json_schema(generator);
    json_schema!({
        "type": "array",
        "items": items,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

/// `metav1.LabelSelector`.
pub(crate) fn selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels that must all be there with exactly these values.",
                "additionalProperties": { "type": "string" },
            },
            "matchExpressions": {
                "type": "array",
                "description": "Conditions on labels that must all hold.",
                "maxItems": 64,
                "items": expression(),
            },
        },
    })
}

fn expression() -> Value {
    let needs = "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0";
    json!({
        "type": "object",
        "required": ["key", "operator"],
        "properties": {
            "key": { "type": "string", "description": "The label." },
            "operator": {
                "type": "string",
                "description": "In, NotIn, Exists or DoesNotExist.",
                "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
            },
            "values": {
                "type": "array",
                "description": "Values of the label for In and NotIn; empty for Exists and DoesNotExist.",
                "items": { "type": "string" },
            },
        },
        "x-kubernetes-validations": [{
            "rule": needs,
            "message": "invalid label selector: In and NotIn need at least one entry in values, Exists and DoesNotExist take none",
        }],
    })
}

/// `[]metav1.LabelSelector`, bounded so that the rule inside stays affordable.
pub(crate) fn selectors(generator: &mut SchemaGenerator) -> Schema {
    let items = selector(generator);
    json_schema!({ "type": "array", "maxItems": 256, "items": items })
}
