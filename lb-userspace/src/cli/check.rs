//! `barelb check`: is this node fit to announce, and what to change if not.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::{Output, Places};
use crate::dataplane::ebpf::{check_bpffs, is_embedded, kernel_has_tcx};
use crate::net::capabilities::{Capabilities, Capability};
use crate::net::{ethtool, links};

mod facts;
mod rows;

use facts::{Facts, LinkFacts};
pub use rows::{Level, Row};

/// Arguments of `barelb check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Look at this interface; may be given several times [default: every Ethernet one that is up].
    #[arg(long = "interface", value_name = "NAME", value_delimiter = ',')]
    interfaces: Vec<String>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    places: Places,
}

impl Check {
    /// Prints one row per check; exit code 1 when one failed.
    #[expect(clippy::print_stdout, reason = "the answer of a command")]
    pub fn run(self) -> Result<ExitCode> {
        let rows = rows::rows(&self.facts()?);
        match self.output {
            Output::Json => println!("{}", serde_json::to_string_pretty(&rows)?),
            Output::Yaml => print!("{}", serde_saphyr::to_string(&rows)?),
            Output::Table | Output::Wide => rows.iter().for_each(|row| println!("{row}")),
        }
        let failed = rows.iter().any(|row| row.level == Level::Fail);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn facts(&self) -> Result<Facts> {
        let present = links::list().context("listing the interfaces")?;
        let wanted = |link: &&links::Link| {
            if self.interfaces.is_empty() {
                link.ethernet && link.state.up
            } else {
                self.interfaces.contains(&link.name)
            }
        };
        let needed = [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon, Capability::NetRaw];
        let missing = Capabilities::read().context("reading capabilities")?.missing(&needed);
        let names: Vec<&str> = present.values().map(|link| link.name.as_str()).collect();
        Ok(Facts {
            kernel: read("/proc/sys/kernel/osrelease"),
            embedded: is_embedded(),
            tcx: kernel_has_tcx(),
            bpffs: check_bpffs(&self.places.bpffs).map_err(|error| error.to_string()),
            missing_capabilities: missing.iter().map(ToString::to_string).collect(),
            absent: self.interfaces.iter().filter(|name| !names.contains(&name.as_str())).cloned().collect(),
            kube_ipvs: names.contains(&"kube-ipvs0"),
            arp_ignore: read("/proc/sys/net/ipv4/conf/all/arp_ignore"),
            processes: facts::processes(),
            links: present.values().filter(wanted).map(|link| self.link(link)).collect(),
        })
    }

    #[expect(clippy::unused_self, reason = "reads for this command")]
    fn link(&self, link: &links::Link) -> LinkFacts {
        let features = ethtool::features(&link.name).ok();
        let setting =
            |family: &str, key: &str| read(&format!("/proc/sys/net/{family}/conf/{}/{key}", link.name));
        LinkFacts {
            name: link.name.clone(),
            driver: ethtool::driver(&link.name).map(|driver| driver.name).unwrap_or_default(),
            ethernet: link.ethernet,
            up: link.state.up,
            carrier: link.state.lower_up,
            enslaved: link.controller.is_some(),
            xdp: BTreeMap::from([("native", link.xdp.native), ("generic", link.xdp.generic)]),
            ours: Path::new(&self_pin(link.index)).exists(),
            rx_vlan: features.is_some_and(|features| features.rx_vlan_offload),
            rp_filter: setting("ipv4", "rp_filter"),
            no_ipv6: setting("ipv6", "disable_ipv6") == "1",
            broadcast_seen: facts::hears_broadcast(&link.name),
        }
    }
}

fn self_pin(index: u32) -> String {
    format!("/sys/fs/bpf/barelb/links/{index}")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
