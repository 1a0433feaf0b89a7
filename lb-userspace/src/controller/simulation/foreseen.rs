//! What is foreseen is what happens: a look at the objects says what the controller writes once it has seen them.

use super::{super::foresee::foresee, *};

/// What somebody does to the objects, who looks first what comes of it.
fn edit() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..SERVICES, 0..8_u8).prop_map(|(name, form)| Step::Service(name, form)),
        1 => (0..SERVICES).prop_map(Step::DeleteService),
        3 => (0..POOLS, 0..6_u8).prop_map(|(name, form)| Step::Pool(name, form)),
        1 => (0..POOLS).prop_map(Step::DeletePool),
    ]
}

fn make(server: &Shared, step: &Step) {
    server.with(|server| match step {
        Step::Service(name, form) => server.put_service(*name, *form),
        Step::DeleteService(name) => server.delete(Kind::Service, *name),
        Step::Pool(name, form) => server.put_pool(*name, *form),
        Step::DeletePool(name) => server.delete(Kind::Pool, *name),
        Step::WipeStatus(_)
        | Step::Deliver(..)
        | Step::Relist(_)
        | Step::Pass
        | Step::Work(..)
        | Step::Prompt(_)
        | Step::Restart
        | Step::Settle => panic!("{step:?} is no edit"),
    });
}

/// The addresses of all Services, as somebody sees them who knows this.
fn shown(cluster: &Cluster) -> BTreeMap<String, Vec<String>> {
    let all = cluster.services().iter();
    all.map(|(key, seen)| (key.name().to_owned(), seen.spec.ingress.clone())).collect()
}

async fn compare(first: Vec<Step>, then: Vec<Step>) -> Result<(), TestCaseError> {
    let server = Shared::default();
    let mut replica = Replica::start(&server);
    for step in &first {
        make(&server, step);
    }
    replica.settle().await;
    let mut seer = Replica::start(&server);
    let now = foresee(&mut seer.decider, &mut seer.cluster, None);
    // Of a pool that is wrong something is in force that only the controller knows.
    prop_assume!(now.problems.is_empty());
    prop_assert_eq!(shown(&seer.cluster), server.with(|server| server.held()), "nothing is to be done");
    for step in &then {
        make(&server, step);
    }
    for kind in KINDS {
        seer.relist(kind);
    }
    foresee(&mut seer.decider, &mut seer.cluster, None);
    replica.settle().await;
    let story = server.with(|server| server.describe());
    prop_assert_eq!(shown(&seer.cluster), server.with(|server| server.held()), "{}", story);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_foreseen_happens(
        first in proptest::collection::vec(edit(), 1..20),
        then in proptest::collection::vec(edit(), 1..6),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(compare(first, then))?;
    }
}
