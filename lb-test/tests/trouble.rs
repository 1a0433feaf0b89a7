//! L5: what may be seen of trouble, case by case: docs/reliability.md. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;
use std::thread;

use lb_test::trouble::{Case, KINDS};

/// Clusters at a time and kind; they wait for most of their time.
const AT_ONCE: usize = 2;

/// Runs all cases of a kind, some at a time, each in a cluster of its own.
fn run(kind: &str) {
    let (_, cases) = KINDS.into_iter().find(|(name, _)| *name == kind).unwrap();
    let (left, failures) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    let next = || left.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = next() {
                    if let Err(error) = judge(case) {
                        failures.lock().unwrap().push(format!("{error:#}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn judge(case: &Case) -> anyhow::Result<()> {
    let seen = case.run()?;
    #[expect(clippy::print_stdout, reason = "shown with --nocapture")]
    {
        println!("{}: {seen:?}", case.name);
    }
    case.judge(&seen)
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_trouble_with_agents_and_their_nodes() {
    run("agents");
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_trouble_with_the_api_server_and_its_store() {
    run("servers");
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_trouble_with_objects() {
    run("objects");
}
