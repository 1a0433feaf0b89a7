//! Solicited-node groups of the addresses this node answers for, or is ready to.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use lb_core::ids::{LinkId, Vlans};
use lb_core::plan::{Plan, Target};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::metrics::Metrics;
use crate::net::groups::{GroupReport, Groups, GroupsError, LinkError, Wanted};
use crate::net::links::Link;

/// What is to be joined, and what can't be as it should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memberships {
    pub(super) wanted: Arc<Wanted>,
    /// VLANs without an interface of their own: their groups are joined on the link below, untagged.
    pub(super) gaps: Vec<String>,
}

/// The groups of a plan, standby entries included. Those of a VLAN are joined on the interface of the VLAN, so that
/// the report carries the tag and a snooping switch sees it there.
pub(super) fn wanted(plan: &Plan, links: &BTreeMap<u32, Link>) -> Memberships {
    let mut interfaces: BTreeMap<(LinkId, Vlans), u32> = BTreeMap::new();
    let mut gaps = Vec::new();
    let mut pairs: Vec<(u32, Ipv6Addr)> = Vec::new();
    for Target { link, vlans, ip } in plan.desired.keys() {
        let IpAddr::V6(ip) = ip else { continue };
        let interface = *interfaces.entry((*link, *vlans)).or_insert_with(|| {
            interface(*link, *vlans, links).unwrap_or_else(|| {
                gaps.push(gap(*link, *vlans, links));
                link.0
            })
        });
        pairs.push((interface, *ip));
    }
    Memberships { wanted: Arc::new(pairs.into_iter().collect()), gaps }
}

/// The interface whose frames carry these tags on the link.
fn interface(link: LinkId, vlans: Vlans, links: &BTreeMap<u32, Link>) -> Option<u32> {
    let above = |below: u32, id: u16| {
        let mut vlans = links.values().filter_map(|link| Some((link.index, link.vlan.as_ref()?)));
        vlans.find(|(_, vlan)| vlan.parent == below && vlan.id == id).map(|(index, _)| index)
    };
    match vlans.ids() {
        (0, _) => Some(link.0),
        (outer, 0) => above(link.0, outer),
        (outer, inner) => above(above(link.0, outer)?, inner),
    }
}

fn gap(link: LinkId, vlans: Vlans, links: &BTreeMap<u32, Link>) -> String {
    let name = links.get(&link.0).map_or_else(|| format!("link {link}"), |link| link.name.clone());
    format!(
        "{name} has no interface for VLAN {vlans}, so a switch that snoops sees no report there and may keep neighbour \
         solicitations away: create it (ip link add link {name} name {name}.{vlans} type vlan id …) or turn off snooping"
    )
}

/// Keeps the kernel's memberships as wanted, beside the main task, which must move the deadline meanwhile.
pub(super) struct Keeper {
    groups: Groups,
    wishes: watch::Sender<Arc<Wanted>>,
    reports: watch::Receiver<GroupReport>,
    task: JoinHandle<()>,
}

impl Keeper {
    pub(super) fn start(groups: Groups, metrics: Metrics) -> Self {
        let (wishes, wished) = watch::channel(Arc::default());
        let (report, reports) = watch::channel(GroupReport::default());
        let task = tokio::spawn(keep(groups.clone(), wished, report, metrics));
        Self { groups, wishes, reports, task }
    }

    /// Joins and leaves what it takes; without `leaves`, leaves nothing yet.
    pub(super) fn want(&self, wanted: &Arc<Wanted>, leaves: bool) {
        self.wishes.send_modify(|known| {
            *known = if leaves { Arc::clone(wanted) } else { Arc::new(Wanted::either(known, wanted)) };
        });
    }

    /// Compares with the kernel again: somebody may have flushed the entries, and nothing tells about that.
    pub(super) fn check(&self) {
        self.wishes.send_modify(|_| {});
    }

    /// What was reached last.
    pub(super) fn report(&self) -> GroupReport {
        self.reports.borrow().clone()
    }

    /// Leaves all groups.
    pub(super) async fn leave(self) -> Result<(), GroupsError> {
        self.task.abort();
        // What it has begun ends before this gets its turn.
        self.groups.apply(Arc::default()).await.map(drop)
    }
}

async fn keep(
    groups: Groups,
    mut wishes: watch::Receiver<Arc<Wanted>>,
    reports: watch::Sender<GroupReport>,
    metrics: Metrics,
) {
    let mut told: BTreeMap<u32, Vec<LinkError>> = BTreeMap::new();
    while wishes.changed().await.is_ok() {
        let wanted = Arc::clone(&wishes.borrow_and_update());
        match groups.apply(wanted).await {
            Ok(report) => {
                for (link, error) in news(&told, &report.errors) {
                    tracing::warn!(link, %error, "solicited-node group");
                }
                told.clone_from(&report.errors);
                metrics.grouped(&report);
                reports.send_replace(report);
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "can't set group memberships");
            }
        }
    }
}

/// Errors that were not there the last time.
fn news<'a>(
    told: &'a BTreeMap<u32, Vec<LinkError>>,
    now: &'a BTreeMap<u32, Vec<LinkError>>,
) -> impl Iterator<Item = (u32, &'a LinkError)> {
    let known = |link: &u32, error: &LinkError| told.get(link).is_some_and(|told| told.contains(error));
    now.iter()
        .flat_map(|(link, errors)| errors.iter().map(move |error| (link, error)))
        .filter(move |(link, error)| !known(link, error))
        .map(|(link, error)| (*link, error))
}

#[cfg(test)]
mod tests {
    use lb_core::ids::Mac;
    use lb_core::plan::{Entry, EntryState};

    use super::*;
    use crate::net::links::Vlan;

    fn link(index: u32, name: &str, vlan: Option<Vlan>) -> (u32, Link) {
        (index, Link { index, name: name.to_owned(), vlan, ..Link::default() })
    }

    fn plan(targets: &[(u32, &str, &str)]) -> Plan {
        let entry = Entry { mac: Mac([2, 0, 0, 0, 0, 1]), state: EntryState::Standby };
        let target = |(link, vlans, ip): &(u32, &str, &str)| {
            let vlans = if vlans.is_empty() { Vlans::Untagged } else { vlans.parse().unwrap() };
            (Target { link: LinkId(*link), vlans, ip: ip.parse().unwrap() }, entry)
        };
        Plan { desired: targets.iter().map(target).collect(), ..Plan::default() }
    }

    #[test]
    fn groups_are_joined_where_their_frames_arrive() {
        let links = BTreeMap::from([
            link(2, "eth0", None),
            link(3, "eth0.42", Some(Vlan { parent: 2, id: 42 })),
            link(4, "eth0.100", Some(Vlan { parent: 2, id: 100 })),
            link(5, "eth0.100.42", Some(Vlan { parent: 4, id: 42 })),
            link(6, "eth1.43", Some(Vlan { parent: 7, id: 43 })),
        ]);
        let plan = plan(&[
            (2, "", "2001:db8::1"),
            (2, "42", "2001:db8::2"),
            (2, "100.42", "2001:db8::3"),
            (2, "43", "2001:db8::4"),
            (2, "43", "2001:db8::5"),
            (2, "42", "192.0.2.1"),
        ]);
        let memberships = wanted(&plan, &links);
        let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let joined: Vec<_> = memberships.wanted.groups().keys().copied().collect();
        let expected = [(2, "ff02::1:ff00:1"), (2, "ff02::1:ff00:4"), (2, "ff02::1:ff00:5")];
        let expected = expected.into_iter().chain([(3, "ff02::1:ff00:2"), (5, "ff02::1:ff00:3")]);
        assert_eq!(joined, expected.map(|(index, group)| (index, ip(group))).collect::<Vec<_>>());
        assert_eq!(memberships.gaps.len(), 1, "{:?}", memberships.gaps);
        assert!(memberships.gaps[0].contains("eth0") && memberships.gaps[0].contains("VLAN 43"));
    }

    #[test]
    fn an_error_is_told_once() {
        let disabled = || LinkError::Ipv6Disabled { name: "eth0".to_owned() };
        let gone = LinkError::NoSuchLink { index: 3 };
        let before = BTreeMap::from([(2, vec![disabled()])]);
        let now = BTreeMap::from([(2, vec![disabled()]), (3, vec![gone.clone()])]);
        assert_eq!(news(&BTreeMap::new(), &before).collect::<Vec<_>>(), [(2, &disabled())]);
        assert_eq!(news(&before, &before).count(), 0);
        assert_eq!(news(&before, &now).collect::<Vec<_>>(), [(3, &gone)]);
    }
}
