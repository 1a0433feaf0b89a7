//! The web server of the pods without a pod, and the client that fetches its page.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use socket2::SockRef;

use crate::namespace::Namespace;

const LIMIT: Duration = Duration::from_secs(5);

/// A web server in a namespace; it ends with its guard.
#[derive(Debug)]
pub struct WebServer {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl WebServer {
    /// Listens on `port` of every address of both families in `namespace`.
    pub fn start(namespace: &Namespace, node: &str, port: u16) -> Result<Self> {
        let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let listener =
            namespace.enter(|| TcpListener::bind(everywhere).context("cannot listen for the web server"))?;
        let (accepting, node) = (listener.try_clone()?, node.to_owned());
        let thread =
            thread::Builder::new().name("lab-web".into()).spawn(move || lb_pod::serve(&accepting, &node))?;
        Ok(Self { listener, thread: Some(thread) })
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        // Wakes `accept`, which then fails.
        drop(SockRef::from(&self.listener).shutdown(Shutdown::Both));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The page at `http://ADDRESS/` as a client in `namespace` gets it: its kernel finds the address.
pub fn fetch(namespace: &Namespace, address: IpAddr) -> Result<String> {
    fetch_at(namespace, SocketAddr::from((address, 80)))
}

/// The same at any port. The page names the host without the port.
pub fn fetch_at(namespace: &Namespace, target: SocketAddr) -> Result<String> {
    let connected = namespace.enter(|| Ok(TcpStream::connect_timeout(&target, LIMIT)));
    let mut stream = connected?.with_context(|| format!("the client cannot connect to {target}"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host(target.ip()))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("no page from {target}"))?;
    match answer.split_once("\r\n\r\n") {
        Some((head, page)) if head.starts_with("HTTP/1.1 200 ") => Ok(page.trim().to_owned()),
        _ => bail!("{target} answered, but not with a page: {answer:?}"),
    }
}

/// An address as it stands in a URL.
pub fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
