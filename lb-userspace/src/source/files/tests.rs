use std::{fs, os::unix::fs::symlink};

use proptest::prelude::*;

use super::*;

const GOOD: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: good}\nspec: {type: LoadBalancer}\n";

/// Names of the Services that can be read now.
fn read(files: &mut Files) -> Vec<String> {
    files.read();
    let objects = files.readings().flat_map(|(_, reading)| &reading.objects);
    objects.filter(|object| object.content.is_ok()).map(|object| object.id.to_string()).collect()
}

/// Everything that is wrong.
fn texts(files: &Files) -> Vec<String> {
    let of_objects = |reading: &Reading| -> Vec<Problem> {
        let bad = reading.objects.iter().filter_map(|object| object.content.as_ref().err());
        reading.problems.iter().chain(bad.flatten()).cloned().collect()
    };
    files.readings().flat_map(|(_, reading)| of_objects(reading)).map(|p| p.to_string()).collect()
}

fn read_directory(dir: &Path) -> Files {
    let mut files = Files::new(dir, Settings::default());
    files.read();
    files
}

#[test]
fn which_files_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    let service = |name: &str| GOOD.replace("good", name);
    for name in ["a.yaml", "b.yml", "c.txt", ".hidden.yaml", "yaml"] {
        let text = service(&name.replace('.', "-"));
        fs::write(dir.path().join(name), text).unwrap();
    }
    let json = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "d-json"}}"#;
    fs::write(dir.path().join("d.json"), json).unwrap();
    fs::write(target.path().join("x"), service("linked")).unwrap();
    symlink(target.path().join("x"), dir.path().join("e.yaml")).unwrap();
    fs::create_dir(dir.path().join("f.yaml")).unwrap();
    fs::create_dir(dir.path().join("status")).unwrap();
    fs::write(dir.path().join("status/default.z.yaml"), service("z")).unwrap();
    let mut files = read_directory(dir.path());
    let names = ["a-yaml", "b-yml", "d-json", "linked"].map(|name| format!("Service default/{name}"));
    assert_eq!(read(&mut files), names);
    assert_eq!(texts(&files), Vec::<String>::new());
}

#[test]
fn what_can_not_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    symlink("nowhere", dir.path().join("dangling.yaml")).unwrap();
    let big = File::create(dir.path().join("big.yaml")).unwrap();
    big.set_len(MAX_FILE + 1).unwrap();
    symlink("/dev/null", dir.path().join("device.yaml")).unwrap();
    let files = read_directory(dir.path());
    assert_eq!(
        texts(&files),
        [
            "big.yaml: the file has 16777217 bytes, the limit is 16777216: split it",
            "dangling.yaml: the file can't be read (entity not found): check its owner and mode",
            "device.yaml: this is no regular file: only regular files and symlinks to them are read",
        ]
    );
    assert!(files.readings().all(|(_, reading)| reading.hides));
}

#[test]
fn a_directory_that_vanishes_leaves_what_was_read() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("dir");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.yaml"), GOOD).unwrap();
    let mut files = Files::new(&dir, Settings::default());
    assert_eq!(read(&mut files), ["Service default/good"]);
    fs::rename(&dir, parent.path().join("away")).unwrap();
    assert_eq!(read(&mut files), ["Service default/good"]);
    assert!(files.unreadable().is_some());
    fs::create_dir(&dir).unwrap();
    assert!(read(&mut files).is_empty() && files.unreadable().is_none());
}

/// A document that can't be read at all hides what it may be; one that tells its name hides nothing.
#[test]
fn which_documents_hide_something() {
    let dir = tempfile::tempdir().unwrap();
    for (text, hides, objects) in [
        (GOOD, false, 1),
        ("kind: [", true, 0),
        ("a: 1", true, 0),
        ("[]", true, 0),
        ("apiVersion: v1\nkind: Service\nmetadata: {}", true, 0),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: UPPER}", true, 0),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: 1}", false, 1),
        ("apiVersion: v1\nkind: List\nitems: 1", true, 0),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}", false, 0),
        ("", false, 0),
    ] {
        fs::write(dir.path().join("a.yaml"), text).unwrap();
        let files = read_directory(dir.path());
        let reading = files.reading("a.yaml").unwrap();
        assert_eq!((reading.hides, reading.objects.len()), (hides, objects), "{text}");
        assert_eq!(reading.empty, text.is_empty());
    }
}

#[test]
fn an_unchanged_file_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.yaml");
    fs::write(&path, GOOD).unwrap();
    // Old enough for its time stamp to be trusted.
    while !is_settled(&fs::metadata(&path).unwrap()) {
        std::thread::yield_now();
    }
    let mut files = Files::new(dir.path(), Settings::default());
    assert!(files.read());
    assert!(!files.read());
    fs::write(&path, GOOD.replace("good", "next")).unwrap();
    assert!(files.read());
    assert_eq!(read(&mut files), ["Service default/next"]);
}

#[test]
fn the_legacy_document_is_found_by_name_and_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let map = |name: &str, namespace: &str, data: &str| {
        format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{namespace}}}\n{data}\n")
    };
    let text = "data: {config: ''}";
    for (name, namespace, found) in [
        ("config", ", namespace: metallb-system", true),
        ("config", "", true),
        ("config", ", namespace: default", false),
        ("other", ", namespace: metallb-system", false),
    ] {
        fs::write(dir.path().join("a.yaml"), map(name, namespace, text)).unwrap();
        let found_objects = read(&mut read_directory(dir.path()));
        assert_eq!(!found_objects.is_empty(), found, "{name}{namespace}");
    }
    for (data, expected) in [
        ("binaryData: {config: YQ==}", "binaryData.config: the key \"config\" must be text"),
        ("data: {x: ''}", "data.config: the key \"config\" is missing under data"),
        ("data: {config: 'peerz: []'}", "peerz"),
    ] {
        fs::write(dir.path().join("a.yaml"), map("config", "", data)).unwrap();
        let text = texts(&read_directory(dir.path())).remove(0);
        assert!(text.starts_with("a.yaml, document 1, ConfigMap metallb-system/config, "), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever bytes a file has, reading ends, and the objects of other files are what they were.
    #[test]
    fn any_bytes_disturb_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[-a-z:{}\\[\\]&*|>'\"#%! \n\t]{0,200}") {
        let place = Place::default();
        let settings = Settings::default();
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            let reading = parse(bytes, &place, &settings);
            prop_assert!(reading.hides || reading.empty || reading.problems.iter().all(Problem::is_warning));
        }
        drop(legacy::parse(&text, &place));
    }

    /// Text that is nearly a manifest.
    #[test]
    fn any_damage_to_a_manifest_is_survived(at in 0..GOOD.len(), with in "[^a-z]{0,3}", cut in 0_usize..6) {
        let end = (at + cut).min(GOOD.len());
        let text = format!("{}{with}{}", &GOOD[..at], &GOOD[end..]);
        let reading = parse(text.as_bytes(), &Place::default(), &Settings::default());
        let told = !reading.problems.is_empty() || reading.objects.iter().any(|object| object.content.is_err());
        let named = reading.objects.iter().any(|object| object.id.to_string() == "Service default/good");
        prop_assert!(named || reading.hides || !told || reading.problems.iter().all(Problem::is_warning));
    }
}
