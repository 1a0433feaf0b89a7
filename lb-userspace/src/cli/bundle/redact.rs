//! What must not leave the cluster: values that are secrets, or look like one.
//!
//! Secrets are not asked for at all. What is left are values that users wrote where anybody can read them: environment
//! variables, annotations, arguments, passwords of BGP peers, lines of logs. Rather too much is taken out than too little;
//! names of Secrets, of keys and of files stay.

use serde_json::Value;

mod names;
#[cfg(test)]
mod tests;
mod text;

use names::{is_pointer, is_secret};
pub(super) use text::text;

/// What stands in place of a secret.
pub(super) const REDACTED: &str = "<redacted>";
/// Fields that say what others say, in another form, or that nobody needs.
const LEFT_OUT: [&str; 1] = ["managedFields"];
/// The ends of names of annotations that hold a whole object, as it was applied.
const APPLIED: [&str; 3] = ["last-applied-configuration", "/last-applied", "/applied"];
/// What the key in a Secret is called, where an object names it.
const KEY: &str = "key";

/// An object without secrets.
pub(super) fn object(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| {
                !LEFT_OUT.contains(&name.as_str()) && !APPLIED.iter().any(|end| name.ends_with(end))
            });
            // An environment variable or a header: the name of the value is a value too.
            let named = fields.get("name").and_then(Value::as_str).is_some_and(is_secret);
            if let Some(value) = fields.get_mut("value").filter(|_| named) {
                hide(value);
            }
            for (name, value) in fields.iter_mut() {
                if is_secret(name) {
                    hide(value);
                }
                object(value);
            }
        }
        Value::Array(items) => {
            // `--token`, and its value as the next one.
            let mut after_secret = false;
            for item in items.iter_mut() {
                let flag = item.as_str().filter(|text| text.starts_with('-') && !text.contains(['=', ' ']));
                let is_flag = flag.is_some_and(is_secret);
                if after_secret && item.as_str().is_some_and(|text| !text.starts_with('-')) {
                    *item = REDACTED.into();
                }
                after_secret = is_flag;
                object(item);
            }
        }
        Value::String(said) => *said = document(said).unwrap_or_else(|| text(said)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Of the value of a secret's name everything, but for names of Secrets and of what is in them.
fn hide(value: &mut Value) {
    match value {
        Value::String(_) | Value::Number(_) => *value = REDACTED.into(),
        Value::Array(items) => items.iter_mut().for_each(hide_in),
        Value::Object(_) => hide_in(value),
        Value::Null | Value::Bool(_) => {}
    }
}

fn hide_in(value: &mut Value) {
    match value {
        Value::String(_) => *value = REDACTED.into(),
        Value::Array(items) => items.iter_mut().for_each(hide_in),
        Value::Object(fields) => {
            let fields = fields.iter_mut().filter(|(name, _)| name.as_str() != KEY && !is_pointer(name));
            fields.for_each(|(_, value)| hide_in(value));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A string that is an object, as JSON, without secrets; as it is where there are none.
fn document(said: &str) -> Option<String> {
    let whole = said.trim();
    if !whole.starts_with(['{', '[']) {
        return None;
    }
    let before: Value = serde_json::from_str(whole).ok()?;
    let mut after = before.clone();
    object(&mut after);
    Some(if after == before { said.to_owned() } else { after.to_string() })
}
