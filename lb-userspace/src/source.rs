//! Where objects come from when there is no cluster: a directory of manifests.
//!
//! ```text
//! DIR/*.yaml ── files ──> in_force ── decide ──> Config, Decisions, Services ──> plan
//!     │                       ▲           ▲                                        │
//!   watch: "look again"   memory in    addresses                                   │
//!                      the state dir      └─────── DIR/status/ <── status ─────────┘
//! ```
//!
//! [`files`] reads, [`watch`] says when to read again, [`in_force`] chooses what counts of each object, [`decide`]
//! allocates, [`status`] writes what came of it, [`memory`] keeps what is in force over a restart. Everything wrong on
//! the way is a [`Problem`] with the place where it was written; nothing wrong in one place stops anything in another,
//! and what an object said before it became unreadable stays in force (docs/adr/0005-in-force.md).

pub mod decide;
pub mod files;
pub mod in_force;
pub mod kubernetes;
pub mod memory;
pub mod overlay;
pub mod problem;
pub(crate) mod replace;
pub mod status;
pub mod watch;

pub use problem::{FileError, ObjectError, Problem, Reason};
