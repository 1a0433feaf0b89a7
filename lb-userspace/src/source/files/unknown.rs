//! Fields that a kind does not have.
//!
//! An API server prunes unknown fields silently or, asked by kubectl, refuses them. Here a typing error in a
//! pool would give addresses away, so they are refused, and named. They are found by comparing what was written
//! with what remains after reading and writing it again.

use serde_json::Value;

/// Paths of all fields of `written` that are not in `known`, at most `limit` of them.
pub(super) fn fields(written: &Value, known: &Value, path: &str, limit: usize) -> Vec<String> {
    let mut found = Vec::new();
    compare(written, known, path, limit, &mut found);
    found
}

fn compare(written: &Value, known: &Value, path: &str, limit: usize, found: &mut Vec<String>) {
    if found.len() >= limit {
        return;
    }
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            for (name, value) in written {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match known.get(name) {
                    Some(known) => compare(value, known, &path, limit, found),
                    None if found.len() < limit => found.push(path),
                    None => return,
                }
            }
        }
        (Value::Array(written), Value::Array(known)) => {
            for (index, (value, known)) in written.iter().zip(known).enumerate() {
                compare(value, known, &format!("{path}[{index}]"), limit, found);
            }
        }
        _ => {}
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

    #[test]
    fn unknown_fields_at_any_depth() {
        let written = json!({"a": [{"b": 1, "x": 2}], "y": {"z": 1}, "c": {"d": 1}});
        let known = json!({"a": [{"b": 1}], "c": {"d": 1}, "e": 0});
        assert_eq!(fields(&written, &known, "spec", 8), ["spec.a[0].x", "spec.y"]);
        assert_eq!(fields(&written, &known, "", 1), ["a[0].x"]);
        assert!(fields(&known, &known, "", 8).is_empty());
    }

    #[test]
    fn nulls_are_absent() {
        let mut value = json!({"a": null, "b": [{"c": null, "d": 1}]});
        without_nulls(&mut value);
        assert_eq!(value, json!({"b": [{"d": 1}]}));
    }
}
