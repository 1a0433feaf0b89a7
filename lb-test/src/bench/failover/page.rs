//! The part of docs/reliability.md that is about failover.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::record::Records;
use super::{Options, connections, cost, goals, soak, tables};
use crate::bench::document::Page;
use crate::failover::CASES;

/// Its headline; all from there to the end of the page is this part's.
const FAILOVER: &str = "## Failover";

const HEAD: &str = "
Three nodes and a client on one switch, in network namespaces of one machine. One node owns an address of each family and
something happens to it. The client asks for both, a thousand times a second each, by ARP and neighbour solicitation; and
as often it sends a datagram through each address, which its own kernel sends to whom it takes for the owner.

* BareLB: real etcd, kube-apiserver and kube-proxy, the controller, an agent on each node with a grace of 2 s, and
  `--failback-after 100ms`, so that the next trial can begin (false moves and cost: 10 s); the datagrams go by a Service
  with an endpoint on each node.
  keepalived: Debian's, VRRP version 3, as it is by itself but for the interval of its advertisements.
* A dead node is a port of the switch that lets nothing through, from one frame to the next (an XDP program on the port one
  way, tcx the other): its link stays up, and nobody is told.
* The fault comes at a random moment. **First answer**: from just before it to the kernel's receive time of the first answer
  of another node, of ARP and neighbour discovery the later one. **Datagram**: the same for datagrams.
* **silence** is the longest time between two answers for one address, **lost** how many requests had none, **two owners** for
  how long more than one node answered: the worst of all trials. **moved**: trials in which another node answered.

`cargo xtask bench failover` writes this part; `--case`, `--with`, `--trials` and `--resume` measure some of it,
`--soak 1h --loss 5` and `--soak 1h --busy` count false moves, `--cost` measures what probing costs, `--connections`
what becomes of TCP connections.
";

/// Writes it from what is saved, and prints it.
pub(super) fn write(options: &Options) -> Result<()> {
    let records = Records::open(&options.records)?;
    let mut page = Page::default();
    page.add(FAILOVER);
    page.add(HEAD);
    page.machine();
    let (minutes, costs) = (soak::saved(options)?, cost::saved(options)?);
    goals::add(&mut page, records.all(), &minutes, &costs);
    for case in CASES {
        tables::add(&mut page, case, records.all());
    }
    connections::add(&mut page, &connections::saved(options)?);
    soak::add(&mut page, &minutes);
    cost::add(&mut page, &costs);
    replace(&options.out, &page.text)
}

/// Puts the part in the place of what the page has said.
fn replace(path: &Path, part: &str) -> Result<()> {
    let page = fs::read_to_string(path).unwrap_or_default();
    let (before, _) = split(&page);
    let text = format!("{}\n\n{}\n", before.trim_end(), part.trim_end());
    fs::write(path, text.trim_start()).with_context(|| format!("cannot write {}", path.display()))
}

/// The page before this part, and this part, which may be empty.
fn split(page: &str) -> (&str, &str) {
    let line = format!("\n{FAILOVER}\n");
    page.find(&line).map_or((page, ""), |at| page.split_at(at + 1))
}

/// This part of a page, to be kept by who writes the rest of it.
pub(in crate::bench) fn part(page: &str) -> &str {
    split(page).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_the_page_keeps_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.md");
        let read = || fs::read_to_string(&path).unwrap();
        fs::write(&path, "# Reliability\n\nrows\n").unwrap();
        replace(&path, "## Failover\n\none\n").unwrap();
        assert_eq!(read(), "# Reliability\n\nrows\n\n## Failover\n\none\n");
        replace(&path, "## Failover\n\ntwo\n\n### more\n").unwrap();
        assert_eq!(read(), "# Reliability\n\nrows\n\n## Failover\n\ntwo\n\n### more\n");
        assert_eq!(part(&read()), "## Failover\n\ntwo\n\n### more\n");
        assert_eq!(part("# Reliability\n\n### Failover of something\n"), "");
    }
}
