//! Where objects come from when there is no cluster: a directory of manifests.
//!
//! ```text
//! DIR/*.yaml ── files ──> Objects ── decide ──> Config, Decisions, Services ──> plan
//!     │                                              ▲                            │
//!   watch: "look again"              restored addresses                           │
//!                                        └──────── DIR/status/ <── status ────────┘
//! ```
//!
//! [`files`] reads, [`watch`] says when to read again, [`decide`] allocates, [`status`] writes what came of it
//! and reads it back after a restart. Everything wrong on the way is a [`Problem`] with the place where it was
//! written; nothing wrong in one place stops anything in another, and what an object said before it became
//! unreadable stays in force.

pub mod decide;
pub mod files;
pub mod problem;
pub mod status;
pub mod watch;

pub use problem::{FileError, ObjectError, Problem, Reason};
