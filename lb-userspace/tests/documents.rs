//! The tests that docs/compatibility.md and docs/facts.md name exist.

use std::{fs, path::Path};

#[test]
fn every_row_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for document in ["docs/compatibility.md", "docs/facts.md"] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| ") && !is_head(line));
        let mut count = 0;
        for row in rows {
            // The last file and the name after it, both in backquotes.
            let parts: Vec<&str> = row.split('`').collect();
            let file = parts
                .iter()
                .rposition(|part| Path::new(part).extension().is_some_and(|extension| extension == "rs"));
            let file = file.unwrap_or_else(|| panic!("{document} has a row without a test: {row}"));
            let (path, name) = (parts[file], parts[file + 2]);
            let source =
                fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            // Also in a module inside the file.
            let source: Vec<&str> = source.lines().map(str::trim_start).collect();
            let ways = [("#[test]", "fn"), ("#[tokio::test(start_paused = true)]", "async fn")];
            let exists = source.windows(2).any(|lines| {
                ways.iter().any(|(attribute, kind)| {
                    lines[0] == *attribute && lines[1].starts_with(&format!("{kind} {name}()"))
                })
            });
            assert!(exists, "{document} names {name}, which is no test of {path}");
            count += 1;
        }
        assert!(count > 20, "{document} has {count} rows");
    }
}

fn is_head(line: &str) -> bool {
    line.starts_with("| Case |") || line.starts_with("| Fact |")
}
