use std::fs;

use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(10);

async fn told(watch: &mut DirectoryWatch, what: &str) {
    assert!(timeout(SOON, watch.changed()).await.is_ok(), "not told: {what}");
}

async fn quiet(watch: &mut DirectoryWatch, what: &str) {
    assert!(
        timeout(Duration::from_millis(400), watch.changed()).await.is_err(),
        "told without a change: {what}"
    );
}

#[tokio::test]
async fn changes_are_told_and_reading_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut watch = DirectoryWatch::new(dir.path());
    fs::write(dir.path().join("a.yaml"), "a: 1").unwrap();
    told(&mut watch, "a new file").await;
    assert_eq!(fs::read_to_string(dir.path().join("a.yaml")).unwrap(), "a: 1");
    quiet(&mut watch, "reading").await;
    fs::write(dir.path().join("tmp"), "a: 2").unwrap();
    fs::rename(dir.path().join("tmp"), dir.path().join("a.yaml")).unwrap();
    told(&mut watch, "a file that was replaced").await;
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    told(&mut watch, "a file that was removed").await;
}

#[tokio::test]
async fn the_directory_may_be_replaced_and_need_not_exist() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("dir");
    let mut watch = DirectoryWatch::new(&dir);
    assert!(!watch.is_told());
    fs::create_dir(&dir).unwrap();
    told(&mut watch, "the directory appears").await;
    assert!(watch.is_told());
    fs::rename(&dir, parent.path().join("old")).unwrap();
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.yaml"), "").unwrap();
    told(&mut watch, "the directory is another one").await;
    fs::write(dir.join("b.yaml"), "").unwrap();
    told(&mut watch, "a file in the new directory").await;
}

#[tokio::test]
async fn targets_of_symlinks_are_looked_at() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("dir");
    let target = parent.path().join("target");
    fs::create_dir(&dir).unwrap();
    fs::write(&target, "a").unwrap();
    std::os::unix::fs::symlink(&target, dir.join("a.yaml")).unwrap();
    let mut watch = DirectoryWatch::new(&dir);
    fs::write(&target, "longer").unwrap();
    told(&mut watch, "the target of a symlink").await;
}

/// The agent's loop drops the future whenever anything else wakes it.
#[tokio::test]
async fn a_caller_that_is_interrupted_all_the_time_is_told_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let mut watch = DirectoryWatch::new(dir.path());
    quiet(&mut watch, "nothing has happened").await;
    fs::write(dir.path().join("a.yaml"), "a: 1").unwrap();
    let start = Instant::now();
    while timeout(Duration::from_millis(10), watch.changed()).await.is_err() {
        assert!(start.elapsed() < SOON, "never told");
    }
    assert!(start.elapsed() >= QUIET, "told before the file was complete");
    quiet(&mut watch, "told once").await;
}

/// Somebody who writes without a pause holds nothing up.
#[tokio::test]
async fn changes_without_a_pause_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut watch = DirectoryWatch::new(dir.path());
    let path = dir.path().join("a.yaml");
    let writer = tokio::spawn(async move {
        for n in 0_u32.. {
            fs::write(&path, n.to_string()).unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let start = Instant::now();
    while timeout(Duration::from_millis(10), watch.changed()).await.is_err() {
        assert!(start.elapsed() < SOON, "never told");
    }
    writer.abort();
}
