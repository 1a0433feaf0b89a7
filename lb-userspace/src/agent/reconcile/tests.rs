use std::net::IpAddr;

use lb_core::burst::{Announcement, Asked, Form};
use lb_core::ids::{Mac, NodeName, ServiceKey, Vlans};
use lb_core::plan::{AddressVerdict, Entry, HANDOVER, Verdict};

use super::*;
use crate::dataplane::ebpf::REST_NS;
use crate::dataplane::memory::Memory;

const RATE: NonZeroU32 = NonZeroU32::new(1_000_000).unwrap();
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const GRACE_NS: u64 = 60_000_000_000;

/// A node with the links 1 and 2, and a clock.
struct Node {
    reconciler: Reconciler<Memory>,
    planned: Planned,
    now_ns: u64,
}

fn target(link: u32, ip: &str) -> Target {
    Target { link: LinkId(link), vlans: Vlans::Untagged, ip: ip.parse().unwrap() }
}

fn facts(name: &str) -> LinkFacts {
    LinkFacts {
        name: name.to_owned(),
        driver: String::new(),
        strips_tags: false,
        loses_native: false,
        xdp: (None, None),
    }
}

impl Node {
    /// A node that has taken one step with nothing to announce.
    fn new(capacity: usize) -> Self {
        let up = Carrier { up: true, changes: 2 };
        let planned = Planned {
            tried: BTreeSet::new(),
            edited: false,
            plan: Arc::default(),
            carriers: [(LinkId(1), up), (LinkId(2), up)].into(),
            renewals: BTreeMap::new(),
            gateways: [(LinkId(1), ["192.0.2.254".parse().unwrap()].into())].into(),
            facts: [(LinkId(1), facts("eth0")), (LinkId(2), facts("eth1"))].into(),
        };
        let reconciler = Reconciler::new(Memory::new(capacity), RATE, None);
        let mut node = Self { reconciler, planned, now_ns: 1 };
        node.step();
        node
    }

    /// Plans these targets, owned by this node.
    fn want(&mut self, targets: &[Target]) {
        self.want_in(targets, EntryState::Answer);
    }

    fn want_in(&mut self, targets: &[Target], state: EntryState) {
        let desired = targets.iter().map(|target| (*target, Entry { mac: MAC, state })).collect();
        self.planned.plan = Arc::new(Plan { desired, ..Plan::default() });
    }

    /// A step as the agent takes it: the deadline is moved when it went well.
    fn step(&mut self) -> Reconciled {
        let clock = Clock { boot_ns: self.now_ns, monotonic: Duration::from_nanos(self.now_ns) };
        let done = self.reconciler.step(&self.planned, clock).unwrap();
        self.reconciler.dataplane().set_valid_until(self.now_ns + GRACE_NS).unwrap();
        done
    }

    fn pass(&mut self, time: Duration) {
        self.now_ns += u64::try_from(time.as_nanos()).unwrap();
    }

    /// The targets of which something is said now.
    fn announced(&mut self) -> BTreeSet<Target> {
        let due = self.reconciler.bursts().take_due(Duration::from_nanos(self.now_ns), usize::MAX);
        due.into_iter().map(|Announcement { target, .. }| target).collect()
    }

    /// What would be answered now.
    fn answers(&mut self, target: Target) -> bool {
        let now = self.now_ns;
        self.reconciler.dataplane().answer(&target, now) == Some(MAC)
    }

    /// Lets a burst end, with the deadline moved meanwhile.
    fn settle(&mut self) {
        self.pass(Duration::from_secs(6));
        while self.reconciler.bursts().next_deadline().is_some() {
            self.pass(Duration::from_secs(6));
            self.announced();
        }
        self.step();
    }
}

/// Both families on a link.
fn pair(link: u32) -> [Target; 2] {
    [target(link, "192.0.2.1"), target(link, "2001:db8::1")]
}

#[test]
fn what_is_gained_is_announced_and_what_is_lost_falls_silent() {
    let mut node = Node::new(9);
    node.want(&pair(1));
    let done = node.step();
    assert_eq!((done.changes.gained.len(), done.unanswered.len()), (2, 0));
    assert_eq!(node.announced(), pair(1).into());
    assert!(pair(1).into_iter().all(|target| node.answers(target)));
    node.step();
    assert_eq!(node.announced(), [].into(), "nothing has changed");

    node.want(&pair(1)[..1]);
    node.step();
    node.pass(Duration::from_secs(6));
    assert_eq!(node.announced(), [pair(1)[0]].into(), "the burst of the other one ended with it");
    node.want_in(&pair(1), EntryState::Standby);
    node.step();
    assert!(node.reconciler.bursts().is_empty(), "another node owns them now");
}

/// A burst that should never have been, because its target is not even planned, ends with the next step.
#[test]
fn bursts_follow_the_plan_and_not_the_difference() {
    let mut node = Node::new(9);
    for target in pair(1) {
        node.reconciler.bursts().start(target, Duration::ZERO);
    }
    node.step();
    assert!(node.reconciler.bursts().is_empty());
}

#[test]
fn a_link_without_a_program_announces_nothing_before_it_has_one() {
    let mut node = Node::new(9);
    node.reconciler.dataplane().refusing = [LinkId(1)].into();
    node.want(&[pair(1), pair(2)].concat());
    let done = node.step();
    let missing = pair(1).map(|target| (target, Silence::NotAttached { target }));
    assert_eq!(done.unanswered, missing.into(), "told with the reason");
    assert_eq!(node.announced(), pair(2).into());
    assert!(!node.answers(pair(1)[0]) && node.answers(pair(2)[0]));

    node.pass(Duration::from_secs(1));
    node.reconciler.dataplane().refusing.clear();
    let done = node.step();
    assert!(done.unanswered.is_empty() && done.changes.is_empty(), "the table held them all the time");
    let said = node.announced();
    assert!(pair(1).iter().all(|target| said.contains(target)), "{said:?}");

    node.settle();
    node.reconciler.dataplane().refusing = [LinkId(2)].into();
    assert_eq!(node.step().unanswered.len(), 2);
    assert_eq!(node.announced(), [].into());
    node.reconciler.dataplane().refusing.clear();
    node.step();
    assert_eq!(node.announced(), pair(2).into(), "it was away for a while");
}

#[test]
fn a_carrier_that_comes_up_announces_its_link() {
    let mut node = Node::new(9);
    node.want(&[pair(1), pair(2)].concat());
    node.step();
    node.settle();
    let carrier =
        |node: &mut Node, up, changes| node.planned.carriers.insert(LinkId(1), Carrier { up, changes });
    carrier(&mut node, false, 3);
    node.step();
    assert_eq!(node.announced(), [].into(), "it went");
    carrier(&mut node, true, 4);
    node.step();
    assert_eq!(node.announced(), pair(1).into(), "it came");
    node.settle();
    carrier(&mut node, true, 6);
    node.step();
    assert_eq!(node.announced(), pair(1).into(), "it went and came between two steps");
    node.settle();
    node.step();
    assert_eq!(node.announced(), [].into());
}

#[test]
fn a_table_that_had_fallen_silent_is_announced_again() {
    let mut node = Node::new(9);
    node.want(&pair(1));
    node.step();
    node.settle();
    node.pass(Duration::from_nanos(GRACE_NS - 1));
    assert!(node.answers(pair(1)[0]));
    node.step();
    assert_eq!(node.announced(), [].into(), "it was answered all the time");
    node.pass(Duration::from_nanos(GRACE_NS));
    assert!(!node.answers(pair(1)[0]));
    let done = node.step();
    assert!(done.changes.is_empty());
    assert_eq!(node.announced(), pair(1).into());
}

/// A restart: the table is adopted.
#[test]
fn the_next_agent_announces_only_what_was_silent() {
    for lapsed in [false, true] {
        let mut node = Node::new(9);
        node.want(&pair(1));
        node.step();
        if lapsed {
            node.pass(Duration::from_nanos(GRACE_NS));
        }
        let adopted = std::mem::take(node.reconciler.dataplane());
        node.reconciler = Reconciler::new(adopted, RATE, None);
        node.step();
        let expected = if lapsed { pair(1).into() } else { BTreeSet::new() };
        assert_eq!(node.announced(), expected, "lapsed: {lapsed}");
    }
}

#[test]
fn what_found_no_room_is_announced_when_it_does() {
    let mut node = Node::new(2);
    let (old, new) = (pair(1), [target(1, "192.0.2.2"), target(1, "2001:db8::2")]);
    node.want(&old);
    node.step();
    node.announced();
    node.want(&new);
    let done = node.step();
    assert_eq!(done.unanswered, new.map(|target| (target, Silence::NoRoom { target })).into(), "slots rest");
    assert_eq!(node.announced(), [].into());
    node.pass(Duration::from_nanos(REST_NS - 1));
    assert_eq!(node.step().unanswered.len(), 2, "a moment too early");
    node.pass(Duration::from_nanos(1));
    assert!(node.step().unanswered.is_empty());
    assert_eq!(node.announced(), new.into());
}

/// A Service with two addresses of which one found no room is not said to be announced.
#[test]
fn a_verdict_follows_what_is_answered() {
    let mut node = Node::new(1);
    node.want(&pair(1));
    let mut plan = node.planned.plan.as_ref().clone();
    let ips: [IpAddr; 2] = pair(1).map(|target| target.ip);
    let owned = ips.map(|ip| AddressVerdict { ip, verdict: Verdict::Owner });
    plan.services.insert("default/web".parse().unwrap(), owned.to_vec());
    let done = node.step();
    plan.shortfall(&done.unanswered);
    let verdicts: Vec<bool> =
        plan.services.values().flatten().map(|verdict| verdict.verdict == Verdict::Owner).collect();
    assert_eq!(verdicts, [true, false]);
    assert_eq!(plan.problems.len(), 1);
}

#[test]
fn everything_kept_is_repeated_at_the_interval() {
    let minute = Duration::from_mins(1);
    let mut node = Node::new(9);
    node.want(&pair(1));
    node.step();
    let adopted = std::mem::take(node.reconciler.dataplane());
    node.reconciler = Reconciler::new(adopted, RATE, Some(minute));
    node.step();
    assert_eq!(node.announced(), [].into(), "not at a restart");
    assert_eq!(node.reconciler.bursts().next_deadline(), Some(Duration::from_nanos(node.now_ns) + minute));
    node.pass(minute);
    let due = node.reconciler.bursts().take_due(Duration::from_nanos(node.now_ns), 9);
    let forms: Vec<Form> = due.iter().map(|announcement| announcement.form).collect();
    assert_eq!(forms, [Form::ArpRequest, Form::ArpReply, Form::NeighbourAdvertisement]);
    node.want(&[]);
    node.step();
    assert!(node.reconciler.bursts().is_empty());
}

#[test]
fn a_change_from_outside_is_counted_and_repaired() {
    let mut node = Node::new(9);
    node.want(&pair(1));
    node.step();
    assert_eq!(node.reconciler.audit().unwrap(), Audit::Whole);
    for target in pair(1) {
        node.reconciler.dataplane().table.remove(&target);
        assert_eq!(node.reconciler.audit().unwrap(), Audit::Changed);
        node.step();
        assert!(node.answers(target));
        assert_eq!(node.reconciler.audit().unwrap(), Audit::Whole);
    }
    assert_eq!(node.reconciler.repairs(), 2);
}

#[test]
fn where_others_may_have_been_heard_last_all_that_is_owned_is_announced_anew() {
    let mut node = Node::new(9);
    let standby = target(1, "192.0.2.9");
    let all: Vec<Target> = [pair(1), pair(2)].concat();
    node.want(&all);
    let plan = Arc::make_mut(&mut node.planned.plan);
    plan.desired.insert(standby, Entry { mac: MAC, state: EntryState::Standby });
    node.step();
    node.settle();
    for (renewals, expected) in [(0, [].into()), (1, pair(1).into()), (1, [].into()), (3, pair(1).into())] {
        node.planned.renewals = [(LinkId(1), renewals), (LinkId(2), 0)].into();
        node.step();
        assert_eq!(node.announced(), expected, "{renewals}");
        node.settle();
    }
    // A link that is watched anew counts from the beginning.
    node.planned.renewals = BTreeMap::new();
    node.step();
    node.planned.renewals = [(LinkId(1), 1)].into();
    node.step();
    assert_eq!(node.announced(), pair(1).into());
}

#[test]
fn what_an_edit_gives_to_another_node_is_answered_until_that_one_has_it() {
    let elsewhere =
        Verdict::Silent(Silence::NodeNotSelected { owner: Some(NodeName::new("node-b").unwrap()) });
    for edited in [true, false] {
        let mut node = Node::new(9);
        node.want(&pair(1));
        node.step();
        let verdicts = pair(1).map(|target| AddressVerdict { ip: target.ip, verdict: elsewhere.clone() });
        let services = BTreeMap::from([(ServiceKey::new("default", "web").unwrap(), verdicts.to_vec())]);
        node.planned.plan = Arc::new(Plan { services, ..Plan::default() });
        node.planned.edited = edited;
        let done = node.step();
        assert_eq!(pair(1).map(|target| node.answers(target)), [edited; 2]);
        assert_eq!((done.changes.lost.is_empty(), node.announced()), (edited, BTreeSet::new()));
        node.planned.edited = false;
        assert_eq!(node.reconciler.handovers().taken(&pair(1)[0]), edited);
        node.step();
        assert_eq!(pair(1).map(|target| node.answers(target)), [false, edited], "the other node has one");
        node.pass(HANDOVER);
        node.step();
        assert_eq!(pair(1).map(|target| node.answers(target)), [false; 2]);
    }
}

/// A table that was silent has nothing to hand over.
#[test]
fn nothing_is_handed_over_after_a_silence() {
    let mut node = Node::new(9);
    node.want(&pair(1));
    node.step();
    node.want_in(&pair(1), EntryState::Standby);
    node.planned.edited = true;
    node.pass(Duration::from_nanos(GRACE_NS));
    node.step();
    assert_eq!(pair(1).map(|target| node.answers(target)), [false; 2]);
}

#[test]
fn what_was_asked_for_is_announced_first() {
    let mut node = Node::new(99);
    let all: Vec<Target> = (1..9)
        .flat_map(|n| [format!("192.0.2.{n}"), format!("2001:db8::{n}")])
        .map(|ip| target(1, &ip))
        .collect();
    let asked = |at_ns, ip: &str| Asked { at_ns, mac: MAC, ip: ip.parse().unwrap() };
    node.reconciler.dataplane().asked = [
        (target(1, "192.0.2.5"), asked(7, "192.0.2.9")),
        (target(1, "2001:db8::6"), Asked { mac: Mac([2; 6]), ..asked(3, "192.0.2.254") }),
        (target(1, "2001:db8::7"), asked(8, "2001:db8::9")),
        (target(1, "192.0.2.200"), asked(9, "192.0.2.9")),
    ]
    .into();
    node.want(&all);
    let direct: Vec<Target> = node.step().direct.into_iter().map(|(target, _)| target).collect();
    assert_eq!(
        direct,
        [target(1, "2001:db8::7"), target(1, "192.0.2.5")],
        "not the requester of the other family"
    );
    let due = node.reconciler.bursts().take_due(Duration::from_nanos(node.now_ns), 5);
    let ips: Vec<String> = due.iter().map(|frame| frame.target.ip.to_string()).collect();
    assert_eq!(ips, ["2001:db8::6", "2001:db8::7", "192.0.2.5", "192.0.2.5", "192.0.2.1"]);
}
