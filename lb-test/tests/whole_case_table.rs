//! The combined case table, of all levels run before; its name puts it behind them. It is left in
//! `conformance/table.txt` in cargo's folder for temporary files of tests.
#![expect(clippy::print_stdout, reason = "prints the case table")]

use std::path::Path;

use lb_test::conformance::vectors::table::combined;

#[test]
#[ignore = "collects what the tests of level 3 and 4 leave, which need root"]
fn combined_case_table() {
    match combined(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(table) => println!("{table}"),
        Err(failed) => panic!("\n{failed}"),
    }
}
