use std::error::Error;
use std::io::Write;
use std::sync::{Arc, Mutex};

use clap::Parser;
use serde_json::{Value, json};

use super::*;

/// Where a log is written to.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    logging: Logging,
}

fn logging(arguments: &[&str]) -> Logging {
    Flags::try_parse_from([&["barelb"], arguments].concat()).unwrap().logging
}

/// What is written of some events with these flags.
fn log(arguments: &[&str], events: impl FnOnce()) -> String {
    let page = Page::default();
    let writer = page.clone();
    let subscriber = subscriber(&logging(arguments), move || writer.clone(), false);
    tracing::subscriber::with_default(subscriber, events);
    let bytes = page.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[derive(Debug, thiserror::Error)]
#[error("can't attach to {link}")]
struct Attach {
    link: &'static str,
    #[source]
    cause: Refused,
}

#[derive(Debug, thiserror::Error)]
#[error("the driver says \"no\"\nand nothing else")]
struct Refused(#[source] io::Error);

fn events() {
    let error = Attach { link: "eth0", cause: Refused(io::Error::other("out of queues")) };
    let error = &error as &dyn Error;
    let (ip, node) = ("192.0.2.100".parse::<std::net::IpAddr>().unwrap(), "node-a");
    tracing::warn!(error, %ip, node, tries = 3_u64, offset = -2_i64, share = 0.5, last = true, "can't {}", "attach");
    tracing::info!(error = &io::Error::other("alone") as &dyn Error, list = ?["2001:db8::100"], "told");
}

#[test]
fn a_line_of_json_is_an_event_with_all_its_fields_and_causes() {
    let text = log(&["--log-format", "json"], events);
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &mut lines {
        let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
        let time = time.as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z') && time.contains('T'), "{time}");
    }
    let target = module_path!();
    assert_eq!(
        lines,
        [
            json!({
                "level": "WARN",
                "target": target,
                "message": "can't attach",
                "error": "can't attach to eth0",
                "error.sources": ["the driver says \"no\"\nand nothing else", "out of queues"],
                "ip": "192.0.2.100",
                "node": "node-a",
                "tries": 3,
                "offset": -2,
                "share": 0.5,
                "last": true,
            }),
            json!({
                "level": "INFO",
                "target": target,
                "message": "told",
                "error": "alone",
                "list": "[\"2001:db8::100\"]",
            }),
        ]
    );
    assert!(text.starts_with("{\"timestamp\":\""), "{text}");
}

#[test]
fn text_is_for_people_and_has_the_same() {
    for arguments in [&[][..], &["--log-format", "text"]] {
        let text = log(arguments, events);
        assert!(text.contains("WARN can't attach error=can't attach to eth0 error.sources=["), "{text}");
        assert!(text.contains("ip=192.0.2.100 node=\"node-a\" tries=3"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains("lb_userspace"), "{text}");
    }
}

#[test]
fn a_filter_is_of_levels_and_modules() {
    let events = || {
        tracing::debug!(target: "lb_userspace::agent::step", "a");
        tracing::debug!(target: "lb_userspace::controller::run", "c");
        tracing::info!(target: "kube_client", "k");
        tracing::warn!(target: "kube_client", "w");
    };
    let shown = |filter| {
        let text = log(&["--log-format", "json", "--log", filter], events);
        let message =
            |line| serde_json::from_str::<Value>(line).unwrap()["message"].as_str().unwrap().to_owned();
        text.lines().map(message).collect::<String>()
    };
    assert_eq!(shown("info"), "kw");
    assert_eq!(shown("debug"), "ackw");
    assert_eq!(shown("info,lb_userspace::agent=debug"), "akw");
    assert_eq!(shown("warn,lb_userspace=debug"), "acw");
    assert_eq!(shown("info,kube_client=off,lb_userspace::controller=trace"), "c");
    assert_eq!(shown("off"), "");
    assert_eq!(log(&[], events).lines().count(), 2, "the default is info");
}

/// A typing error would otherwise be taken for the name of a module, and the log be empty.
#[test]
fn a_filter_that_is_none_is_refused_with_advice() {
    for filter in
        ["inof", "", "info,", "lb_userspace::agent", "info,lb_userspace::agent=loud", "info;debug", "a=b=c"]
    {
        let error = Flags::try_parse_from(["barelb", "--log", filter]).unwrap_err().to_string();
        let advice = "for example info,lb_userspace::agent=debug";
        assert!(error.contains("--log") && error.contains(advice), "{filter}: {error}");
    }
    let error = Flags::try_parse_from(["barelb", "--log-format", "xml"]).unwrap_err().to_string();
    assert!(error.contains("text, json"), "{error}");
}

#[test]
fn requests_that_failed_are_told_by_who_asked_unless_wanted() {
    let failing = || tracing::error!(target: "kube_client::client::builder", "failed with error");
    assert_eq!(log(&[], failing), "");
    assert_eq!(log(&["--log", "debug"], failing), "");
    for filter in ["info,kube_client=debug", "info,kube_client::client::builder=error"] {
        let wanted = log(&["--log", filter], failing);
        assert!(wanted.contains("failed with error"), "{wanted}");
    }
}
