//! Level 3, case S46: how often a member may ask. What happens to single probes show the conformance vectors.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::thread::sleep;
use std::time::Duration;

use lb_common::abi::{MEMBER_RATE, MEMBER_WINDOW_NS};
use lb_common::outcome::Outcome;
use lb_test::conformance::responder::{Program, Responder};
use lb_test::conformance::vectors::parse::{Case, vectors};

/// Test runs come in by the loopback link.
const LINK: u32 = 1;

fn vector(id: &str) -> Case {
    vectors().unwrap().cases.into_iter().find(|case| case.id == id).unwrap()
}

fn counted(responder: &Responder, outcome: Outcome) -> u64 {
    responder.outcomes().unwrap()[usize::try_from(outcome.index()).unwrap()]
}

/// What is too much in one second is handed to the stack as it came, another member is reflected meanwhile, and in the next
/// second so is the first.
#[test]
#[ignore = "needs root: loads BPF programs"]
fn a_member_is_reflected_so_often_in_a_second() {
    lb_test::shows!("S46");
    let (v4, v6) = (vector("S01.v4"), vector("S01.v6"));
    for program in Program::ALL {
        for (asking, other) in [(&v4, &v6), (&v6, &v4)] {
            let mut responder = Responder::load().unwrap();
            responder.arrange(asking, LINK).unwrap();
            let ask = |case: &Case| responder.run(program, &case.frame).unwrap();
            // However slow the machine: so many that some second has more of them than there may be.
            let mut refused = None;
            for _ in 0..20 * MEMBER_RATE {
                let ran = ask(asking);
                if !ran.sent_back {
                    refused = Some(ran);
                    break;
                }
                assert_eq!(Some(ran.bytes), asking.reply);
            }
            let refused = refused.unwrap();
            assert_eq!(refused.bytes, asking.frame, "{}", program.name());
            assert_eq!(counted(&responder, Outcome::BfdRate), 1);
            let reflected = counted(&responder, Outcome::BfdReply);
            assert!(reflected >= u64::from(MEMBER_RATE), "{}: only {reflected}", program.name());
            assert!(ask(other).sent_back, "{}: another one asks for the first time", program.name());
            // A tick of the kernel's clock more.
            sleep(Duration::from_nanos(MEMBER_WINDOW_NS) + Duration::from_millis(20));
            assert!(ask(asking).sent_back, "{}: the next second", program.name());
        }
    }
}
