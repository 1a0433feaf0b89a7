//! From facts to rows: what is the case, what it means, what to do.

use std::fmt;

use serde::Serialize;

use super::facts::Facts;
use super::rivals::Rival;

mod link;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Nothing to change, but to know.
    Info,
    /// Works, with a limit.
    Warn,
    /// Does not work.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// How bad it is.
    pub level: Level,
    /// The interface; nothing for a check of the node.
    pub interface: Option<String>,
    /// What was looked at.
    pub check: &'static str,
    /// What was found and what to do.
    pub finding: String,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "OK",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Fail => "FAIL",
        };
        let on = self.interface.as_deref().unwrap_or("node");
        write!(f, "{level:<5} {on:<10} {:<16} {}", self.check, self.finding)
    }
}

/// One line each.
pub(super) fn text(rows: &[Row]) -> String {
    rows.iter().map(ToString::to_string).chain([String::new()]).collect::<Vec<_>>().join("\n")
}

fn row(level: Level, check: &'static str, finding: impl Into<String>) -> Row {
    Row { level, interface: None, check, finding: finding.into() }
}

/// All checks.
pub(super) fn rows(facts: &Facts) -> Vec<Row> {
    let mut rows = vec![kernel(facts), object(facts), bpffs(facts), capabilities(facts)];
    rows.extend(facts.rivals.iter().copied().map(rival));
    rows.extend(strict_arp(facts));
    for name in &facts.absent {
        let finding = "there is no such interface: `ip link` lists those that exist";
        rows.push(Row { interface: Some(name.clone()), ..row(Level::Fail, "link", finding) });
    }
    for facts_of_link in &facts.links {
        rows.extend(link::rows(facts_of_link, facts.tcx));
    }
    if facts.links.is_empty() && facts.absent.is_empty() {
        rows.push(row(
            Level::Fail,
            "interfaces",
            "none is Ethernet, up, has an address and a name that is not on the exclude list: name one with --interface",
        ));
    }
    rows
}

fn kernel(facts: &Facts) -> Row {
    let text = &facts.kernel;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let version = (numbers.next().and_then(Result::ok), numbers.next().and_then(Result::ok));
    let (Some(major), Some(minor)) = version else {
        return row(
            Level::Warn,
            "kernel",
            format!("can't read its version: {text:?}; 5.15 is the oldest that works"),
        );
    };
    match (major, minor) {
        (..=4, _) | (5, ..=14) => {
            row(Level::Fail, "kernel", format!("{text}: 5.15 is the oldest that works"))
        }
        _ if facts.tcx => row(Level::Ok, "kernel", format!("{text}: XDP links, batch operations, tcx")),
        _ => row(
            Level::Warn,
            "kernel",
            format!("{text} has no tcx (6.6 has): links without native XDP get generic XDP, which is slower"),
        ),
    }
}

fn object(facts: &Facts) -> Row {
    if facts.embedded {
        row(Level::Ok, "BPF object", "embedded")
    } else {
        row(Level::Fail, "BPF object", "this binary has none: build it with `cargo xtask build`")
    }
}

fn bpffs(facts: &Facts) -> Row {
    match &facts.bpffs {
        Ok(()) => row(Level::Ok, "bpffs", "mounted"),
        Err(error) => row(Level::Fail, "bpffs", error),
    }
}

fn capabilities(facts: &Facts) -> Row {
    if facts.missing_capabilities.is_empty() {
        return row(Level::Ok, "capabilities", "BPF, NET_ADMIN, PERFMON, NET_RAW");
    }
    let missing = facts.missing_capabilities.join(", ");
    row(Level::Fail, "capabilities", format!("missing: {missing}; run as root or grant them"))
}

fn rival(rival: Rival) -> Row {
    let (check, finding) = match rival {
        Rival::MetallbSpeaker => (
            "MetalLB speaker",
            "runs on this node: both would answer for the same Services; give each a load balancer class and pools of its own",
        ),
        Rival::KubeVip => (
            "kube-vip",
            "runs on this node: it puts addresses on interfaces, which the kernel then answers for too; give each its own Services",
        ),
        Rival::ServiceLb => (
            "k3s servicelb",
            "runs on this node and takes every Service of type LoadBalancer: start k3s with --disable=servicelb",
        ),
    };
    row(Level::Warn, check, finding)
}

fn strict_arp(facts: &Facts) -> Option<Row> {
    if !facts.kube_ipvs {
        return None;
    }
    Some(if facts.answers_on_any_link {
        row(
            Level::Warn,
            "strictARP",
            "kube-proxy keeps addresses on kube-ipvs0 and the kernel answers for them on every node: set ipvs.strictARP: true in its configuration",
        )
    } else {
        row(
            Level::Ok,
            "strictARP",
            "kube-ipvs0 is there, and the kernel does not answer for its addresses (arp_ignore)",
        )
    })
}

#[cfg(test)]
mod tests;
