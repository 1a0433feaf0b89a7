use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

fn key() -> LeaseKey {
    LeaseKey { namespace: "metallb-system".to_owned(), name: "barelb-controller".to_owned() }
}

fn record() -> Record {
    Record {
        holder: "a_1".to_owned(),
        duration_seconds: Some(15),
        acquired: Some(WallTime(1_700_000_000_000_001)),
        renewed: Some(WallTime(1_700_000_002_500_000)),
        transitions: 3,
        ..Record::default()
    }
}

/// The object as an API server has it, with parts of others.
fn lease() -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "annotations": {"example.com/by": "somebody"},
            "labels": {"app": "barelb"},
            "name": "barelb-controller",
            "namespace": "metallb-system",
            "resourceVersion": "41",
            "uid": "6f1c"
        },
        "spec": spec()
    })
}

fn spec() -> Value {
    json!({
        "acquireTime": "2023-11-14T22:13:20.000001Z",
        "holderIdentity": "a_1",
        "leaseDurationSeconds": 15,
        "leaseTransitions": 3,
        "renewTime": "2023-11-14T22:13:22.500000Z"
    })
}

fn status(code: u16, reason: &str) -> (u16, Value) {
    let words = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "no"
    });
    (code, words)
}

/// An API server that answers what the test says, and keeps what it was asked.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Server {
    async fn start() -> (Self, KubeLeases) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self::default();
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.serve(stream).await;
            }
        });
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        (server, KubeLeases::new(&config, "barelb-controller").unwrap())
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, body) = loop {
            let mut chunk = [0; 4096];
            let length = stream.read(&mut chunk).await.unwrap();
            bytes.extend_from_slice(&chunk[..length]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let header = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= header.map_or(0, |length| length.parse().unwrap()) {
                break (head.to_owned(), body.to_owned());
            }
        };
        let request = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() };
        self.asked.lock().unwrap().push((request, body));
        let (code, answer) = self.answers.lock().unwrap().pop_front().unwrap();
        let answer = answer.to_string();
        let head = "content-type: application/json\r\nconnection: close";
        let text = format!("HTTP/1.1 {code} X\r\n{head}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
        stream.write_all(text.as_bytes()).await.unwrap();
    }

    fn answer(&self, answer: (u16, Value)) {
        self.answers.lock().unwrap().push_back(answer);
    }

    fn asked(&self) -> (String, Value) {
        self.asked.lock().unwrap().pop().unwrap()
    }
}

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/metallb-system/leases";

#[tokio::test]
async fn reads_what_client_go_writes() {
    let (server, leases) = Server::start().await;
    server.answer((200, lease()));
    let read = leases.read(&key()).await.unwrap().unwrap();
    assert_eq!(read.record, record());
    assert_eq!(server.asked(), (format!("GET {PATH}/barelb-controller"), Value::Null));
    server.answer(status(404, "NotFound"));
    assert_eq!(leases.read(&key()).await.unwrap(), None);
}

#[tokio::test]
async fn creates_as_client_go_does() {
    let (server, leases) = Server::start().await;
    server.answer((201, lease()));
    assert_eq!(leases.create(&key(), &record()).await.unwrap().record, record());
    let metadata = json!({"name": "barelb-controller", "namespace": "metallb-system"});
    let body = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec()
    });
    assert_eq!(server.asked(), (format!("POST {PATH}?&fieldManager=barelb-controller"), body));
}

#[tokio::test]
async fn replaces_the_version_that_was_read_and_keeps_what_others_wrote() {
    let (server, leases) = Server::start().await;
    server.answer((200, lease()));
    let read = leases.read(&key()).await.unwrap().unwrap();
    let mut newer = lease();
    newer["metadata"]["resourceVersion"] = json!("42");
    newer["spec"]["leaseTransitions"] = json!(4);
    newer["spec"]["holderIdentity"] = json!("");
    server.answer((200, newer));
    let released = Record { transitions: 4, holder: String::new(), ..record() };
    let written = leases.replace(&key(), &read.revision, &released).await.unwrap();
    assert_eq!(written.record, released);
    assert_eq!(format!("{:?}", written.revision), "Revision(42)");
    let mut expected = lease();
    expected["spec"]["leaseTransitions"] = json!(4);
    expected["spec"]["holderIdentity"] = json!("");
    let path = format!("PUT {PATH}/barelb-controller?&fieldManager=barelb-controller");
    assert_eq!(server.asked(), (path, expected));
}

#[tokio::test]
async fn errors_by_what_they_mean() {
    let (server, leases) = Server::start().await;
    server.answer((200, lease()));
    let read = leases.read(&key()).await.unwrap().unwrap();
    server.asked();
    let table = [
        (Verb::Create, 409, "AlreadyExists", Cause::Conflict),
        (Verb::Create, 404, "NotFound", Cause::Status(404)),
        (Verb::Create, 403, "Forbidden", Cause::Status(403)),
        (Verb::Replace, 409, "Conflict", Cause::Conflict),
        (Verb::Replace, 404, "NotFound", Cause::Conflict),
        (Verb::Replace, 500, "InternalError", Cause::Status(500)),
        (Verb::Read, 401, "Unauthorized", Cause::Status(401)),
        (Verb::Read, 429, "TooManyRequests", Cause::Status(429)),
        (Verb::Replace, 503, "ServiceUnavailable", Cause::Status(503)),
    ];
    for (verb, code, reason, cause) in table {
        server.answer(status(code, reason));
        let error = match verb {
            Verb::Read => leases.read(&key()).await.unwrap_err(),
            Verb::Create => leases.create(&key(), &record()).await.unwrap_err(),
            Verb::Replace => leases.replace(&key(), &read.revision, &record()).await.unwrap_err(),
        };
        assert_eq!(error.cause(), cause, "{verb:?} {code}");
        let forbidden = matches!(error, LeaseError::Forbidden { .. });
        assert_eq!(forbidden, code == 401 || code == 403, "{verb:?} {code}");
        server.asked();
        assert!(server.asked.lock().unwrap().is_empty(), "{verb:?} {code}: asked only once");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    let leases = KubeLeases::new(&config, "barelb-controller").unwrap();
    let error = leases.read(&key()).await.unwrap_err();
    assert_eq!(error.cause(), Cause::Unreachable);
    let expected = "the API server can't be asked: check its address and certificates, and the network to it";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn objects_with_holes() {
    assert_eq!(Record::read(None), Record::default());
    assert_eq!(Record::read(Some(LeaseSpec::default())), Record::default());
    let endless = Record { renewed: Some(WallTime(i64::MAX)), ..record() };
    let written = Record::read(Some(endless.write()));
    assert_eq!(written.renewed, Some(WallTime(0)), "a time that the API can't write");
}

#[test]
fn wall_times() {
    let after = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_999);
    assert_eq!(WallTime::from(after), WallTime(1));
    assert_eq!(WallTime::from(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), WallTime(-1_000_000));
    assert_eq!(WallTime(i64::MAX).next(), WallTime(i64::MAX));
}

/// The double does what an API server does.
#[tokio::test]
async fn leases_in_memory() {
    let leases = Memory::new();
    assert_eq!(leases.read(&key()).await.unwrap(), None);
    let first = leases.create(&key(), &record()).await.unwrap();
    assert!(matches!(leases.create(&key(), &record()).await, Err(LeaseError::Conflict)));
    assert_eq!(leases.read(&key()).await.unwrap(), Some(first.clone()));

    let same = leases.replace(&key(), &first.revision, &record()).await.unwrap();
    assert_eq!(same.revision, first.revision, "nothing has changed");
    let renewed = Record { renewed: Some(WallTime(9)), ..record() };
    let second = leases.replace(&key(), &first.revision, &renewed).await.unwrap();
    assert_ne!(second.revision, first.revision);
    let stale = leases.replace(&key(), &first.revision, &record()).await;
    assert!(matches!(stale, Err(LeaseError::Conflict)));
    assert_eq!(leases.read(&key()).await.unwrap(), Some(second.clone()));

    leases.touch(&key());
    let stale = leases.replace(&key(), &second.revision, &record()).await;
    assert!(matches!(stale, Err(LeaseError::Conflict)));
    let touched = leases.read(&key()).await.unwrap().unwrap();
    assert_eq!(touched.record, second.record);
    let third = leases.replace(&key(), &touched.revision, &record()).await.unwrap();
    assert_eq!(third.revision.0.annotations, touched.revision.0.annotations, "what others wrote stays");

    leases.delete(&key());
    let gone = leases.replace(&key(), &third.revision, &record()).await;
    assert!(matches!(gone, Err(LeaseError::Conflict)));
    let anew = leases.create(&key(), &record()).await.unwrap();
    assert_ne!(anew.revision.0.uid, third.revision.0.uid);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_given_up_is_carried_out_unless_it_is_lost() {
    let fault = Fault { before: Duration::from_secs(8), ..Fault::default() };
    for (loss, refuse, arrives) in [
        (Loss::Nothing, None, true),
        (Loss::Answer, None, true),
        (Loss::Request, None, false),
        (Loss::Nothing, Some(500), false),
    ] {
        let leases = Memory::new();
        leases.next([Fault { loss, refuse, ..fault }]);
        let (key, record) = (key(), record());
        let asking = tokio::time::timeout(Duration::from_secs(5), leases.create(&key, &record));
        assert!(asking.await.is_err());
        assert_eq!(leases.get(&key), None);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(leases.get(&key).is_some(), arrives, "{loss:?} {refuse:?}");
    }
}
