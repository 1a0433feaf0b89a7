//! The v0.9 document in a text from anywhere: a manifest with the `ConfigMap`, or the document itself.

use k8s_openapi::api::core::v1::ConfigMap;
use lb_core::problem::Place;
use serde_json::Value;

use super::{document, legacy, unknown};
use crate::source::problem::{ObjectError, Problem};

/// A v0.9 document that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyText {
    /// Where it was found.
    pub place: Place,
    /// Name of the `ConfigMap`; `None` for a bare document.
    pub name: Option<String>,
    /// Namespace of the `ConfigMap`, if it names one.
    pub namespace: Option<String>,
    /// The document.
    pub text: String,
}

/// All v0.9 documents of a text. `file` is how the text is called. Objects of other kinds are passed over.
pub fn legacy_texts(text: &str, file: &str) -> Result<Vec<LegacyText>, Vec<Problem>> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for document in document::split(text) {
        let place =
            Place { file: Some(file.to_owned()), document: Some(document.number), ..Place::default() };
        let value = match document::parse(&document) {
            Ok(Value::Null) => continue,
            Ok(value) => value,
            Err(error) => {
                problems.push(Problem::new(place, error));
                continue;
            }
        };
        if value.get("kind").is_none() {
            let text = document.text.to_owned();
            found.push(LegacyText { place, name: None, namespace: None, text });
            continue;
        }
        for object in items(value) {
            match config_map(object, &place) {
                Ok(legacy) => found.extend(legacy),
                Err(found) => problems.extend(found),
            }
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

/// The objects of a list, or the one object.
fn items(mut value: Value) -> Vec<Value> {
    let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match value.get_mut("items").filter(|_| is_list).map(Value::take) {
        Some(Value::Array(items)) => items,
        Some(_) | None => vec![value],
    }
}

fn config_map(mut object: Value, place: &Place) -> Result<Option<LegacyText>, Vec<Problem>> {
    if object["kind"] != "ConfigMap" {
        return Ok(None);
    }
    unknown::without_nulls(&mut object);
    let map: ConfigMap = serde_json::from_value(object).map_err(|error| {
        vec![Problem::new(place.clone(), ObjectError::Type { message: error.to_string() })]
    })?;
    let (name, namespace) = (map.metadata.name.clone(), map.metadata.namespace.clone());
    let shown = [namespace.as_deref(), name.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("/");
    let place = Place { object: format!("ConfigMap {shown}").trim_end().to_owned(), ..place.clone() };
    match legacy::text_of(&map, &place) {
        Ok(text) => Ok(Some(LegacyText { place, name, namespace, text: text.to_owned() })),
        // Somebody else's ConfigMap.
        Err(problems) if problems.iter().all(|p| p.reason == ObjectError::NoConfigKey.into()) => Ok(None),
        Err(_) => {
            let message = "the document must be text under data, not binaryData".to_owned();
            Err(vec![Problem::new(place.field("binaryData.config"), ObjectError::Type { message })])
        }
    }
}
