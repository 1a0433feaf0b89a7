//! Who asked the API server for what: its audit log.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{ControlPlane, server};
use crate::scratch::Scratch;

const LOG: &str = "audit.log";

/// Every request for an object when it is answered, and watches also when they start; never what was in it.
const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ['/*']
- level: Metadata
";

/// A request that the API server has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asked, for example `system:serviceaccount:metallb-system:controller`.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, …
    pub verb: String,
    /// Plural, for example `services`.
    pub resource: String,
    /// For example `status`; empty for the object itself.
    pub subresource: String,
    /// Empty for objects without one, and for lists over all of them.
    pub namespace: String,
    /// Empty for lists, and where the server makes the name.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
}

impl Request {
    /// A request that would change something, whether it was granted or not.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// Reads the audit log from where it stopped last time. The API server writes an entry just after the answer, so a
/// test that waits for one reads more than once.
#[derive(Debug)]
pub struct AuditLog {
    file: PathBuf,
    offset: u64,
}

impl ControlPlane {
    /// The log from its beginning.
    pub fn audit_log(&self) -> AuditLog {
        AuditLog { file: self.folder.join(LOG), offset: 0 }
    }

    /// The log from now on.
    pub fn audit_from_now(&self) -> Result<AuditLog> {
        let file = self.folder.join(LOG);
        let offset = fs::metadata(&file).context("the API server has not written its audit log")?.len();
        Ok(AuditLog { file, offset })
    }
}

impl AuditLog {
    /// What was asked since the last call, in the order of the answers.
    pub fn read(&mut self) -> Result<Vec<Request>> {
        let mut file = File::open(&self.file).context("the API server has not written its audit log")?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // The last line may be half written.
        let complete = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        self.offset += complete.len() as u64;
        parse(complete)
    }

    /// The writes of `user` since the last call.
    pub fn writes_of(&mut self, user: &str) -> Result<Vec<Request>> {
        let mut requests = self.read()?;
        requests.retain(|request| request.user == user && request.is_write());
        Ok(requests)
    }
}

/// What the API server must be told.
pub(super) fn arguments(folder: &Scratch) -> Vec<String> {
    let policy = folder.join("audit-policy.yaml");
    // A missing policy is said by the API server, in its log.
    drop(fs::write(&policy, POLICY));
    vec![
        format!("--audit-policy-file={}", server::text(&policy)),
        format!("--audit-log-path={}", server::text(&folder.join(LOG))),
        // Megabytes; a rotated log would lose requests.
        "--audit-log-maxsize=100000".to_owned(),
    ]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: Object,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

fn parse(text: &str) -> Result<Vec<Request>> {
    let events = text.lines().map(|line| {
        serde_json::from_str::<Event>(line)
            .with_context(|| format!("an audit entry is not understood: {line}"))
    });
    let mut requests = Vec::new();
    for event in events {
        let event = event?;
        // A watch is one request: what counts is its start.
        let is_wanted = if event.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
        if event.stage == is_wanted {
            requests.push(Request {
                user: event.user.username,
                verb: event.verb,
                resource: event.object_ref.resource,
                subresource: event.object_ref.subresource,
                namespace: event.object_ref.namespace,
                name: event.object_ref.name,
                code: event.response_status.map_or(0, |status| status.code),
            });
        }
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = r#"{"kind":"Event","stage":"ResponseComplete","verb":"patch","user":{"username":"admin"},"objectRef":{"resource":"services","namespace":"default","name":"web","subresource":"status"},"responseStatus":{"metadata":{},"code":200}}"#;
    const WATCH: &str = r#"{"stage":"ResponseStarted","verb":"watch","user":{"username":"x"},"objectRef":{"resource":"nodes"},"responseStatus":{"code":200}}"#;

    #[test]
    fn requests_are_read_and_watches_counted_once() {
        let ended = WATCH.replace("ResponseStarted", "ResponseComplete");
        let requests = parse(&[PATCH, WATCH, &ended].join("\n")).unwrap();
        let patch = Request {
            user: "admin".to_owned(),
            verb: "patch".to_owned(),
            resource: "services".to_owned(),
            subresource: "status".to_owned(),
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            code: 200,
        };
        assert_eq!(requests[0], patch);
        assert_eq!(requests.iter().map(Request::is_write).collect::<Vec<_>>(), [true, false]);
        assert!(parse("{}").is_err());
    }

    #[test]
    fn a_half_written_entry_is_read_when_it_is_complete() {
        let folder = Scratch::new("audit").unwrap();
        let mut log = AuditLog { file: folder.join(LOG), offset: 0 };
        assert!(log.read().is_err(), "there is no log");
        fs::write(&log.file, format!("{PATCH}\n{}", &PATCH[..50])).unwrap();
        assert_eq!(log.read().unwrap().len(), 1);
        assert_eq!(log.read().unwrap(), []);
        fs::write(&log.file, format!("{PATCH}\n{PATCH}\n{WATCH}\n")).unwrap();
        assert_eq!(log.writes_of("admin").unwrap().len(), 1);
        assert_eq!(log.writes_of("admin").unwrap(), []);
    }
}
