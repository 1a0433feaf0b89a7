//! The admin socket: a Unix socket below the state directory, answered by the agent's own task, so that an answer
//! also proves that the agent is alive.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::state::{GET_STATE, SOCKET, State, TRACE, Traced};
use crate::net::memory;

/// Lines a slow tracer may lag behind before lines are lost to it.
const BACKLOG: usize = 1024;
/// Longest request line, and how long a client may take to send it.
const REQUEST_BYTES: u64 = 256;
const PATIENCE: Duration = Duration::from_secs(2);
/// Clients that may wait at a time.
const CLIENTS: usize = 16;

/// A request that the agent's task answers.
pub(super) struct Request {
    stream: UnixStream,
}

/// The socket and those who trace.
pub(super) struct Admin {
    path: PathBuf,
    requests: mpsc::Receiver<Parsed>,
    traces: Vec<(IpAddr, mpsc::Sender<String>)>,
}

enum Parsed {
    State(Request),
    Trace(IpAddr, UnixStream),
}

impl Admin {
    /// Listens; a socket that an agent before left behind is replaced (the lock says that it is gone).
    pub(super) fn bind(state_dir: &Path) -> Result<Self> {
        fs::create_dir_all(state_dir)
            .with_context(|| format!("creating the state directory {}", state_dir.display()))?;
        let path = state_dir.join(SOCKET);
        let listener = listen(&path).with_context(|| format!("listening on {}", path.display()))?;
        let (sender, requests) = mpsc::channel(CLIENTS);
        tokio::spawn(accept(listener, sender));
        Ok(Self { path, requests, traces: Vec::new() })
    }

    /// The next request for the state; tracers are taken up on the way.
    pub(super) async fn next(&mut self) -> Request {
        loop {
            match self.requests.recv().await {
                Some(Parsed::State(request)) => return request,
                Some(Parsed::Trace(ip, stream)) => self.add_trace(ip, stream),
                None => std::future::pending().await,
            }
        }
    }

    /// Answers with one line. Made beside the caller's task: with 100,000 addresses it takes a while.
    pub(super) fn answer(request: Request, state: impl FnOnce() -> State + Send + 'static) {
        tokio::spawn(async move {
            let line = tokio::task::spawn_blocking(move || {
                let mut line = serde_json::to_vec(&state()).unwrap_or_default();
                line.push(b'\n');
                line
            });
            let Ok(line) = line.await else { return };
            let mut stream = request.stream;
            drop(timeout(PATIENCE, stream.write_all(&line)).await);
            drop(line);
            memory::give_back();
        });
    }

    /// Somebody traces.
    pub(super) fn has_traces(&self) -> bool {
        !self.traces.is_empty()
    }

    /// Tells those who trace this address.
    pub(super) fn trace(&mut self, ip: IpAddr, traced: &Traced) {
        self.traces.retain(|(_, sender)| !sender.is_closed());
        let Ok(line) = serde_json::to_string(traced) else { return };
        for (_, sender) in self.traces.iter().filter(|(wanted, _)| *wanted == ip) {
            // A full queue loses the line, never the agent's time.
            drop(sender.try_send(line.clone()));
        }
    }

    fn add_trace(&mut self, ip: IpAddr, stream: UnixStream) {
        let (sender, lines) = mpsc::channel(BACKLOG);
        self.traces.retain(|(_, sender)| !sender.is_closed());
        self.traces.push((ip, sender));
        tokio::spawn(follow(stream, lines));
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// Listens where only the owner gets to, from the first moment on: in a folder of its own, from which the socket moves
/// to its place once it is protected.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let folder = path.with_extension("new");
    drop(fs::remove_dir_all(&folder));
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let new = folder.join("socket");
    let listener = UnixListener::bind(&new)
        .and_then(|listener| fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).map(|()| listener))
        .and_then(|listener| fs::rename(&new, path).map(|()| listener));
    drop(fs::remove_dir_all(&folder));
    listener
}

async fn accept(listener: UnixListener, sender: mpsc::Sender<Parsed>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(parse(stream, sender.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "admin socket");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn parse(mut stream: UnixStream, sender: mpsc::Sender<Parsed>) {
    let mut line = String::new();
    let read = {
        use tokio::io::AsyncReadExt;
        let mut reader = BufReader::new((&mut stream).take(REQUEST_BYTES));
        timeout(PATIENCE, reader.read_line(&mut line)).await
    };
    if !matches!(read, Ok(Ok(1..))) {
        return;
    }
    let mut words = line.split_whitespace();
    let parsed = match (words.next(), words.next().map(str::parse)) {
        (Some(GET_STATE), None) => Parsed::State(Request { stream }),
        (Some(TRACE), Some(Ok(ip))) => Parsed::Trace(ip, stream),
        _ => {
            drop(stream.write_all(b"{\"error\":\"unknown request: say state, or trace ADDRESS\"}\n").await);
            return;
        }
    };
    drop(sender.send(parsed).await);
}

/// Writes lines until the client closes.
async fn follow(mut stream: UnixStream, mut lines: mpsc::Receiver<String>) {
    let (mut reader, mut writer) = stream.split();
    let mut ignored = [0; 64];
    loop {
        use tokio::io::AsyncReadExt;
        tokio::select! {
            line = lines.recv() => {
                let Some(line) = line else { return };
                if writer.write_all(format!("{line}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
            read = reader.read(&mut ignored) => {
                if matches!(read, Ok(0) | Err(_)) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_owner_gets_to_the_socket_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SOCKET);
        fs::write(&path, "of an agent before").unwrap();
        let admin = Admin::bind(dir.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing beside it");
        assert!(UnixStream::connect(&path).await.is_ok());
        drop(admin);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
