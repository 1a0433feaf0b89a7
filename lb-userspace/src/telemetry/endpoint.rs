//! The HTTP port: `/metrics` for Prometheus, `/livez` and `/readyz` for the kubelet, pages for programs where there are
//! any.
//!
//! The port is open to the whole pod network, so a client gets little: one request per connection, a small header, no
//! body, ten seconds for all of it. Of more than sixteen connections the oldest ends, rather than the newest waits:
//! whoever holds connections open keeps neither the kubelet nor Prometheus out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::ready;
use std::io::{self, ErrorKind};
use std::net::{self, IpAddr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::extract::RawQuery;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::exposition::Exposition;
use super::health::{Health, Unfit};

#[cfg(test)]
mod tests;

/// Connections at a time. Prometheus, the kubelet and a curious person need four.
const CONNECTIONS: usize = 16;
/// How long a connection may take, from its beginning to its end.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a connection that can't be taken; shorter than a probe waits.
const BREATH: Duration = Duration::from_millis(200);
/// Longest request line and headers together, in bytes. The buffer can't be made smaller than that.
const HEADER_BYTES: usize = 8192;

/// Text that is no address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an IP address and a port: write for example 0.0.0.0:7472, or [::]:7472 for IPv6")]
pub struct AddressError;

/// Reads the value of `--metrics-addr`; clap puts the flag and the text before the error.
///
/// Brackets are for addresses of both families, so that a manifest can have `[$(HOST_IP)]:7475` whatever a node has.
pub fn address(text: &str) -> Result<SocketAddr, AddressError> {
    let bracketed = || {
        let (ip, port) = text.strip_prefix('[')?.split_once("]:")?;
        // A sign is no part of a port.
        let port = port.bytes().all(|byte| byte.is_ascii_digit()).then_some(port)?;
        Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port.parse().ok()?))
    };
    text.parse().ok().or_else(bracketed).ok_or(AddressError)
}

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error(
        "the port of {address} is taken: end what listens there (`ss -ltnp` names it), or give --metrics-addr \
         another port"
    )]
    Taken { address: SocketAddr },
    #[error(
        "{address} is no address of this machine: give --metrics-addr one of its own, or 0.0.0.0 or [::]"
    )]
    NotOurs { address: SocketAddr },
    #[error("can't listen on {address}: give --metrics-addr another one")]
    Other {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// A page for programs, made when it is asked for.
#[derive(Clone)]
pub struct Json {
    /// Where it is.
    pub path: &'static str,
    /// The page, by what is behind the question mark.
    pub text: Arc<dyn Fn(&str) -> String + Send + Sync>,
}

/// What is to be done now and then for the pages, by the thread that answers.
pub struct Chore {
    /// How often; not at the start.
    pub every: Duration,
    /// What; it is never under way while a page is made.
    pub what: Box<dyn Fn() + Send>,
}

impl Chore {
    async fn run(self) -> Infallible {
        let mut due = interval_at(Instant::now() + self.every, self.every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            (self.what)();
        }
    }
}

/// Answers on a thread of its own, so that neither side waits for the other: a main task that hangs is told of, and a
/// page that takes long is nobody else's time. Two pages are never made at once.
///
/// Ends when it is dropped; then nothing listens any more.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Listens, and begins to answer. An error names the address and says what to do.
    pub fn start(
        address: SocketAddr,
        exposition: Exposition,
        health: Health,
        pages: Vec<Json>,
        chore: Chore,
    ) -> io::Result<Self> {
        let (end, ended) = oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        let fail = tell.clone();
        let answering = async move {
            let listener = match listen(address) {
                Ok(listener) => listener,
                Err(error) => return drop(tell.send(Err(error))),
            };
            drop(tell.send(listener.local_addr()));
            tokio::select! {
                never = accept(listener, routes(exposition, health, pages)) => match never {},
                never = chore.run() => match never {},
                _ = ended => {}
            }
        };
        // Who calls this may be a task, and where tasks run no runtime may be dropped.
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(answering),
                Err(error) => drop(fail.send(Err(error))),
            }
        })?;
        let address = told.recv().map_err(io::Error::other)??;
        Ok(Self { address, end: Some(end), thread: Some(thread) })
    }

    /// Where it answers; of port 0 the kernel has made one that was free.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that answers /metrics has panicked; this is a bug");
        }
    }
}

/// Listens, and returns what answers there; it runs until it is dropped, and then leaves no connection behind.
///
/// Must be called inside a tokio runtime; one thread is enough. An error names the address and says what to do.
pub fn serve(
    address: SocketAddr,
    exposition: Exposition,
    health: Health,
) -> io::Result<impl Future<Output = Infallible> + Send + 'static> {
    let listener = listen(address)?;
    Ok(accept(listener, routes(exposition, health, Vec::new())))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let bound = net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    if let Ok(listener) = &bound {
        tracing::info!(address = %listener.local_addr()?, "answering /metrics, /livez and /readyz");
    }
    bound.map_err(|source| {
        let kind = source.kind();
        let error = if kind == ErrorKind::AddrInUse {
            ListenError::Taken { address }
        } else if kind == ErrorKind::AddrNotAvailable {
            ListenError::NotOurs { address }
        } else {
            ListenError::Other { address, source }
        };
        io::Error::new(kind, error)
    })
}

fn routes(exposition: Exposition, health: Health, pages: Vec<Json>) -> Router {
    let live = health.clone();
    let mut router = Router::new();
    for Json { path, text } in pages {
        let page = move |RawQuery(query): RawQuery| {
            ready(([(CONTENT_TYPE, "application/json")], text(query.as_deref().unwrap_or_default())))
        };
        router = router.route(path, get(page));
    }
    router
        .route("/metrics", get(move || ready(metrics(&exposition))))
        .route("/livez", get(move || ready(state(live.live()))))
        .route("/readyz", get(move || ready(state(health.ready()))))
}

fn metrics(exposition: &Exposition) -> Response {
    match exposition.page() {
        Ok((kind, page)) => ([(CONTENT_TYPE, kind)], page).into_response(),
        // The text can't be refused by a string, so a metric is at fault.
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "a metric can't be written as text: this is a bug\n")
            .into_response(),
    }
}

fn state(fit: Result<(), Unfit>) -> Response {
    match fit {
        Ok(()) => "ok\n".into_response(),
        Err(unfit) => (StatusCode::SERVICE_UNAVAILABLE, format!("{unfit}\n")).into_response(),
    }
}

async fn accept(listener: TcpListener, routes: Router) -> Infallible {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection to the metrics port can't be taken; trying again");
                sleep(BREATH).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= CONNECTIONS
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        oldest_first.push_back(connections.spawn(answer(stream, routes.clone())));
        // Each is looked at before the next one is taken, and may make it the oldest.
        yield_now().await;
    }
}

/// Answers one request. The client hears of what is wrong with it; that it went away is not worth a word.
async fn answer(stream: TcpStream, routes: Router) {
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEADER_BYTES)
        .header_read_timeout(None::<Duration>)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    drop(timeout(PATIENCE, connection).await);
}
