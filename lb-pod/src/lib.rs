//! What runs in the pods of the tests: the smallest web server that says who it is. It needs the standard library only, so
//! that one static binary is an image.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);

/// Answers every request with one page, `NAME serves http://HOST/ to CLIENT`, until somebody shuts the listener down.
pub fn serve(listener: &TcpListener, name: &str) {
    loop {
        match listener.accept() {
            // A client that goes away half-way is its own problem.
            Ok((stream, peer)) => drop(answer(&stream, name, peer.ip().to_canonical())),
            Err(error) if error.kind() == ErrorKind::InvalidInput => return,
            Err(_) => thread::yield_now(),
        }
    }
}

fn answer(mut stream: &TcpStream, name: &str, peer: IpAddr) -> io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut host = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("Host: ") {
            value.clone_into(&mut host);
        }
    }
    let page = format!("{name} serves http://{host}/ to {peer}\n");
    let length = page.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all((head + &page).as_bytes())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn the_page_names_server_host_and_client() {
        for (ip, client) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1")] {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            thread::spawn(move || serve(&listener, "one"));
            let mut stream = TcpStream::connect((ip.parse::<IpAddr>().unwrap(), port)).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: two\r\n\r\n").unwrap();
            let mut page = String::new();
            stream.read_to_string(&mut page).unwrap();
            assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
            assert!(page.ends_with(&format!("\r\n\r\none serves http://two/ to {client}\n")), "{page}");
        }
    }
}
