//! The controller against an API server that is a few values: restarts, late and lost watches, lost answers, edits.
//!
//! What must hold: no address is ever written into a status while that of a Service which may not share it shows it;
//! when everything has settled, a restart writes nothing; no Service loses an address whose pool has not changed.

use std::{collections::BTreeMap, time::Duration};

use prometheus_client::registry::Registry;
use proptest::prelude::*;
use tokio::time::{Instant, timeout};

use super::{
    decide::{Decider, waits_for},
    desk::Desk,
    metrics::Metrics,
    run,
};
use crate::source::kubernetes::{Cluster, Kind, Seen};

mod foreseen;
mod server;

use server::{Fault, Settlement, Shared};

/// Kinds whose watches are played.
const KINDS: [Kind; 2] = [Kind::Service, Kind::Pool];
const SERVICES: u8 = 6;
const POOLS: u8 = 3;

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    /// A Service is made, or its spec edited, to this form.
    Service(u8, u8),
    DeleteService(u8),
    WipeStatus(u8),
    /// A pool is made or edited to these addresses.
    Pool(u8, u8),
    DeletePool(u8),
    /// A watch shows so many changes.
    Deliver(usize, usize),
    /// A watch is lost, and begins with a list.
    Relist(usize),
    Pass,
    /// Writes go on for so many milliseconds, the next ones with these faults.
    Work(u64, Vec<Fault>),
    /// From now on answers to writes are taken in at once or, with `false`, after other things.
    Prompt(bool),
    Restart,
    /// Nothing is lost any more until nothing happens any more.
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::Slow),
        1 => Just(Fault::LostBefore),
        1 => Just(Fault::LostAfter),
        1 => Just(Fault::Conflict),
    ];
    prop_oneof![
        5 => (0..SERVICES, 0..8_u8).prop_map(|(name, form)| Step::Service(name, form)),
        2 => (0..SERVICES).prop_map(Step::DeleteService),
        1 => (0..SERVICES).prop_map(Step::WipeStatus),
        3 => (0..POOLS, 0..6_u8).prop_map(|(name, form)| Step::Pool(name, form)),
        1 => (0..POOLS).prop_map(Step::DeletePool),
        5 => (0..KINDS.len(), 1..6_usize).prop_map(|(kind, count)| Step::Deliver(kind, count)),
        1 => (0..KINDS.len()).prop_map(Step::Relist),
        5 => Just(Step::Pass),
        5 => (0..3000_u64, proptest::collection::vec(fault, 0..4)).prop_map(|(time, faults)| Step::Work(time, faults)),
        1 => any::<bool>().prop_map(Step::Prompt),
        1 => Just(Step::Restart),
        2 => Just(Step::Settle),
    ]
}

/// A controller, as far as it decides and writes.
struct Replica {
    server: Shared,
    cluster: Cluster,
    decider: Decider,
    desk: Desk<Shared>,
    /// How far each watch has come.
    seen: BTreeMap<Kind, usize>,
    /// Answers that have come and are not taken in yet.
    answers: Vec<Seen>,
    prompt: bool,
}

impl Replica {
    fn start(server: &Shared) -> Self {
        let permit = Box::new(|| Some(Instant::now() + Duration::from_secs(10)));
        let mut replica = Self {
            server: server.clone(),
            cluster: Cluster::default(),
            decider: Decider::default(),
            desk: Desk::new(server.clone(), permit, Metrics::new(&mut Registry::default())),
            seen: BTreeMap::new(),
            answers: Vec::new(),
            prompt: true,
        };
        for kind in
            [Kind::Namespace, Kind::Node, Kind::Advertisement, Kind::ConfigMap, Kind::Service, Kind::Pool]
        {
            replica.relist(kind);
        }
        assert_eq!(waits_for(&replica.cluster), []);
        replica
    }

    fn relist(&mut self, kind: Kind) {
        let (list, end) = self.server.with(|server| server.list(kind));
        for seen in list {
            self.cluster.apply(seen);
        }
        self.seen.insert(kind, end);
    }

    fn deliver(&mut self, kind: Kind, count: usize) {
        let from = self.seen.get(&kind).copied().unwrap_or_default();
        let (news, end) = self.server.with(|server| server.since(kind, from, count));
        for seen in news {
            self.cluster.apply(seen);
        }
        self.seen.insert(kind, end);
    }

    /// As the controller's loop makes one, without what is told; returns how many Services are to be written, and
    /// whether all of the configuration is in force.
    fn pass(&mut self) -> (usize, bool) {
        for answer in self.answers.drain(..) {
            self.cluster.answer(answer);
        }
        self.cluster.dress();
        let decided = self.decider.decide(&self.cluster, None);
        let writes = run::services(&decided, &self.cluster);
        let count = writes.len();
        self.desk.know(|target| run::known(target, &self.cluster));
        self.desk.want(writes);
        (count, decided.problems.is_empty())
    }

    async fn work(&mut self, long: Duration) {
        let end = Instant::now() + long;
        while let Ok(landed) = timeout(end - Instant::now(), self.desk.next()).await {
            match landed.result {
                Ok(seen) if self.prompt => {
                    self.cluster.answer(seen);
                }
                Ok(seen) => self.answers.push(seen),
                Err(_) => {}
            }
        }
    }

    async fn settle(&mut self) {
        self.server.with(|server| server.faults.clear());
        for _ in 0..40 {
            for kind in KINDS {
                self.deliver(kind, usize::MAX);
            }
            if self.pass().0 == 0 && self.desk.is_empty() {
                return;
            }
            // Longer than an API server works on a request whose answer was lost.
            self.work(Duration::from_secs(10)).await;
        }
        panic!("it does not come to rest: {}", self.server.with(|server| server.describe()));
    }
}

async fn play(steps: Vec<Step>) {
    let server = Shared::default();
    let mut replica = Replica::start(&server);
    let mut forgot = false;
    let mut settled = server.with(|server| server.settlement());
    for step in steps.into_iter().chain([Step::Settle]) {
        match step {
            Step::Service(name, form) => server.with(|server| server.put_service(name, form)),
            Step::DeleteService(name) => server.with(|server| server.delete(Kind::Service, name)),
            Step::WipeStatus(name) => server.with(|server| server.wipe(name)),
            Step::Pool(name, form) => server.with(|server| server.put_pool(name, form)),
            Step::DeletePool(name) => server.with(|server| server.delete(Kind::Pool, name)),
            Step::Deliver(kind, count) => replica.deliver(KINDS[kind], count),
            Step::Relist(kind) => replica.relist(KINDS[kind]),
            Step::Pass => {
                replica.pass();
            }
            Step::Work(time, faults) => {
                server.with(|server| server.faults = faults);
                replica.work(Duration::from_millis(time)).await;
            }
            Step::Prompt(prompt) => replica.prompt = prompt,
            Step::Restart => {
                replica = Replica::start(&server);
                // What was in force of a pool that is wrong now is known to nobody any more.
                forgot |= !replica.pass().1;
            }
            Step::Settle => {
                replica.settle().await;
                let now = server.with(|server| server.settlement());
                let story = server.with(|server| server.describe());
                if !forgot {
                    settled.assert_kept(&now, &story);
                }
                let (writes, valid) = Replica::start(&server).pass();
                // Of a pool that is wrong an earlier form is in force, and ends when that becomes possible.
                (settled, forgot) = (if valid { now } else { Settlement::default() }, false);
                assert!(writes == 0 || !valid, "a restart makes {writes} writes: {story}");
            }
        }
    }
}

fn run_steps(steps: Vec<Step>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(play(steps));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_address_has_two_owners_and_none_is_lost(steps in proptest::collection::vec(step(), 1..60)) {
        run_steps(steps);
    }
}
