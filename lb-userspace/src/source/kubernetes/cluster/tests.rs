use serde_json::{Value, json};

use super::*;
use crate::source::kubernetes::read;

fn meta(uid: &str, version: u32) -> Value {
    json!({"namespace": "default", "name": "a", "uid": uid, "resourceVersion": version.to_string()})
}

fn service(uid: &str, version: u32) -> Seen {
    let object = json!({"metadata": meta(uid, version), "spec": {"type": "LoadBalancer"}});
    Seen::Service(Change::Applied(read::service(serde_json::from_value(object).unwrap())))
}

fn pool(uid: &str, version: u32) -> Seen {
    let object = json!({"metadata": meta(uid, version), "spec": {"addresses": ["192.0.2.0/28"]}});
    Seen::Pool(Change::Applied(read::pool(serde_json::from_value(object).unwrap())))
}

fn deleted(seen: Seen) -> Seen {
    if let Seen::Service(Change::Applied(item)) = seen {
        Seen::Service(Change::Deleted(item))
    } else if let Seen::Pool(Change::Applied(item)) = seen {
        Seen::Pool(Change::Deleted(item))
    } else {
        seen
    }
}

fn versions(cluster: &Cluster) -> Vec<String> {
    let services = cluster.services().values().map(|seen| &seen.meta);
    let pools = cluster.pools().values().map(|seen| &seen.meta);
    services.chain(pools).map(|meta| format!("{} {}", meta.uid, meta.version)).collect()
}

/// The answer to a write can come after what the watch has shown since.
#[test]
fn an_answer_is_news_only_of_what_is_known_and_older() {
    type Make = fn(&str, u32) -> Seen;
    for make in [service as Make, pool] {
        let mut cluster = Cluster::default();
        assert!(!cluster.answer(make("x", 2)) && versions(&cluster).is_empty(), "not known (any more)");
        assert!(cluster.apply(make("x", 1)));
        assert!(cluster.answer(make("x", 3)));
        assert!(!cluster.answer(make("x", 2)) && !cluster.answer(make("x", 3)));
        assert_eq!(versions(&cluster), ["x 3"]);
        assert!(cluster.apply(deleted(make("x", 3))));
        assert!(!cluster.answer(make("x", 4)) && versions(&cluster).is_empty(), "deleted");
        assert!(cluster.apply(make("y", 5)));
        assert!(!cluster.answer(make("x", 4)), "made anew");
        assert_eq!(versions(&cluster), ["y 5"]);
    }
}
