//! One pass: read, leave, join, fall back, report.

use std::collections::{BTreeMap, BTreeSet};

use super::filter::{self, Mac};
use super::kernel::{Fallback, Ipv6State, Kernel, LinkFacts};
use super::plan::{Group, plan};
use super::{GroupReport, GroupStatus, GroupsError, Limits, LinkError, Membership, Wanted, multicast_mac};
use crate::net::errno::Errno;

/// Per link: how many groups were refused, the first of them and why.
type Refusals = BTreeMap<u32, (usize, Group, Errno)>;

/// See [`super::Groups::apply`].
pub(super) fn apply(
    kernel: &mut Kernel,
    limits: Limits,
    wanted: &Wanted,
) -> Result<GroupReport, GroupsError> {
    let mut report = GroupReport::default();
    let links = links(kernel, wanted, &mut report)?;
    let joinable: BTreeSet<Group> =
        wanted.groups().keys().filter(|g| links.contains_key(&g.0)).copied().collect();
    let joined = kernel.joined()?;
    let plan = plan(&joinable, &joined, limits.joined_per_link);

    let (left, refused) = collect(&plan.leave, kernel.leave(&plan.leave)?);
    report.left_now = left.len();
    for (index, (count, (_, first), errno)) in refusals(&refused) {
        report.error(index, LinkError::LeaveRefused { index, count, first, errno });
    }
    let (added, refused) = collect(&plan.join, kernel.join(&plan.join)?);
    report.joined_now = added.len();
    for (index, (count, (_, first), errno)) in refusals(&refused) {
        let Some(link) = links.get(&index) else { continue };
        let name = link.name.clone();
        let error = match errno {
            Errno(libc::ENODEV) => LinkError::NoSuchLink { index },
            Errno(libc::EPERM) => LinkError::NotPermitted { name },
            errno => LinkError::JoinRefused { name, count, first, errno },
        };
        report.error(index, error);
    }
    above_limit(&plan.over, &links, limits, &mut report);

    // Without the link or the capability a fallback would fail for the same reason.
    let (lost, refused): (Vec<_>, Vec<_>) =
        refused.into_iter().partition(|(_, errno)| matches!(errno.0, libc::ENODEV | libc::EPERM));
    let lost: BTreeSet<Group> = lost.into_iter().map(|(group, _)| group).collect();
    let over: BTreeSet<Group> =
        plan.over.iter().copied().chain(refused.iter().map(|(group, _)| *group)).collect();
    let passed = fall_back(kernel, limits, &over, &links, &mut report)?;
    for (group, users) in wanted.groups() {
        let enabled = links.get(&group.0).is_some_and(|link| link.ipv6 == Ipv6State::Enabled);
        let membership = if passed.contains(group) {
            Membership::FilterOnly
        } else if enabled && !over.contains(group) && !lost.contains(group) {
            Membership::Joined
        } else {
            Membership::Missing
        };
        report.groups.insert(*group, GroupStatus { users: *users, membership });
    }
    Ok(report)
}

/// The wanted links that can have members. One with IPv6 disabled is among them: the kernel keeps its entries and joins once it is enabled.
fn links(
    kernel: &mut Kernel,
    wanted: &Wanted,
    report: &mut GroupReport,
) -> Result<BTreeMap<u32, LinkFacts>, GroupsError> {
    let mut links = BTreeMap::new();
    let indexes: BTreeSet<u32> = wanted.groups().keys().map(|(index, _)| *index).collect();
    for index in indexes {
        let Some(link) = kernel.link(index)? else {
            report.error(index, LinkError::NoSuchLink { index });
            continue;
        };
        match link.ipv6 {
            Ipv6State::Enabled => {}
            Ipv6State::Disabled => report.error(index, LinkError::Ipv6Disabled { name: link.name.clone() }),
            Ipv6State::Absent => {
                report.error(index, LinkError::NoIpv6 { name: link.name });
                continue;
            }
        }
        links.insert(index, link);
    }
    Ok(links)
}

/// Pairs each group with its result: those that worked, and those that did not.
fn collect(
    groups: &BTreeSet<Group>,
    results: Vec<Result<(), Errno>>,
) -> (BTreeSet<Group>, Vec<(Group, Errno)>) {
    let mut done = BTreeSet::new();
    let mut refused = Vec::new();
    for (group, result) in groups.iter().zip(results) {
        match result {
            Ok(()) => {
                done.insert(*group);
            }
            // An entry that is already gone, perhaps with its link, is one that was left.
            Err(Errno(libc::ENOENT)) => {}
            Err(errno) => refused.push((*group, errno)),
        }
    }
    (done, refused)
}

fn refusals(refused: &[(Group, Errno)]) -> Refusals {
    let mut by_link = Refusals::new();
    for (group, errno) in refused {
        by_link.entry(group.0).or_insert((0, *group, *errno)).0 += 1;
    }
    by_link
}

fn above_limit(
    over: &BTreeSet<Group>,
    links: &BTreeMap<u32, LinkFacts>,
    limits: Limits,
    report: &mut GroupReport,
) {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for (index, _) in over {
        *counts.entry(*index).or_default() += 1;
    }
    for (index, over) in counts {
        let Some(link) = links.get(&index) else { continue };
        let error = LinkError::AboveLimit { name: link.name.clone(), over, limit: limits.joined_per_link };
        report.error(index, error);
    }
}

/// Brings the NIC filters and the allmulti flags to what `over` needs; returns the groups that pass a NIC so.
///
/// The kernel does not say who made a static filter entry or set the flag. A link that has both, the entry in the
/// range of solicited-node groups, is taken to be ours: that is what an earlier agent left.
fn fall_back(
    kernel: &mut Kernel,
    limits: Limits,
    over: &BTreeSet<Group>,
    links: &BTreeMap<u32, LinkFacts>,
    report: &mut GroupReport,
) -> Result<BTreeSet<Group>, GroupsError> {
    let idle = matches!(&kernel.fallback, Fallback::Known(links) if links.is_empty());
    if over.is_empty() && idle {
        return Ok(BTreeSet::new());
    }
    let present = filter::read().map_err(GroupsError::Socket)?;
    let mut before = match std::mem::replace(&mut kernel.fallback, Fallback::Unknown) {
        Fallback::Known(links) => links,
        Fallback::Unknown => BTreeSet::new(),
    };
    for index in present.keys() {
        if kernel.link(*index)?.is_some_and(|link| link.allmulti) {
            before.insert(*index);
        }
    }
    let needed: BTreeSet<u32> = over.iter().map(|(index, _)| *index).collect();
    let mut passed = BTreeSet::new();
    for index in needed.iter().filter(|index| links.get(index).is_some_and(|link| link.ethernet)) {
        let groups: Vec<Group> = over.iter().filter(|group| group.0 == *index).copied().collect();
        let wanted: BTreeSet<Mac> =
            groups.iter().take(limits.filtered_per_link).map(|(_, group)| multicast_mac(*group)).collect();
        let none = BTreeSet::new();
        let there = if before.contains(index) { present.get(index).unwrap_or(&none) } else { &none };
        set_filter(kernel, *index, &links[index].name, there, &wanted, report);
        if set_allmulti(kernel, *index, &links[index], true, report)? {
            report.allmulti.insert(*index);
            passed.extend(groups);
        }
    }
    for index in before.difference(&needed) {
        let Some(link) = kernel.link(*index)? else { continue };
        let there = present.get(index).cloned().unwrap_or_default();
        set_filter(kernel, *index, &link.name, &there, &BTreeSet::new(), report);
        set_allmulti(kernel, *index, &link, false, report)?;
    }
    kernel.fallback = Fallback::Known(report.allmulti.clone());
    Ok(passed)
}

fn set_filter(
    kernel: &Kernel,
    index: u32,
    name: &str,
    there: &BTreeSet<Mac>,
    wanted: &BTreeSet<Mac>,
    report: &mut GroupReport,
) {
    let removed = there.difference(wanted).map(|mac| filter::remove(&kernel.ioctl, name, *mac));
    let added = wanted.difference(there).map(|mac| filter::add(&kernel.ioctl, name, *mac));
    // One report per link: the reason is the same for each entry.
    if let Some(errno) = removed.chain(added).filter_map(Result::err).last() {
        report.error(index, LinkError::FilterRefused { name: name.to_owned(), errno });
    }
}

/// Whether the flag is now as asked for.
fn set_allmulti(
    kernel: &mut Kernel,
    index: u32,
    link: &LinkFacts,
    on: bool,
    report: &mut GroupReport,
) -> Result<bool, GroupsError> {
    if link.allmulti == on {
        return Ok(true);
    }
    match kernel.set_allmulti(index, on)? {
        Ok(()) => Ok(true),
        Err(errno) => {
            report.error(index, LinkError::AllmultiRefused { name: link.name.clone(), errno });
            Ok(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn group(index: u32, low: u16) -> Group {
        (index, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, low))
    }

    #[test]
    fn refusals_are_counted_per_link() {
        let groups = BTreeSet::from([group(2, 1), group(2, 2), group(2, 3), group(3, 1)]);
        let no_memory = Errno(libc::ENOMEM);
        let results = vec![Ok(()), Err(no_memory), Err(Errno(libc::ENODEV)), Err(Errno(libc::ENOENT))];
        let (done, refused) = collect(&groups, results);
        assert_eq!(done, BTreeSet::from([group(2, 1)]));
        assert_eq!(refusals(&refused), BTreeMap::from([(2, (2, group(2, 2), no_memory))]));
    }
}
