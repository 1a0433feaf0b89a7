//! All cases.

use std::time::Duration;

use super::fault::Fault;
use super::trial::{Background, Case};
use crate::rig::Way;

/// Longer than the slowest system needs: a Lease of 17 s.
const LONG: Duration = Duration::from_secs(25);
const SHORT: Duration = Duration::from_millis(500);
/// Longer than two nodes answer after a hand-over.
const HANDED: Duration = Duration::from_secs(3);

const DEATH: Fault = Fault::Cut { way: Way::Both, nodes: 1 };

/// The case that most is said about.
pub const MAIN: &str = "death";

/// In the order of the tables.
pub const CASES: &[Case] = &[
    calm(MAIN, "silent death: nothing comes from the node and nothing reaches it", DEATH),
    calm(
        "death-from",
        "silent death one way: nothing comes from the node any more",
        Fault::Cut { way: Way::FromNode, nodes: 1 },
    ),
    calm(
        "death-to",
        "silent death the other way: nothing reaches the node any more",
        Fault::Cut { way: Way::ToNode, nodes: 1 },
    ),
    calm(
        "two-deaths",
        "two of three nodes die together: the owner and the next in order",
        Fault::Cut { way: Way::Both, nodes: 2 },
    ),
    calm("link-down", "the link goes down inside the node", Fault::LinkDown),
    calm("carrier", "the cable is pulled for a quarter of a second: the node has no carrier", Fault::Unplug),
    calm("freeze", "SIGSTOP to the daemon", Fault::Freeze),
    calm("kill", "SIGKILL to the daemon, which is started again a second later", Fault::Kill),
    Case {
        after: HANDED,
        ..calm("hand-over", "the node hands over: drained, or the daemon ended in order", Fault::HandOver)
    },
    Case {
        after: HANDED,
        ..calm("heal", "a node that was cut off comes back after another one has taken over", Fault::Return)
    },
    Case {
        background: Background::Loss(50),
        ..calm("death-at-5", "silent death while every node's port loses 5 % each way", DEATH)
    },
    Case {
        background: Background::Loss(200),
        ..calm("death-at-20", "silent death while every node's port loses 20 % each way", DEATH)
    },
    Case {
        background: Background::Busy,
        ..calm("death-busy", "silent death while all processors are busy", DEATH)
    },
    Case {
        background: Background::NoApi,
        ..calm("death-no-api", "silent death while the API server is away", DEATH)
    },
    Case {
        crowded: true,
        ..calm("death-of-10000", "silent death of a node with 10,000 addresses: the last of them", DEATH)
    },
];

/// A case by its name.
pub fn case(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

const fn calm(name: &'static str, what: &'static str, fault: Fault) -> Case {
    Case { name, what, background: Background::Calm, crowded: false, fault, limit: LONG, after: SHORT }
}
