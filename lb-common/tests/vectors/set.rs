//! The conformance vectors: read (`parse`), multiplied (`series`), and what came of them (`table`).
//!
//! Included by path wherever vectors are run: tests of this crate, `lb-test` and the fuzzer.

pub mod parse;
pub mod series;
pub mod table;
