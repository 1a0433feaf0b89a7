//! Events (`events.k8s.io/v1`): what `kubectl describe` shows below an object.

use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, api::PostParams};

use super::{
    convert::DEFAULT_NAMESPACE,
    write::{FIELD_MANAGER, WriteError, Writer},
};

/// Longest `reportingInstance`, in bytes (validation of events.k8s.io).
const INSTANCE: usize = 128;
/// Longest note of an event, in bytes (validation of events.k8s.io).
pub const NOTE: usize = 1024;
/// Longest name of an object, in bytes (RFC 1123 subdomain).
const NAME: usize = 253;

/// What an event is about.
#[derive(Debug, Clone, Copy)]
pub struct Regarding<'a> {
    /// Its `apiVersion`.
    pub api_version: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// Its namespace; empty for an object that has none.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its `metadata.uid`.
    pub uid: &'a str,
}

/// What an event says.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// `Warning` instead of `Normal`.
    pub warning: bool,
    /// The word that programs look for.
    pub reason: &'a str,
    /// The sentence that people read, 1 kB at most.
    pub note: &'a str,
}

/// Who says it.
#[derive(Debug, Clone)]
pub struct Reporter {
    /// `reportingController`, for example `barelb.io/controller`.
    pub controller: &'static str,
    /// `reportingInstance`: the pod.
    pub instance: String,
}

impl Writer {
    /// Records an event.
    pub async fn record(
        &self,
        reporter: &Reporter,
        regarding: Regarding<'_>,
        said: Said<'_>,
        now: SystemTime,
    ) -> Result<(), WriteError> {
        let event = event(reporter, regarding, said, now);
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), dry_run: false };
        Api::namespaced(self.client(), &namespace).create(&params, &event).await?;
        Ok(())
    }
}

fn event(reporter: &Reporter, regarding: Regarding<'_>, said: Said<'_>, now: SystemTime) -> Event {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    // An object without a namespace has its events in `default`, as client-go does it.
    let namespace =
        if regarding.namespace.is_empty() { DEFAULT_NAMESPACE } else { regarding.namespace }.to_owned();
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Event {
        metadata: ObjectMeta {
            namespace: Some(namespace),
            name: Some(name(regarding.name, since.as_nanos(), said.reason)),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(micros(since.as_micros()))),
        action: Some("Reconcile".to_owned()),
        reason: Some(said.reason.to_owned()),
        note: Some(said.note.to_owned()),
        type_: Some(if said.warning { "Warning" } else { "Normal" }.to_owned()),
        regarding: Some(ObjectReference {
            api_version: text(regarding.api_version),
            kind: text(regarding.kind),
            namespace: text(regarding.namespace),
            name: text(regarding.name),
            uid: text(regarding.uid),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(reporter.controller.to_owned()),
        reporting_instance: Some(shortened(&reporter.instance, INSTANCE).to_owned()),
        ..Event::default()
    }
}

/// A name that no other event of the object has: its own, the time, and a digest of the reason for two of one moment.
fn name(object: &str, nanoseconds: u128, reason: &str) -> String {
    let digest = reason.bytes().fold(0_u16, |sum, byte| sum.rotate_left(5) ^ u16::from(byte));
    let end = format!(".{nanoseconds:016x}{digest:04x}");
    format!("{}{end}", shortened(object, NAME - end.len()))
}

fn micros(microseconds: u128) -> Timestamp {
    let microseconds = i64::try_from(microseconds).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn shortened(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// The text on one line, and short enough for an event.
pub fn readable(text: &str) -> String {
    // A text of a megabyte is not copied.
    let short = &text[..text.floor_char_boundary(NOTE)];
    let mut line: String = short.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() {
        line.truncate(line.floor_char_boundary(NOTE - '…'.len_utf8()));
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_as_the_api_has_it() {
        let reporter = Reporter { controller: "barelb.io/controller", instance: "pod-0".to_owned() };
        let regarding =
            Regarding { api_version: "v1", kind: "Service", namespace: "web", name: "a", uid: "u-1" };
        let said = Said { warning: true, reason: "AllocationFailed", note: "nothing is free" };
        let now = UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001);
        let written = serde_json::to_value(event(&reporter, regarding, said, now)).unwrap();
        let name = written["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with("a.179"), "{name}");
        let expected = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"namespace": "web", "name": name},
            "eventTime": "2023-11-14T22:13:20.000001Z",
            "action": "Reconcile", "reason": "AllocationFailed", "note": "nothing is free", "type": "Warning",
            "regarding": {"apiVersion": "v1", "kind": "Service", "namespace": "web", "name": "a", "uid": "u-1"},
            "reportingController": "barelb.io/controller", "reportingInstance": "pod-0",
        });
        assert_eq!(written, expected);
    }

    #[test]
    fn names_are_bounded_and_differ_by_time_and_reason() {
        let long = "a".repeat(253);
        assert_eq!(name(&long, 1, "X").len(), 253);
        assert_ne!(name("a", 1, "X"), name("a", 2, "X"));
        assert_ne!(name("a", 1, "X"), name("a", 1, "Y"));
    }
}
