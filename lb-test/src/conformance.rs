//! The conformance vectors against the programs in the kernel.
//!
//! The vectors and their reader lie in `lb-common/tests/vectors`; [`responder`] loads the BPF object with maps of its
//! own, fills them as a case says, and reads back what the program noted; [`cable`] attaches it between namespaces.

pub mod cable;
pub mod responder;
#[path = "../../lb-common/tests/vectors/set.rs"]
pub mod vectors;

/// At the start of a test: it shows these rows of the conformance table, if it passes.
#[macro_export]
macro_rules! shows {
    ($($row:literal),+) => {
        let _proof = $crate::conformance::vectors::table::Proof::of(
            &[$($row),+],
            std::path::Path::new(env!("CARGO_TARGET_TMPDIR")),
        );
    };
}
