//! The node agent: from objects and links to the table, its deadline, announcements and group memberships.
//!
//! ```text
//! source ──────────┐                      ┌─ apply ─> data plane (map, links)
//! links (netlink) ┼─> Snapshot ─ plan ─ diff ─ gained ─> bursts ─> raw socket
//! timer ──────────┘                      └─ groups ─> kernel joins
//! ```
//!
//! One task does all of it, level-triggered: every cause leads to the same full recompute. What may take long, reading
//! objects, listing links, planning and writing statuses, is done beside it. The deadline of the table is moved by that
//! same task and only after a step went well, so an agent that hangs, starves or can't remove an entry falls silent by
//! itself.

pub mod addresses;
mod admin;
mod announce;
mod audit;
mod barred;
mod cluster;
mod deadline;
mod driver;
mod events;
mod handover;
mod kept;
mod links;
mod membership;
pub mod metrics;
mod prober;
mod reconcile;
mod report;
mod run;
pub mod secret;
pub mod sessions;
mod source;
mod standalone;
pub mod state;
mod step;
mod survey;
mod task;
mod worker;

pub use cluster::{Cluster, ClusterRules, ClusterSettings, Onlooker, glance};
pub use deadline::Deadline;
pub use metrics::{Metrics, Telemetry};
pub use prober::{FailoverSettings, Refused};
pub use reconcile::{Carrier, Clock, Planned, Reconciled, Reconciler};
pub use run::{OnExit, Settings, run};
pub use source::Source;
pub use standalone::{Standalone, StandaloneSettings};
