//! The conformance vectors against the programs in the kernel.
//!
//! The vectors and their reader lie in `lb-common/tests/vectors`; [`responder`] loads the BPF object with maps of its
//! own, fills them as a case says, and reads back what the program noted; [`cable`] attaches it between namespaces.

pub mod cable;
pub mod responder;
#[path = "../../lb-common/tests/vectors/set.rs"]
pub mod vectors;
