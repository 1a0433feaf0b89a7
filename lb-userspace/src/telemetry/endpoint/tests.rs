use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;
use crate::telemetry::exposition::Compat;
use crate::telemetry::health::STALLED_AFTER;

/// A server on a port of its own.
struct Served {
    address: SocketAddr,
    health: Health,
    task: JoinHandle<Infallible>,
}

fn served(health: Health) -> Served {
    let mut registry = Registry::default();
    let counter = Counter::<u64>::default();
    counter.inc();
    registry.register("tries", "Tries", counter);
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let exposition = Exposition::new(Arc::new(registry), Compat::None);
    let task = tokio::spawn(accept(listener, routes(exposition, health.clone(), Vec::new())));
    Served { address, health, task }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The whole answer to a request, without the date.
    async fn raw(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    /// Status line and body of the answer to a GET.
    async fn get(&self, path: &str) -> (String, String) {
        let answer = self.raw(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }
}

/// What comes until the other side closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is closed with something unread ends with an error, after what was sent.
    drop(stream.read_to_end(&mut answer).await);
    let answer = String::from_utf8(answer).unwrap();
    answer.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}

#[tokio::test]
async fn metrics_are_openmetrics() {
    let served = served(Health::default());
    let body = "# HELP tries Tries.\n# TYPE tries counter\ntries_total 1\n# EOF\n";
    assert_eq!(
        served.raw("GET /metrics?name=x HTTP/1.1\r\nhost: x\r\n\r\n").await,
        format!(
            "HTTP/1.1 200 OK\r\n\
             content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    );
    let old = served.raw("GET /metrics HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n") && old.ends_with(body), "{old}");
}

#[tokio::test]
async fn health_is_told_with_its_reason() {
    let start = Instant::now();
    let served = served(Health::new(move || start + STALLED_AFTER * 2));
    assert_eq!(served.get("/livez").await, ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    served.health.missing(["Service", "IPAddressPool"]);
    let (status, body) = served.get("/readyz").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(body.starts_with("not listed yet: Service, IPAddressPool; "), "{body}");
    assert!(body.ends_with('\n'), "{body}");
    served.health.missing([]);
    assert_eq!(served.get("/readyz").await, ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
}

#[tokio::test]
async fn a_loop_that_hangs_is_told_by_livez() {
    // The clock says when the program starts, then that a minute and a half have passed.
    let times = std::sync::Mutex::new(vec![Duration::from_secs(90), Duration::ZERO]);
    let start = Instant::now();
    let health = Health::new(move || start + times.lock().unwrap().pop().unwrap());
    let (status, body) = served(health).get("/livez").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(body.starts_with("the main loop hangs: its last round was 90 s ago, "), "{body}");
}

#[tokio::test]
async fn nothing_else_is_answered() {
    let served = served(Health::default());
    for path in ["/", "/healthz", "/metrics/", "/livez/x", "/debug/pprof", "/../etc/passwd"] {
        assert_eq!(served.get(path).await, ("HTTP/1.1 404 Not Found".to_owned(), String::new()), "{path}");
    }
    // A body is announced and never read.
    let answer = served.raw("POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nx").await;
    assert!(answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{answer}");
    let answer = served.raw("HEAD /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    let answer = served.raw("\u{16}\u{3}\u{1} hello over TLS\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
}

#[tokio::test]
async fn a_large_header_is_refused() {
    let served = served(Health::default());
    let large = "x".repeat(HEADER_BYTES);
    for request in [
        format!("GET /{large} HTTP/1.1\r\n"),
        format!("GET /metrics HTTP/1.1\r\nhost: x\r\nlarge: {large}\r\n"),
        format!("GET /metrics HTTP/1.1\r\n{}", "a: b\r\n".repeat(200)),
    ] {
        let answer = served.raw(&format!("{request}\r\n")).await;
        let refused = answer.starts_with("HTTP/1.1 431 ") || answer.starts_with("HTTP/1.1 414 ");
        assert!(refused, "{} -> {answer}", &request[..40]);
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_not_waited_for() {
    let served = served(Health::default());
    for begun in ["", "GET /livez HTTP/1.1\r\nhost:"] {
        let before = tokio::time::Instant::now();
        let mut stream = served.connect().await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        assert_eq!(rest(&mut stream).await, "");
        assert!(before.elapsed() >= PATIENCE, "{:?}", before.elapsed());
    }
}

#[tokio::test]
async fn who_holds_connections_keeps_nobody_out() {
    let served = served(Health::default());
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(served.connect().await);
    }
    assert_eq!(served.get("/livez").await.1, "ok\n");
    let mut oldest = held.remove(0);
    assert_eq!(rest(&mut oldest).await, "", "it ended to make room");
    for mut stream in held {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(rest(&mut stream).await.ends_with("\r\n\r\nok\n"), "the others were left alone");
    }
}

#[tokio::test]
async fn a_server_that_is_dropped_leaves_nothing() {
    let served = served(Health::default());
    let mut stream = served.connect().await;
    assert_eq!(served.get("/livez").await.1, "ok\n", "the connection before was taken");
    served.task.abort();
    assert_eq!(rest(&mut stream).await, "");
    assert!(TcpStream::connect(served.address).await.is_err());
}

/// Whoever starts it may be a task, and may hang: nothing of it needs their runtime.
#[tokio::test]
async fn a_thread_of_its_own_answers_until_it_is_dropped() {
    use std::io::{Read, Write};

    let start = |address, pages| {
        let (done, dones) = mpsc::channel();
        let what = Box::new(move || done.send(()).unwrap_or_default());
        let chore = Chore { every: Duration::from_millis(1), what };
        Endpoint::start(address, Exposition::default(), Health::default(), pages, chore)
            .map(|endpoint| (endpoint, dones))
    };
    let json = Json { path: "/more", text: Arc::new(|query: &str| format!("{{\"a\":1{query}}}")) };
    let (endpoint, dones) = start("127.0.0.1:0".parse().unwrap(), vec![json]).unwrap();
    let address = endpoint.address();
    for _ in 0..2 {
        dones.recv_timeout(Duration::from_mins(1)).unwrap();
    }
    let connect = || net::TcpStream::connect(address);
    let json = "application/json";
    for (path, kind, body) in [
        ("/livez", "text/plain; charset=utf-8", "ok\n"),
        ("/more", json, "{\"a\":1}"),
        ("/more?23", json, "{\"a\":123}"),
    ] {
        let mut stream = connect().unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n");
        assert!(answer.starts_with(&head) && answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
    }
    let taken = start(address, Vec::new()).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    drop(endpoint);
    assert!(connect().is_err());
    assert!(start(address, Vec::new()).is_ok(), "the port is free at once");
}

#[tokio::test]
async fn an_error_names_the_address_and_what_to_do() {
    let said = |address: SocketAddr| {
        let error = serve(address, Exposition::default(), Health::default()).err().unwrap();
        (error.kind(), error.to_string())
    };
    let taken = served(Health::default()).address;
    assert_eq!(
        said(taken),
        (
            ErrorKind::AddrInUse,
            format!(
                "the port of {taken} is taken: end what listens there (`ss -ltnp` names it), or give \
                 --metrics-addr another port"
            )
        )
    );
    let (kind, text) = said("192.0.2.1:0".parse().unwrap());
    assert_eq!(kind, ErrorKind::AddrNotAvailable);
    assert_eq!(
        text,
        "192.0.2.1:0 is no address of this machine: give --metrics-addr one of its own, or 0.0.0.0 or [::]"
    );
}

#[test]
fn an_address_is_ip_and_port() {
    assert_eq!(address("0.0.0.0:7472"), Ok(SocketAddr::from(([0, 0, 0, 0], 7472))));
    assert_eq!(address("[::]:7472").unwrap().to_string(), "[::]:7472");
    assert_eq!(address("[192.0.2.1]:7475").unwrap().to_string(), "192.0.2.1:7475");
    assert_eq!(address("[2001:db8::1]:7475").unwrap().to_string(), "[2001:db8::1]:7475");
    for text in [
        "",
        ":7472",
        "7472",
        "localhost:7472",
        "0.0.0.0",
        "0.0.0.0:70000",
        "::1:7472:",
        "[]:7475",
        "[192.0.2.1]:+7475",
        "[192.0.2.1]",
        "[192.0.2.1]:",
    ] {
        let error = address(text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected an IP address and a port: write for example 0.0.0.0:7472, or [::]:7472 for IPv6",
            "{text}"
        );
    }
}
