//! Writes to the API server, without the time that kubectl takes to start: by one `kubectl proxy`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::cluster::ControlPlane;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::scratch::Scratch;

const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8001);
/// For the proxy to start, and for an answer.
const LIMIT: Duration = Duration::from_mins(1);
/// Writes under way at once where there are many.
const WRITERS: usize = 4;

/// A request: verb, path, body.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) verb: &'static str,
    pub(crate) path: String,
    pub(crate) body: Value,
}

impl Call {
    /// Makes an object.
    pub(crate) fn create(path: &str, object: Value) -> Self {
        Self { verb: "POST", path: path.to_owned(), body: object }
    }

    /// Changes fields of an object.
    pub(crate) fn patch(path: &str, fields: Value) -> Self {
        Self { verb: "PATCH", path: path.to_owned(), body: fields }
    }
}

/// The way to the API server, as admin.
pub(crate) struct Api {
    namespace: Namespace,
    _proxy: Process,
    _folder: Scratch,
}

impl Api {
    pub(crate) fn start(plane: &ControlPlane) -> Result<Self> {
        let folder = Scratch::new("api-proxy")?;
        let mut command = plane.kubectl_command(plane.admin())?;
        command.args(["proxy", "--port", &ADDRESS.port().to_string()]);
        let namespace = plane.namespace().clone();
        let proxy = namespace.spawn_command(&mut command, &folder.join("proxy.log"))?;
        let api = Self { namespace, _proxy: proxy, _folder: folder };
        let deadline = Instant::now() + LIMIT;
        while let Err(error) = api.connect() {
            ensure!(Instant::now() < deadline, "kubectl proxy does not listen: {error:#}");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(api)
    }

    /// A connection for one call, made beforehand: entering a namespace takes its time.
    pub(crate) fn connect(&self) -> Result<Line> {
        self.namespace.enter(connect)
    }

    /// Carries it out, and waits for the answer.
    pub(crate) fn call(&self, call: &Call) -> Result<()> {
        self.connect()?.call(call).map(drop)
    }

    /// Carries out all of them: each row in its order, and some rows at once.
    pub(crate) fn call_all(&self, rows: &[Vec<Call>]) -> Result<()> {
        let share = rows.len().div_ceil(WRITERS).max(1);
        let write =
            |some: &[Vec<Call>]| some.iter().flatten().try_for_each(|call| connect()?.call(call).map(drop));
        thread::scope(|scope| {
            let writers: Vec<_> = rows
                .chunks(share)
                .map(|some| scope.spawn(move || self.namespace.enter(|| write(some))))
                .collect();
            writers.into_iter().try_for_each(|writer| match writer.join() {
                Ok(done) => done,
                Err(_) => bail!("a writer panicked"),
            })
        })
    }
}

fn connect() -> Result<Line> {
    let stream = TcpStream::connect_timeout(&ADDRESS, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(Line(stream))
}

/// A connection for one call.
pub(crate) struct Line(TcpStream);

impl Line {
    /// Carries it out, and waits for the answer; when it began.
    pub(crate) fn call(mut self, call: &Call) -> Result<SystemTime> {
        let Call { verb, path, body } = call;
        let body = body.to_string();
        let kind = if *verb == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        // HTTP/1.0: an answer ends with its connection.
        let request = format!(
            "{verb} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let began = SystemTime::now();
        self.0.write_all(request.as_bytes())?;
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).with_context(|| format!("{verb} {path}"))?;
        let code = answer.split_whitespace().nth(1).unwrap_or_default();
        ensure!(code.starts_with('2'), "{verb} {path}: {}", answer.lines().last().unwrap_or_default());
        Ok(began)
    }
}
