use std::{fs, os::unix::fs::symlink};

use proptest::prelude::*;

use super::*;

const GOOD: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: good}\nspec: {type: LoadBalancer}\n";

fn read(files: &mut Files) -> Vec<String> {
    files.read();
    files.objects().services.keys().map(ToString::to_string).collect()
}

fn texts(objects: &Objects) -> Vec<String> {
    objects.problems.iter().map(ToString::to_string).collect()
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
    let objects = read_directory(dir.path(), Settings::default());
    let names: Vec<&str> = objects.services.keys().map(lb_core::ids::ServiceKey::name).collect();
    assert_eq!(names, ["a-yaml", "b-yml", "d-json", "linked"]);
    assert_eq!(texts(&objects), Vec::<String>::new());
}

#[test]
fn what_can_not_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    symlink("nowhere", dir.path().join("dangling.yaml")).unwrap();
    let big = File::create(dir.path().join("big.yaml")).unwrap();
    big.set_len(MAX_FILE + 1).unwrap();
    symlink("/dev/null", dir.path().join("device.yaml")).unwrap();
    let objects = read_directory(dir.path(), Settings::default());
    assert_eq!(
        texts(&objects),
        [
            "big.yaml: the file has 16777217 bytes, the limit is 16777216: split it",
            "dangling.yaml: the file can't be read (entity not found): check its owner and mode",
            "device.yaml: this is no regular file: only regular files and symlinks to them are read",
        ]
    );
    assert!(!objects.complete);
}

#[test]
fn a_directory_that_vanishes_takes_nothing_with_it() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("dir");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.yaml"), GOOD).unwrap();
    let mut files = Files::new(&dir, Settings::default());
    assert_eq!(read(&mut files), ["default/good"]);
    fs::rename(&dir, parent.path().join("away")).unwrap();
    assert_eq!(read(&mut files), ["default/good"]);
    assert!(!files.objects().complete);
    fs::create_dir(&dir).unwrap();
    assert!(read(&mut files).is_empty());
    assert!(files.objects().complete);
}

#[test]
fn a_broken_document_keeps_what_may_have_been_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.yaml");
    let service = |name: &str| format!("---\n{}", GOOD.replace("good", name));
    let mut files = Files::new(dir.path(), Settings::default());
    fs::write(&path, [service("a"), service("b"), service("c")].concat()).unwrap();
    assert_eq!(read(&mut files), ["default/a", "default/b", "default/c"]);
    fs::write(&path, [service("a"), "---\nkind: [\n".to_owned(), service("d")].concat()).unwrap();
    assert_eq!(read(&mut files), ["default/a", "default/b", "default/c", "default/d"]);
    let problems = files.objects().problems;
    assert_eq!((problems.len(), problems[0].place.document), (1, Some(2)));
    fs::write(&path, [service("a"), service("d")].concat()).unwrap();
    assert_eq!(read(&mut files), ["default/a", "default/d"]);
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
    assert_eq!(read(&mut files), ["default/next"]);
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
        let objects = read_directory(dir.path(), Settings::default());
        assert_eq!(objects.legacy.is_some(), found, "{name}{namespace}");
    }
    for (data, expected) in [
        ("binaryData: {config: YQ==}", "binaryData.config: the key \"config\" must be text"),
        ("data: {x: ''}", "data.config: the key \"config\" is missing under data"),
        ("data: {config: 'peerz: []'}", "peerz"),
    ] {
        fs::write(dir.path().join("a.yaml"), map("config", "", data)).unwrap();
        let objects = read_directory(dir.path(), Settings::default());
        let Some(Err(problems)) = objects.legacy.as_deref() else { panic!("{data} is valid") };
        let text = problems[0].to_string();
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
            let files = [(Arc::from("a.yaml"), GOOD.as_bytes()), (Arc::from("b.yaml"), bytes)];
            let mut in_force = LastGoodFiles::default();
            for (name, bytes) in &files {
                in_force.settle(name, parse(bytes, &place, &settings).0);
            }
            let objects = Objects::collect(in_force.objects());
            prop_assert_eq!(objects.services.len(), 1);
        }
        drop(legacy::parse(&text, &place));
    }

    /// Text that is nearly a manifest.
    #[test]
    fn any_damage_to_a_manifest_is_survived(at in 0..GOOD.len(), with in "[^a-z]{0,3}", cut in 0_usize..6) {
        let end = (at + cut).min(GOOD.len());
        let text = format!("{}{with}{}", &GOOD[..at], &GOOD[end..]);
        let (reading, problems) = parse(text.as_bytes(), &Place::default(), &Settings::default());
        let mut in_force = LastGoodFiles::default();
        let name: Arc<str> = Arc::from("a.yaml");
        in_force.settle(&name, parse(GOOD.as_bytes(), &Place::default(), &Settings::default()).0);
        in_force.settle(&name, reading);
        let objects = Objects::collect(in_force.objects());
        let good: lb_core::ids::ServiceKey = "default/good".parse().unwrap();
        let errors = problems.iter().any(|problem| !problem.is_warning());
        prop_assert!(!errors || objects.services.contains_key(&good));
    }
}
