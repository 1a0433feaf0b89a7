//! Fields that a kind does not have.
//!
//! An API server prunes unknown fields silently or, asked by kubectl, refuses them. Here a typing error in a
//! pool would give addresses away, so they are refused, and named.

use serde::de::DeserializeOwned;
use serde_ignored::Path;
use serde_json::Value;

type Read<T> = Result<T, serde_path_to_error::Error<serde_json::Error>>;

/// Reads a value, with the paths of the fields that its type does not have, at most `limit` of them.
pub(super) fn read<T: DeserializeOwned>(value: Value, limit: usize) -> (Read<T>, Vec<String>) {
    let mut found = Vec::new();
    let mut note = |path: Path<'_>| {
        if found.len() < limit {
            found.push(text(&path));
        }
    };
    let read = serde_path_to_error::deserialize(serde_ignored::Deserializer::new(value, &mut note));
    (read, found)
}

/// A path as it is written elsewhere: `spec.addresses[0]`.
fn text(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", text(parent)),
        Path::Map { parent, key } => match text(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            text(parent)
        }
    }
}

/// Removes fields that are null, as Go's decoder takes them for absent.
pub(super) fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    use crate::k8s::crd::{IPAddressPool, L2Advertisement};

    #[test]
    fn unknown_fields_at_any_depth() {
        let written = json!({
            "metadata": {"name": "p", "label": {}},
            "spec": {"addresses": [], "serviceAllocation": {"serviceSelectors": [{}, {"x": 1}]}, "y": {"z": 1}},
        });
        let (pool, unknown) = read::<IPAddressPool>(written.clone(), 8);
        assert!(pool.is_ok());
        assert_eq!(unknown, ["metadata.label", "spec.serviceAllocation.serviceSelectors[1].x", "spec.y"]);
        assert_eq!(read::<IPAddressPool>(written, 1).1, ["metadata.label"]);
        let known = json!({"metadata": {"name": "a"}, "spec": {"interfaces": [], "nodeSelectors": [{}]}});
        let (ad, unknown) = read::<L2Advertisement>(known, 8);
        assert!(ad.is_ok() && unknown.is_empty());
    }

    #[test]
    fn the_field_of_a_wrong_type_is_named() {
        let path = |value| read::<L2Advertisement>(value, 8).0.unwrap_err().path().to_string();
        assert_eq!(path(json!({"metadata": {}, "spec": {"interfaces": ["a", 1]}})), "spec.interfaces[1]");
        assert_eq!(path(json!({"metadata": {}, "spec": []})), "spec");
    }

    #[test]
    fn nulls_are_absent() {
        let mut value = json!({"a": null, "b": [{"c": null, "d": 1}]});
        without_nulls(&mut value);
        assert_eq!(value, json!({"b": [{"d": 1}]}));
    }
}
