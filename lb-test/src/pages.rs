//! What a program answers at its `--metrics-addr`, asked from inside its namespace.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;

/// The pages of one program.
#[derive(Clone, Debug)]
pub struct Pages {
    namespace: Namespace,
    address: SocketAddr,
}

impl Pages {
    /// Of the program that listens on this address in a namespace.
    pub fn new(namespace: &Namespace, address: SocketAddr) -> Self {
        Self { namespace: namespace.clone(), address }
    }

    /// Of the program that listens on this port of the loopback.
    pub fn on_loopback(namespace: &Namespace, port: u16) -> Self {
        Self::new(namespace, (Ipv4Addr::LOCALHOST, port).into())
    }

    /// The flag that makes a program answer here.
    pub fn flag(&self) -> [String; 2] {
        ["--metrics-addr".to_owned(), self.address.to_string()]
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// HTTP status and text of a page; an error when nobody answers.
    pub fn ask(&self, path: &str) -> Result<(u16, String)> {
        let url = format!("http://{}{path}", self.address);
        let arguments = ["--silent", "--show-error", "--max-time", "30", "--write-out", "%{http_code}", &url];
        let answer = self.namespace.exec("curl", &arguments)?;
        let (text, status) = answer.split_at_checked(answer.len().saturating_sub(3)).context("no status")?;
        Ok((status.parse().with_context(|| format!("no status: {answer}"))?, text.to_owned()))
    }

    /// The text of a page; an error if it is no success.
    pub fn get(&self, path: &str) -> Result<String> {
        let (status, text) = self.ask(path)?;
        ensure!(status == 200, "{path} answers {status}: {text}");
        Ok(text)
    }

    /// How long it takes to get a page, and its bytes.
    pub fn weigh(&self, path: &str) -> Result<(Duration, u64)> {
        let url = format!("http://{}{path}", self.address);
        let arguments = ["--silent", "--show-error", "--fail", "--max-time", "30", "--output", "/dev/null"];
        let told = ["--write-out", "%{time_total} %{size_download}", &url];
        let answer = self.namespace.exec("curl", &[&arguments[..], &told].concat())?;
        let (time, size) = answer.split_once(' ').with_context(|| format!("no time and size: {answer}"))?;
        Ok((Duration::try_from_secs_f64(time.parse()?)?, size.parse()?))
    }

    /// The value of a metric, by its name with labels as the page has it.
    pub fn metric(&self, name: &str) -> Result<f64> {
        Ok(self.value(name)?.parse()?)
    }

    /// The same of a metric that is a whole number.
    pub fn count(&self, name: &str) -> Result<u64> {
        Ok(self.value(name)?.parse()?)
    }

    fn value(&self, name: &str) -> Result<String> {
        let page = self.get("/metrics")?;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no metric {name}:\n{page}"))?.to_owned())
    }
}
