//! The `ConfigMap` of MetalLB 0.9: text inside an object, with rules of its own.

use k8s_openapi::api::core::v1::ConfigMap;
use lb_core::{
    config::{LegacyConfig, LegacyDocument},
    problem::Place,
};
use serde::de::DeserializeOwned;

use super::document;
use crate::source::problem::{ObjectError, Problem};

/// The one key that is read.
const KEY: &str = "config";

/// The configuration of a `ConfigMap`. The document is all or nothing: any error makes all of it invalid.
pub(in crate::source) fn from_config_map(
    map: &ConfigMap,
    place: &Place,
) -> Result<LegacyConfig, Vec<Problem>> {
    parse(text_of(map, place)?, place)
}

/// The document of a `ConfigMap`.
pub(super) fn text_of<'a>(map: &'a ConfigMap, place: &Place) -> Result<&'a str, Vec<Problem>> {
    if map.binary_data.as_ref().is_some_and(|data| data.contains_key(KEY)) {
        return Err(vec![Problem::new(place.field("binaryData.config"), ObjectError::BinaryConfig)]);
    }
    let text = map.data.as_ref().and_then(|data| data.get(KEY));
    let missing = || vec![Problem::new(place.field("data.config"), ObjectError::NoConfigKey)];
    text.map(String::as_str).ok_or_else(missing)
}

/// Parses the text under the key `config` as MetalLB 0.9 does: strictly; empty means no pools. `place` is the
/// `ConfigMap`; fields are named inside the document, lines count from its first.
pub fn parse(text: &str, place: &Place) -> Result<LegacyConfig, Vec<Problem>> {
    let invalid = |message| ObjectError::Legacy { message };
    let document: LegacyDocument = read(text, place, invalid)?;
    document.into_raw(place).map_err(|problems| problems.into_iter().map(Problem::from).collect())
}

/// Reads the text as any type that has the shape of the document; empty text is its default. `invalid` makes the
/// reason of the parser's words.
pub fn read<T: DeserializeOwned + Default>(
    text: &str,
    place: &Place,
    invalid: impl FnOnce(String) -> ObjectError,
) -> Result<T, Vec<Problem>> {
    let mut path = String::new();
    let parsed: Result<Option<T>, serde_saphyr::Error> =
        serde_saphyr::with_deserializer_from_str_with_options(text, document::options(), |deserializer| {
            serde_path_to_error::deserialize(deserializer).map_err(|error| {
                path = error.path().to_string();
                error.into_inner()
            })
        });
    parsed.map(Option::unwrap_or_default).map_err(|error| {
        let message = document::message(&error, 0);
        let field = if path == "." || path.is_empty() { "data.config".to_owned() } else { path };
        vec![Problem::new(place.field(field), invalid(message))]
    })
}
