//! The log of the program as a process: for collectors each line is a JSON object, to the last.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use serde_json::Value;

/// A controller and an agent that can't find their cluster.
fn lost(arguments: &[&str]) -> [Output; 2] {
    ["controller", "agent"].map(|verb| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_barelb"));
        command.args([verb, "--kubeconfig", "/does/not/exist"]).args(arguments);
        for variable in ["LB_LOG", "LB_LOG_FORMAT", "LB_STANDALONE", "RUST_BACKTRACE"] {
            command.env_remove(variable);
        }
        command.output().unwrap()
    })
}

#[test]
fn every_line_is_an_object_for_collectors() {
    for output in lost(&["--log-format", "json"]) {
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        let text = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = lines.last().unwrap();
        assert_eq!(
            (&last["level"], &last["message"]),
            (&"ERROR".into(), &"ended by an error".into()),
            "{text}"
        );
        assert!(last["target"].as_str().unwrap().starts_with("lb_userspace"), "{text}");
        let told = last.to_string();
        assert!(told.contains("/does/not/exist") && !last["error.sources"][0].is_null(), "{text}");
    }
}

#[test]
fn people_get_text() {
    for output in lost(&[]) {
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("/does/not/exist") && text.contains("Caused by:"), "{text}");
        assert!(!text.contains("{\""), "{text}");
    }
}

#[test]
fn a_filter_that_is_none_is_told_at_once() {
    for output in lost(&["--log", "inof"]) {
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("info,lb_userspace::agent=debug"), "{text}");
    }
}
