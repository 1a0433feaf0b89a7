//! What a controller would make of a cluster if all its writes succeeded: passes, and what they want written entered into the
//! cluster as it is known, until nothing is to be written any more. Nothing leaves this process.

use std::collections::BTreeMap;

use lb_core::allocator::Notice;
use lb_core::ids::ServiceKey;

use super::decide::{Decided, Decider};
use super::outcome::{self, Change, FROM_POOL, OLD_FROM_POOL};
use crate::source::kubernetes::{Cluster, SeenIngress, SeenService};

/// Passes after which it is left as it is: who still wants something written then would never come to rest.
const PASSES: usize = 1000;

/// Lets the controller work on the cluster until it has nothing to do, and returns what it has decided then; with each
/// decision all that was noticed on the way.
pub fn foresee(decider: &mut Decider, cluster: &mut Cluster, lb_class: Option<&str>) -> Decided {
    let mut notices: BTreeMap<ServiceKey, Vec<Notice>> = BTreeMap::new();
    let mut passes = 0;
    loop {
        cluster.dress();
        let mut decided = decider.decide(cluster, lb_class);
        for (key, decision) in &decided.decisions {
            let known = notices.entry(key.clone()).or_default();
            let news = decision.notices.iter().filter(|notice| !known.contains(notice));
            let news: Vec<Notice> = news.cloned().collect();
            known.extend(news);
        }
        passes += 1;
        if write(&decided, cluster) == 0 || passes == PASSES {
            for (key, decision) in &mut decided.decisions {
                decision.notices = notices.remove(key).unwrap_or_default();
            }
            return decided;
        }
    }
}

/// Enters what is to be written; tells how much that was.
fn write(decided: &Decided, cluster: &mut Cluster) -> usize {
    let written = cluster.services().iter().filter_map(|(key, seen)| {
        let change = outcome::change(decided, key, seen)?;
        Some((key.clone(), carried_out(seen, change)))
    });
    let written: Vec<(ServiceKey, SeenService)> = written.collect();
    let count = written.len();
    for (key, seen) in written {
        cluster.suppose(key, seen);
    }
    count
}

/// The Service as it is after the write.
fn carried_out(seen: &SeenService, change: Change) -> SeenService {
    let mut after = seen.clone();
    after.spec.annotations.remove(OLD_FROM_POOL);
    match change {
        Change::Set { addresses, pool } => {
            after.ingress = addresses.iter().map(|ip| SeenIngress { ip: Some(ip), plain: true }).collect();
            after.spec.annotations.insert(FROM_POOL.to_owned(), pool.to_string());
        }
        Change::Clear => {
            after.ingress.clear();
            after.spec.annotations.remove(FROM_POOL);
        }
        Change::DropOldAnnotation => {}
    }
    after.spec.ingress = after.ingress.iter().filter_map(|entry| entry.ip).map(|ip| ip.to_string()).collect();
    after
}
