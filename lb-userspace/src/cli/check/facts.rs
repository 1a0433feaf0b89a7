//! What a check looks at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The node.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) kernel: String,
    pub(super) embedded: bool,
    pub(super) tcx: bool,
    pub(super) bpffs: Result<(), String>,
    pub(super) missing_capabilities: Vec<String>,
    pub(super) absent: Vec<String>,
    pub(super) kube_ipvs: bool,
    pub(super) arp_ignore: String,
    pub(super) processes: BTreeSet<Rival>,
    pub(super) links: Vec<LinkFacts>,
}

/// A link.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a link")]
pub(super) struct LinkFacts {
    pub(super) name: String,
    pub(super) driver: String,
    pub(super) ethernet: bool,
    pub(super) up: bool,
    pub(super) carrier: bool,
    pub(super) enslaved: bool,
    pub(super) xdp: BTreeMap<&'static str, Option<u32>>,
    pub(super) ours: bool,
    pub(super) rx_vlan: bool,
    pub(super) rp_filter: String,
    pub(super) no_ipv6: bool,
    /// `None` = can't be told.
    pub(super) broadcast_seen: Option<bool>,
}

/// A program that answers for addresses of Services too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rival {
    MetallbSpeaker,
    ServiceLb,
    KubeVip,
}

/// Rivals among the processes of this machine.
pub(super) fn processes() -> BTreeSet<Rival> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeSet::new() };
    let command = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    entries.filter_map(Result::ok).filter_map(command).filter_map(|command| rival(&command)).collect()
}

/// By its command line, arguments separated by zero bytes.
pub(super) fn rival(command: &[u8]) -> Option<Rival> {
    let text = String::from_utf8_lossy(command);
    let mut arguments = text.split('\0');
    let program = arguments.next()?.rsplit('/').next()?;
    match program {
        "speaker" => Some(Rival::MetallbSpeaker),
        "kube-vip" => Some(Rival::KubeVip),
        "klipper-lb" | "lb" if text.contains("svclb") || program == "klipper-lb" => Some(Rival::ServiceLb),
        _ => None,
    }
}

/// The interface has received multicast (the kernel counts broadcast with it).
pub(super) fn hears_broadcast(name: &str) -> Option<bool> {
    let text = fs::read_to_string(format!("/sys/class/net/{name}/statistics/multicast")).ok()?;
    let counted: u64 = text.trim().parse().ok()?;
    // Many virtual drivers never count it: zero tells nothing there.
    (counted > 0 || std::path::Path::new(&format!("/sys/class/net/{name}/device")).exists())
        .then_some(counted > 0)
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            kernel: String::new(),
            embedded: false,
            tcx: false,
            bpffs: Ok(()),
            missing_capabilities: Vec::new(),
            absent: Vec::new(),
            kube_ipvs: false,
            arp_ignore: String::new(),
            processes: BTreeSet::new(),
            links: Vec::new(),
        }
    }
}
