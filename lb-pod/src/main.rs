//! The program of the images that the tests make: `barelb-pod pause` keeps a sandbox, `barelb-pod web` serves a page that
//! names the pod's node at port 8080.

use std::env;
use std::io;
use std::net::{Ipv6Addr, TcpListener};
use std::thread;

/// The port of the web server.
const PORT: u16 = 8080;

/// As the first process of its pod it ends by SIGKILL only, after the time that the pod has for it, and serves until then.
fn main() -> io::Result<()> {
    match env::args().nth(1).as_deref() {
        Some("pause") => loop {
            thread::park();
        },
        Some("web") => {
            let name = env::var("NODE_NAME").map_err(io::Error::other)?;
            lb_pod::serve(&TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))?, &name);
            Ok(())
        }
        _ => Err(io::Error::other("either `pause` or `web` is what it can do")),
    }
}
