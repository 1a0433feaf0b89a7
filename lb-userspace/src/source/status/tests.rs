use std::collections::BTreeSet;

use lb_core::{
    allocator::{Allocation, Decision},
    ids::PoolName,
};

use super::*;

fn decision(ips: &[&str]) -> Decision {
    let ips: Vec<_> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
    let pool = PoolName::new("p").unwrap();
    let allocation = Addresses::new(&ips).map(|addresses| Allocation { pool, addresses });
    Decision { allocation, ..Decision::default() }
}

fn table(entries: &[(&str, &[&str])]) -> BTreeMap<ServiceKey, ServiceStatus> {
    let entry =
        |(key, ips): &(&str, &[&str])| (key.parse().unwrap(), ServiceStatus::new(&decision(ips), &[]));
    entries.iter().map(entry).collect()
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

const DUAL: (&str, &[&str]) = ("default/web", &["192.0.2.1", "2001:db8::1"]);
const SIX_FIRST: (&str, &[&str]) = ("apps/api.v2", &["2001:db8::2", "192.0.2.2"]);

#[test]
fn what_is_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut status = StatusDir::open(dir.path().join("status")).unwrap();
    let written = table(&[DUAL, SIX_FIRST, ("default/none", &[])]);
    assert_eq!(status.write(&written, &[], true, "2026-01-01T00:00:00Z"), []);
    let text = fs::read_to_string(dir.path().join("status/default.web.yaml")).unwrap();
    for line in ["# Written by barelb", "kind: Service", "namespace: default", "ipMode: VIP", "2001:db8::1"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let problems = fs::read_to_string(dir.path().join("status/problems.yaml")).unwrap();
    assert!(problems.contains("problems: []"), "{problems}");

    let (restored, problems) = StatusDir::open(dir.path().join("status")).unwrap().restore();
    assert_eq!(problems, []);
    let texts: Vec<String> = restored.iter().map(|(key, ips)| format!("{key} {ips}")).collect();
    assert_eq!(texts, ["apps/api.v2 2001:db8::2,192.0.2.2", "default/web 192.0.2.1,2001:db8::1"]);
}

#[test]
fn files_change_only_when_their_content_does_and_keep_their_times() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("default.web.yaml");
    let mut status = StatusDir::open(dir.path()).unwrap();
    status.write(&table(&[DUAL]), &[], true, "2026-01-01T00:00:00Z");
    let inode = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).unwrap().ino()
    };
    let before = inode(&path);
    status.write(&table(&[DUAL]), &[], true, "2026-01-02T00:00:00Z");
    // Another process, which knows nothing yet.
    StatusDir::open(dir.path()).unwrap().write(&table(&[DUAL]), &[], true, "2026-01-02T00:00:00Z");
    assert_eq!(inode(&path), before);
    status.write(&table(&[("default/web", &["192.0.2.9"])]), &[], true, "2026-01-03T00:00:00Z");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("192.0.2.9") && text.contains("2026-01-01T00:00:00Z"), "{text}");
    status.write(&table(&[("default/web", &[])]), &[], true, "2026-01-04T00:00:00Z");
    assert!(fs::read_to_string(&path).unwrap().contains("2026-01-04T00:00:00Z"));
}

#[test]
fn statuses_of_services_that_are_gone_are_removed_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("default.mine.yaml"), "kind: Service\n").unwrap();
    fs::write(dir.path().join("notes.txt"), "").unwrap();
    let mut status = StatusDir::open(dir.path()).unwrap();
    status.write(&table(&[DUAL, SIX_FIRST]), &[], true, "");
    status.write(&table(&[SIX_FIRST]), &[], false, "");
    assert!(names(dir.path()).contains("default.web.yaml"), "kept while a file can't be read");
    status.write(&table(&[SIX_FIRST]), &[], true, "");
    // After a restart too.
    let mut status = StatusDir::open(dir.path()).unwrap();
    status.restore();
    status.write(&table(&[]), &[], true, "");
    let left: Vec<String> = names(dir.path()).into_iter().collect();
    assert_eq!(left, ["default.mine.yaml", "notes.txt", "problems.yaml"]);
}

#[test]
fn garbage_is_named_and_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let status = dir.path().join("status");
    let mut first = StatusDir::open(&status).unwrap();
    first.write(&table(&[DUAL]), &[], true, "");
    fs::write(status.join("default.a.yaml"), "][").unwrap();
    fs::write(status.join("default.b.yaml"), b"\xff").unwrap();
    fs::write(status.join("nodot.yaml"), "").unwrap();
    fs::write(status.join("Default.UPPER.yaml"), "").unwrap();
    // A status under the name of another Service.
    fs::copy(status.join("default.web.yaml"), status.join("default.c.yaml")).unwrap();
    let (restored, problems) = StatusDir::open(&status).unwrap().restore();
    assert_eq!(restored.len(), 1);
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 5, "{texts:#?}");
    assert_eq!(texts[1], "status/default.a.yaml: this is not a status written by barelb: it is ignored");
}

#[test]
fn problems_are_listed_with_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let mut status = StatusDir::open(dir.path()).unwrap();
    let place = Place {
        file: Some("a.yaml".to_owned()),
        document: Some(2),
        object: "Service default/web".to_owned(),
        field: "spec.type".to_owned(),
    };
    let problem = Problem::new(place, FileError::NotUtf8 { offset: 7 });
    status.write(&table(&[]), &[problem], true, "");
    let text = fs::read_to_string(dir.path().join(PROBLEMS)).unwrap();
    for part in
        ["severity: error", "file: a.yaml", "document: 2", "object: Service default/web", "field: spec.type"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    status.write(&table(&[]), &[], true, "");
    assert!(fs::read_to_string(dir.path().join(PROBLEMS)).unwrap().contains("problems: []"));
}
