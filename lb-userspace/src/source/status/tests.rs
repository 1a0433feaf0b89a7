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
    let mut status = StatusDir::new(dir.path().join("status"));
    let written = table(&[DUAL, SIX_FIRST, ("default/none", &[])]);
    assert_eq!(status.write(&written, &[], &BTreeSet::new(), "2026-01-01T00:00:00Z"), []);
    let text = fs::read_to_string(dir.path().join("status/default.web.yaml")).unwrap();
    for line in ["# Written by barelb", "kind: Service", "namespace: default", "ipMode: VIP", "2001:db8::1"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let problems = fs::read_to_string(dir.path().join("status/problems.yaml")).unwrap();
    assert!(problems.contains("problems: []"), "{problems}");

    let (restored, problems) = StatusDir::new(dir.path().join("status")).restore();
    assert_eq!(problems, []);
    let texts: Vec<String> = restored.iter().map(|(key, ips)| format!("{key} {ips}")).collect();
    assert_eq!(texts, ["apps/api.v2 2001:db8::2,192.0.2.2", "default/web 192.0.2.1,2001:db8::1"]);
}

#[test]
fn files_change_only_when_their_content_does_and_keep_their_times() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("default.web.yaml");
    let mut status = StatusDir::new(dir.path());
    status.write(&table(&[DUAL]), &[], &BTreeSet::new(), "2026-01-01T00:00:00Z");
    let inode = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).unwrap().ino()
    };
    let before = inode(&path);
    status.write(&table(&[DUAL]), &[], &BTreeSet::new(), "2026-01-02T00:00:00Z");
    // Another process, which knows nothing yet.
    StatusDir::new(dir.path()).write(&table(&[DUAL]), &[], &BTreeSet::new(), "2026-01-02T00:00:00Z");
    assert_eq!(inode(&path), before);
    status.write(&table(&[("default/web", &["192.0.2.9"])]), &[], &BTreeSet::new(), "2026-01-03T00:00:00Z");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("192.0.2.9") && text.contains("2026-01-01T00:00:00Z"), "{text}");
    status.write(&table(&[("default/web", &[])]), &[], &BTreeSet::new(), "2026-01-04T00:00:00Z");
    assert!(fs::read_to_string(&path).unwrap().contains("2026-01-04T00:00:00Z"));
}

#[test]
fn statuses_of_services_that_are_gone_are_removed_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("default.mine.yaml"), "kind: Service\n").unwrap();
    fs::write(dir.path().join("notes.txt"), "").unwrap();
    let mut status = StatusDir::new(dir.path());
    status.write(&table(&[DUAL, SIX_FIRST]), &[], &BTreeSet::new(), "");
    let web = BTreeSet::from(["default/web".parse().unwrap()]);
    status.write(&table(&[SIX_FIRST]), &[], &web, "");
    assert!(names(dir.path()).contains("default.web.yaml"), "kept while a file can't be read");
    status.write(&table(&[SIX_FIRST]), &[], &BTreeSet::new(), "");
    // After a restart too.
    let mut status = StatusDir::new(dir.path());
    status.restore();
    status.write(&table(&[]), &[], &BTreeSet::new(), "");
    let left: Vec<String> = names(dir.path()).into_iter().collect();
    assert_eq!(left, ["default.mine.yaml", "notes.txt", "problems.yaml"]);
}

#[test]
fn garbage_is_named_and_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let status = dir.path().join("status");
    let mut first = StatusDir::new(&status);
    first.write(&table(&[DUAL]), &[], &BTreeSet::new(), "");
    fs::write(status.join("default.a.yaml"), "][").unwrap();
    fs::write(status.join("default.b.yaml"), b"\xff").unwrap();
    fs::write(status.join("nodot.yaml"), "").unwrap();
    fs::write(status.join("Default.UPPER.yaml"), "").unwrap();
    // A status under the name of another Service.
    fs::copy(status.join("default.web.yaml"), status.join("default.c.yaml")).unwrap();
    let (restored, problems) = StatusDir::new(&status).restore();
    assert_eq!(restored.len(), 1);
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 5, "{texts:#?}");
    assert_eq!(texts[1], "status/default.a.yaml: this is not a status written by barelb: it is ignored");
}

#[test]
fn problems_are_listed_with_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let mut status = StatusDir::new(dir.path());
    let place = Place {
        file: Some("a.yaml".to_owned()),
        document: Some(2),
        object: "Service default/web".to_owned(),
        field: "spec.type".to_owned(),
    };
    let problem = Problem::new(place, FileError::NotUtf8 { offset: 7 });
    status.write(&table(&[]), &[problem], &BTreeSet::new(), "");
    let text = fs::read_to_string(dir.path().join(PROBLEMS)).unwrap();
    for part in
        ["severity: error", "file: a.yaml", "document: 2", "object: Service default/web", "field: spec.type"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    status.write(&table(&[]), &[], &BTreeSet::new(), "");
    assert!(fs::read_to_string(dir.path().join(PROBLEMS)).unwrap().contains("problems: []"));
}

/// Where the directory of the manifests is missing, nothing is made in its place; and a directory that comes back
/// empty gets everything again.
#[test]
fn only_the_last_directory_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("manifests/status");
    let mut status = StatusDir::new(&path);
    assert_eq!(status.restore(), (BTreeMap::new(), vec![]));
    let failed = status.write(&table(&[DUAL]), &[], &BTreeSet::new(), "");
    assert_eq!(failed.len(), 1);
    assert_eq!(
        failed[0].to_string(),
        "status: the file can't be written (entity not found): check owner, mode and free space of its directory"
    );
    assert!(!dir.path().join("manifests").exists());
    for _ in 0..2 {
        fs::create_dir(dir.path().join("manifests")).unwrap();
        assert_eq!(status.write(&table(&[DUAL]), &[], &BTreeSet::new(), ""), []);
        assert_eq!(names(&path), BTreeSet::from(["default.web.yaml".to_owned(), PROBLEMS.to_owned()]));
        fs::remove_dir_all(dir.path().join("manifests")).unwrap();
    }
}
