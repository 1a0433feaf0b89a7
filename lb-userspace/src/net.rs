//! The node's network, as system calls see it: links and addresses, solicited-node groups, raw frames,
//! the clock, the capabilities of this process and the lock of one agent per bpffs.
//!
//! This is the only module that uses libc. It knows nothing of pools, Services or plans: values are interface
//! indexes, six-byte MAC addresses and `std::net` addresses, so that decisions stay in lb-core.
//!
//! Everything here is level-triggered: callers ask for the state of the kernel, compare, and ask again after a change.
//! Sockets are opened once and belong to the network namespace of the thread that opened them.

pub mod broadcast;
pub mod capabilities;
pub mod clock;
pub mod errno;
pub mod ethtool;
pub mod filters;
pub mod groups;
pub mod links;
pub mod lock;
pub mod memory;
pub mod netdev;
pub mod netlink;
pub mod probes;
pub mod raw;

mod ifreq;
