//! Events about what is wrong: each is told once while it is the case, when it has been so for a moment, and only some at
//! a time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lb_core::ids::{Mac, NodeName, ServiceKey};
use lb_core::problem::{Place, Problem, Reason};
use tokio::time::Instant;

use super::Voice;
use crate::agent::metrics::WriteKind;
use crate::controller::tell::Reason as Word;
use crate::k8s::event::{Regarding, Said, readable};
use crate::k8s::write::{WriteError, WriteResult, in_time};
use crate::source::decide::Decided;
use crate::source::kubernetes::Kind;

/// What is wrong for shorter is a step of somebody's work: a pool comes before its advertisement.
const SETTLED: Duration = Duration::from_secs(2);
/// Events at a time.
const SOME: usize = 20;
/// After a try that failed.
const AGAIN: Duration = Duration::from_mins(1);
/// Between two times.
const PAUSE: Duration = Duration::from_secs(10);

/// Something that is wrong with an object, or is well again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::agent::cluster) struct Complaint {
    /// Kind, namespace and name.
    object: String,
    reason: &'static str,
    note: String,
    uid: Arc<str>,
    /// `Warning` instead of `Normal`.
    warning: bool,
}

impl Complaint {
    /// Of a problem of a plan for what was decided.
    pub(in crate::agent::cluster) fn new(problem: &Problem, decided: &Decided) -> Self {
        let object = problem.place.object.clone();
        let uid = match problem.place.service_key() {
            Some(key) => decided.uids.get(&key),
            None => decided.object_uids.get(&object),
        };
        let (said, field) = (problem.reason.to_string(), &problem.place.field);
        let (reason, note) = if let Reason::Announce(silence) = &problem.reason {
            (silence.reason(), said)
        } else if field.is_empty() {
            (Word::ConfigurationWarning.name(), said)
        } else {
            (Word::ConfigurationWarning.name(), format!("{field}: {said}"))
        };
        Self { uid: uid.cloned().unwrap_or_default(), object, reason, note: readable(&note), warning: true }
    }

    /// Records it as an event; false: the API server has not answered, and it may be tried again.
    pub(super) async fn tell(&self, voice: &Voice) -> bool {
        let Some((kind, name)) = self.object.split_once(' ') else { return true };
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        let known = Kind::OF_AGENT.into_iter().find(|known| known.name() == kind);
        let Some(api_version) = known.map(Kind::api_version) else { return true };
        let regarding = Regarding { api_version, kind, namespace, name, uid: &self.uid };
        let said = Said { warning: self.warning, reason: self.reason, note: &self.note };
        tracing::info!(object = self.object, reason = self.reason, note = self.note, "an event");
        let event = voice.writer.record(&voice.reporter, regarding, said, SystemTime::now());
        let result = in_time(event).await;
        voice.metrics.written(WriteKind::Event, WriteResult::of(&result));
        if result.is_err() {
            tracing::debug!(object = self.object, "the event could not be recorded");
        }
        // What is refused is refused again.
        !matches!(result, Err(WriteError::Busy { .. } | WriteError::Timeout | WriteError::Unreachable(_)))
    }
}

/// A station that is none of the cluster's has claimed an address that this node answers for.
#[derive(Clone, Debug)]
pub(in crate::agent) struct Claimed {
    pub(in crate::agent) ip: IpAddr,
    pub(in crate::agent) mac: Mac,
    /// Where it was heard.
    pub(in crate::agent) link: String,
    /// Those that have the address, with their `metadata.uid`.
    pub(in crate::agent) services: Vec<(ServiceKey, Arc<str>)>,
}

impl Claimed {
    /// What is wrong with each Service.
    pub(super) fn complaints(&self, node: &NodeName) -> Vec<Complaint> {
        let Self { ip, mac, link, services } = self;
        let note = readable(&format!(
            "a station with the hardware address {mac}, which is no node of the cluster, claims {ip} on {link} of node \
             {node}: find it in the switch and take the address from it, or take the address out of the pool"
        ));
        let complaint = |(service, uid): &(ServiceKey, Arc<str>)| Complaint {
            object: Place::service(service).object,
            reason: "addressConflict",
            note: note.clone(),
            uid: Arc::clone(uid),
            warning: true,
        };
        services.iter().map(complaint).collect()
    }
}

/// A link over which nothing gets through between this node and another one that others hear.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::agent) struct CutLink {
    pub(in crate::agent) peer: NodeName,
    pub(in crate::agent) link: String,
}

impl CutLink {
    /// Both nodes say so, each below itself.
    pub(super) fn complaint(&self, node: &NodeName) -> Complaint {
        let Self { peer, link } = self;
        let note = readable(&format!(
            "nothing gets through on {link} from node {node} to node {peer} and back, though other nodes hear {peer}: look at \
             the switch ports, cables and firewalls (UDP ports 7784 and 7785) between these two. Addresses stay where they are as long as these others say so within tens of milliseconds. \
             `barelb status --peers` shows how all nodes hear each other"
        ));
        of_node(node, "LinkCut", note, true)
    }

    /// Said once the cut is over: what was told of it holds no more.
    pub(super) fn end(&self, node: &NodeName) -> Complaint {
        let Self { peer, link } = self;
        let note = readable(&format!(
            "node {node} and node {peer} hear each other directly on {link} again: nothing is left to do"
        ));
        of_node(node, "LinkWhole", note, false)
    }
}

/// The `uid` is the name, as in the kubelet's own events.
fn of_node(node: &NodeName, reason: &'static str, note: String, warning: bool) -> Complaint {
    Complaint { object: format!("Node {node}"), reason, note, uid: Arc::from(node.as_str()), warning }
}

/// What is wrong, and what of it was told.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// Since when each is the case, and whether it was told.
    known: BTreeMap<Complaint, (Instant, bool)>,
    /// When some may be told again.
    earliest: Option<Instant>,
}

impl Complaints {
    /// These could not be told; returns when they are due again, if there are any. Others come first.
    pub(super) fn take_back(
        &mut self,
        failed: impl Iterator<Item = Complaint>,
        now: Instant,
    ) -> Option<Instant> {
        let mut again = None;
        for complaint in failed {
            if let Some((since, told)) = self.known.get_mut(&complaint) {
                (*since, *told) = (now + AGAIN, false);
                again = Some(now + AGAIN + SETTLED);
            }
        }
        again
    }

    /// What is to be told now, of all that is wrong, and when there is more.
    pub(super) fn due(&mut self, all: &[Complaint], now: Instant) -> (Vec<Complaint>, Option<Instant>) {
        let mut before = std::mem::take(&mut self.known);
        let entry = |complaint: &Complaint| {
            let (complaint, known) =
                before.remove_entry(complaint).unwrap_or((complaint.clone(), (now, false)));
            (complaint, known)
        };
        // The same may be wrong with both addresses of a Service.
        let mut distinct: Vec<&Complaint> = all.iter().collect();
        distinct.sort_unstable();
        distinct.dedup();
        self.known = distinct.into_iter().map(entry).collect();
        let may = self.earliest.is_none_or(|earliest| earliest <= now);
        let settled = self.known.iter_mut().filter(|(_, (since, told))| !told && *since + SETTLED <= now);
        let due: Vec<Complaint> = settled
            .take(if may { SOME } else { 0 })
            .map(|(complaint, (_, told))| {
                *told = true;
                complaint.clone()
            })
            .collect();
        if !due.is_empty() {
            self.earliest = Some(now + PAUSE);
        }
        let left = self.known.values().filter(|(_, told)| !told).map(|(since, _)| *since + SETTLED).min();
        (due, left.map(|at| self.earliest.map_or(at, |earliest| at.max(earliest))))
    }
}

#[cfg(test)]
mod tests {
    use lb_core::plan::Silence;

    use super::*;

    fn complaint(service: &str, pool: &str) -> Complaint {
        let place = Place::service(&service.parse::<ServiceKey>().unwrap());
        let silence = Silence::NoAdvertisement { pool: pool.parse().unwrap() };
        let mut decided = Decided::default();
        decided.uids = Arc::new(BTreeMap::from([(service.parse().unwrap(), Arc::from("u-1"))]));
        Complaint::new(&Problem::new(place, silence), &decided)
    }

    #[test]
    fn an_event_has_the_word_and_the_sentence() {
        let told = complaint("web/a", "p");
        assert_eq!(
            (told.object.as_str(), told.reason, &*told.uid),
            ("Service web/a", "noMatchingAdvertisement", "u-1")
        );
        assert_eq!(
            told.note,
            "no L2Advertisement covers address pool p: create one, or the address stays silent"
        );
    }

    #[test]
    fn a_claim_is_told_on_each_service_of_the_address() {
        for ip in ["192.0.2.100", "2001:db8::100"] {
            let services = ["web/a", "web/b"].map(|name| (name.parse().unwrap(), Arc::from("u")));
            let claimed = Claimed {
                ip: ip.parse().unwrap(),
                mac: Mac([2, 0, 0, 0, 0, 0x99]),
                link: "eth0".to_owned(),
                services: services.to_vec(),
            };
            let told = claimed.complaints(&NodeName::new("node-a").unwrap());
            let objects: Vec<&str> = told.iter().map(|complaint| complaint.object.as_str()).collect();
            assert_eq!(
                (objects, told[0].reason),
                (vec!["Service web/a", "Service web/b"], "addressConflict")
            );
            assert_eq!(
                told[1].note,
                format!(
                    "a station with the hardware address 02:00:00:00:00:99, which is no node of the cluster, claims {ip} \
                     on eth0 of node node-a: find it in the switch and take the address from it, or take the address \
                     out of the pool"
                )
            );
        }
    }

    #[test]
    fn a_link_that_is_cut_is_told_of_the_node_with_both_names() {
        let [node, peer] = ["node-a", "node-b"].map(|name| NodeName::new(name).unwrap());
        let told = CutLink { peer, link: "eth0".to_owned() }.complaint(&node);
        assert_eq!((told.object.as_str(), told.reason, &*told.uid), ("Node node-a", "LinkCut", "node-a"));
        assert!(told.warning);
        let start = "nothing gets through on eth0 from node node-a to node node-b and back, though other nodes hear node-b: ";
        assert!(
            told.note.starts_with(start) && told.note.contains("`barelb status --peers`"),
            "{}",
            told.note
        );
        let known = Kind::OF_AGENT.into_iter().find(|kind| told.object.starts_with(kind.name()));
        assert_eq!(known.map(Kind::api_version), Some("v1"), "an event can be made of it");
    }

    #[test]
    fn the_end_of_a_cut_is_told_of_the_same_node_and_is_no_warning() {
        let [node, peer] = ["node-a", "node-b"].map(|name| NodeName::new(name).unwrap());
        let cut = CutLink { peer, link: "eth0".to_owned() };
        let told = cut.end(&node);
        assert_eq!((&told.object, &told.uid), (&cut.complaint(&node).object, &cut.complaint(&node).uid));
        assert_eq!((told.reason, told.warning), ("LinkWhole", false));
        assert_eq!(
            told.note,
            "node node-a and node node-b hear each other directly on eth0 again: nothing is left to do"
        );
    }

    #[test]
    fn what_is_wrong_for_a_moment_only_is_not_told() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let wrong = [complaint("web/a", "p")];
        assert_eq!(complaints.due(&wrong, start), (vec![], Some(start + SETTLED)));
        assert_eq!(complaints.due(&[], start + SETTLED / 2), (vec![], None));
        assert_eq!(complaints.due(&wrong, start + SETTLED), (vec![], Some(start + SETTLED * 2)));
        assert_eq!(complaints.due(&wrong, start + SETTLED * 2), (wrong.to_vec(), None));
        assert_eq!(complaints.due(&wrong, start + SETTLED * 9), (vec![], None), "once");
        let again = complaints.take_back(wrong.clone().into_iter(), start + SETTLED * 9).unwrap();
        assert_eq!(complaints.due(&wrong, again - SETTLED / 2), (vec![], Some(again)));
        assert_eq!(complaints.due(&wrong, again).0, wrong, "unless that failed");
        complaints.due(&[], again + SETTLED);
        complaints.due(&wrong, again + SETTLED * 2);
        assert_eq!(complaints.due(&wrong, again + SETTLED * 9).0, wrong, "and again when it is so again");
    }

    #[test]
    fn both_addresses_of_a_service_make_one_event_and_many_services_some_at_a_time() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let names: Vec<String> = (0..50).map(|number| format!("web/s{number:02}")).collect();
        let all: Vec<Complaint> =
            names.iter().flat_map(|name| [complaint(name, "p"), complaint(name, "p")]).collect();
        complaints.due(&all, start);
        let mut told = Vec::new();
        let (mut now, mut rounds) = (start + SETTLED, 0);
        loop {
            let (due, next) = complaints.due(&all, now);
            assert!(due.len() <= SOME);
            told.extend(due.into_iter().map(|complaint| complaint.object));
            rounds += 1;
            match next {
                Some(next) => now = next,
                None => break,
            }
        }
        assert_eq!((rounds, told.len()), (3, 50));
        assert_eq!(now, start + SETTLED + PAUSE * 2);
    }
}
