//! What the agent finds out beside its own task: the links, what the plan makes of them and of the objects, and the
//! facts the data plane wants to know.
//!
//! All of it may take long, the kernel's lists because somebody holds its lock, the plan because there are 100,000
//! addresses. It only looks; what follows from it is done by the agent's task.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use lb_core::election::Orders;
use lb_core::eligibility::own_addresses;
use lb_core::ids::{LinkId, LinkName, NodeName, Vlans};
use lb_core::membership::{LinkReport, report};
use lb_core::plan::{Plan, Snapshot, Target, replan};

use super::links;
use super::membership::{self, Memberships};
use super::prober::Seen;
use super::reconcile::Planned;
use crate::net::links::{Link, Links};
use crate::net::netlink::NetlinkError;
use crate::source::decide::Decided;

/// What a survey starts from.
pub(super) struct Question {
    pub(super) links: Arc<Links>,
    /// The links as they were, for when they can't be listed.
    pub(super) known: Arc<BTreeMap<u32, Link>>,
    /// The links may be others than before.
    pub(super) relist: bool,
    pub(super) decided: Option<Arc<Decided>>,
    /// Who is there; `None`: all that are alive.
    pub(super) seen: Option<Arc<Seen>>,
    pub(super) me: NodeName,
    pub(super) allowed: BTreeSet<LinkName>,
    pub(super) ignore_exclude_label: bool,
    pub(super) losing: BTreeSet<LinkId>,
    /// Links to attach to in any case.
    pub(super) tried: BTreeSet<LinkId>,
    /// Those of the surveys before.
    pub(super) orders: Orders,
}

/// What it found.
pub(super) struct Survey {
    /// The links now; those known before where they can't be listed.
    pub(super) links: Result<Arc<BTreeMap<u32, Link>>, NetlinkError>,
    /// Addresses by which this machine is reached, and what the links can do; `None`: it can't be said this time.
    pub(super) here: Option<(BTreeSet<IpAddr>, Vec<LinkReport>)>,
    /// What follows from objects and links. `None` before the objects were read, and while no link is known.
    pub(super) prospect: Option<Prospect>,
    /// For the next survey.
    pub(super) orders: Orders,
}

/// What is to be done, and what it was decided from.
pub(super) struct Prospect {
    pub(super) decided: Arc<Decided>,
    pub(super) seen: Option<Arc<Seen>>,
    pub(super) planned: Planned,
    pub(super) memberships: Memberships,
    /// Hash of what the plan says about each Service: equal when its statuses need not be written again.
    pub(super) verdicts: u64,
}

/// Looks at everything.
pub(super) async fn survey(mut question: Question) -> Survey {
    let listed = if question.relist || question.known.is_empty() {
        question.links.snapshot().await.map(Arc::new)
    } else {
        Ok(Arc::clone(&question.known))
    };
    let present = listed.as_ref().map_or_else(|_| Arc::clone(&question.known), Arc::clone);
    let answer = tokio::task::spawn_blocking(move || {
        let links = links::planned(&present);
        let own = own_addresses(&links, &question.allowed);
        let report = report(&links, &question.allowed);
        let prospect = if present.is_empty() { None } else { look_ahead(&mut question, &present) };
        (own, report, prospect, question.orders)
    });
    match answer.await {
        Ok((own, report, prospect, orders)) => {
            Survey { links: listed, here: Some((own, report)), prospect, orders }
        }
        Err(error) => {
            Survey { links: Err(error.into()), here: None, prospect: None, orders: Orders::default() }
        }
    }
}

fn look_ahead(question: &mut Question, present: &BTreeMap<u32, Link>) -> Option<Prospect> {
    let decided = Arc::clone(question.decided.as_ref()?);
    let snapshot = Snapshot {
        me: question.me.clone(),
        nodes: decided.nodes.clone(),
        services: Arc::clone(&decided.services),
        config: Arc::clone(&decided.config),
        links: links::planned(present),
        allowed: question.allowed.clone(),
        ignore_exclude_label: question.ignore_exclude_label,
        rivals: Arc::clone(&decided.rivals),
        standing: question.seen.as_ref().map(|seen| Arc::clone(&seen.standing)),
        only: decided.only.clone(),
    };
    let plan = replan(&snapshot, &mut question.orders);
    let tagged = plan.desired.keys().filter(|target| is_tagged(target)).map(|target| target.link).collect();
    let facts = links::facts(present, &tagged, &question.losing);
    let memberships = membership::wanted(&plan, present);
    let verdicts = fingerprint(&plan);
    let carriers = links::carriers(present);
    let renewals = question.seen.as_ref().map(|seen| seen.renewals.clone()).unwrap_or_default();
    Some(Prospect {
        decided,
        seen: question.seen.clone(),
        planned: Planned {
            plan: Arc::new(plan),
            carriers,
            renewals,
            gateways: links::gateways(present),
            facts,
            tried: question.tried.clone(),
            edited: false,
        },
        memberships,
        verdicts,
    })
}

fn is_tagged(target: &Target) -> bool {
    target.vlans != Vlans::Untagged
}

fn fingerprint(plan: &Plan) -> u64 {
    let mut hasher = DefaultHasher::new();
    plan.services.hash(&mut hasher);
    let said = plan.problems.iter().chain(&plan.complaints);
    said.for_each(|problem| problem.to_string().hash(&mut hasher));
    hasher.finish()
}
