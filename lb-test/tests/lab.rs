//! The whole path in one test: manifests, two agents, a client, a page. Needs root: see the README of this crate.

use std::{fs, process};

use lb_test::lab::{self, Options};

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn the_lab_proves_itself_and_leaves_nothing_behind() {
    lab::run(&Options { once: true, ..Options::default() }).unwrap();
    let ours = format!("barelb-test-{}-", process::id());
    for folder in ["/run/netns".into(), std::env::temp_dir()] {
        let names =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.starts_with(&ours)).collect::<Vec<_>>(), Vec::<String>::new());
    }
}
