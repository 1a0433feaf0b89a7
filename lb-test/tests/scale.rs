//! Many addresses: everything is there, and nothing is written twice. Needs root: see the README.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and shows figures")]

use lb_test::agent::barelb;
use lb_test::bench::agent::measure;

#[test]
#[ignore = "needs root: makes network namespaces"]
fn costs() {
    for addresses in std::env::var("N").map_or(vec![10, 100_000], |n| vec![n.parse().unwrap()]) {
        println!("{:#?}", measure(&barelb().unwrap(), addresses).unwrap());
    }
}
