use std::error::Error;
use std::fs;

use super::*;

fn file(dir: &Path, node: &str) -> SnapshotFile {
    SnapshotFile::new(dir, NodeName::new(node).unwrap(), "metallb-system")
}

#[test]
fn a_file_that_says_nothing_is_told() {
    let dir = tempfile::tempdir().unwrap();
    assert!(file(dir.path(), "a").load().unwrap().is_none(), "there is none at first");
    for content in ["", "{}", "null", "{\"version\": 1", "[1, 2]"] {
        fs::write(dir.path().join(FILE), content).unwrap();
        let error = file(dir.path(), "a").load().unwrap_err();
        assert!(error.to_string().contains("cluster.json is no snapshot of a cluster"), "{error}");
        assert!(error.source().is_some(), "{content}");
    }
    fs::remove_file(dir.path().join(FILE)).unwrap();
    fs::create_dir(dir.path().join(FILE)).unwrap();
    let error = file(dir.path(), "a").load().unwrap_err();
    assert!(matches!(error, SnapshotError::Read { .. }), "{error}");
}

#[test]
fn nothing_is_taken_from_another_node_or_namespace() {
    let dir = tempfile::tempdir().unwrap();
    file(dir.path(), "a").save(&Decided::default(), SystemTime::UNIX_EPOCH).unwrap();
    let saved = file(dir.path(), "a").load().unwrap().unwrap();
    assert_eq!(saved.at, "1970-01-01T00:00:00Z");
    let other = SnapshotFile::new(dir.path(), NodeName::new("a").unwrap(), "elsewhere");
    for other in [file(dir.path(), "b"), other] {
        assert!(matches!(other.load(), Err(SnapshotError::Foreign { .. })));
    }
    let path = dir.path().join(FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"version\":1", "\"version\":2")).unwrap();
    assert!(matches!(file(dir.path(), "a").load(), Err(SnapshotError::Foreign { .. })));
}

/// The newest is there in the end, however many there are.
#[tokio::test(start_paused = true)]
async fn what_was_stepped_to_last_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let (stepped, follows) = watch::channel(None);
    let following = tokio::spawn(file(dir.path(), "a").follow(follows));
    for number in 0..20_u32 {
        let name = NodeName::new(format!("node-{number}")).unwrap();
        let nodes = BTreeMap::from([(name, Node::default())]);
        let decided = Decided::of_cluster(Arc::default(), Arc::default(), nodes, Vec::new());
        stepped.send_replace(Some(Arc::new(decided)));
        tokio::time::sleep(Duration::from_millis(90)).await;
    }
    drop(stepped);
    following.await.unwrap();
    let saved = file(dir.path(), "a").load().unwrap().unwrap();
    assert_eq!(saved.nodes.keys().map(NodeName::as_str).collect::<Vec<_>>(), ["node-19"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing temporary is left");
}
