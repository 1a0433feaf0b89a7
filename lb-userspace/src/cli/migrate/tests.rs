use super::*;

fn migrate(namespace: Option<&str>) -> Migrate {
    Migrate { file: None, config_map: "config".to_owned(), namespace: namespace.map(str::to_owned) }
}

/// Objects, and notes; a problem is a panic.
fn objects(text: &str, file: &str) -> (String, Vec<String>) {
    let answer = migrate(None).answer(text, file).unwrap();
    (answer.documents.unwrap().join("---\n"), answer.remarks)
}

fn errors(text: &str) -> Vec<String> {
    migrate(None).answer(text, "f").unwrap().documents.unwrap_err()
}

#[test]
fn golden_files() {
    for (name, input, expected, notes) in [
        ("layer2.yaml", include_str!("golden/layer2.yaml"), include_str!("golden/layer2.out.yaml"), ""),
        ("bare.yaml", include_str!("golden/bare.yaml"), include_str!("golden/bare.out.yaml"), ""),
        (
            "everything.yaml",
            include_str!("golden/everything.yaml"),
            include_str!("golden/everything.out.yaml"),
            include_str!("golden/everything.notes"),
        ),
    ] {
        let (found, remarks) = objects(input, name);
        assert_eq!(found, expected, "{name}");
        assert_eq!(remarks, notes.lines().collect::<Vec<_>>(), "{name}");
    }
}

/// What comes out means what went in: the same pools, announced by the same kind of advertisement.
#[test]
fn the_objects_say_what_the_document_said() {
    use crate::k8s::{convert, crd};
    let input = include_str!("golden/layer2.yaml");
    let texts = legacy_texts(input, "f").unwrap();
    let [LegacyText { place, text, .. }] = &texts[..] else { panic!("one document: {texts:?}") };
    let before = legacy::parse(text, place).unwrap();
    let place = lb_core::problem::Place::default();
    let (mut pools, mut ads) = (Vec::new(), Vec::new());
    for document in objects(input, "f").0.split("---\n") {
        if document.contains("kind: IPAddressPool") {
            let pool: crd::IPAddressPool = serde_saphyr::from_str(document).unwrap();
            pools.push(convert::pool(place.clone(), pool));
        } else {
            let ad: crd::L2Advertisement = serde_saphyr::from_str(document).unwrap();
            ads.push(convert::advertisement(place.clone(), ad));
        }
    }
    let (from_document, _) = Config::validate(&before.pools, &before.advertisements, &[]);
    let (from_objects, problems) = Config::validate(&pools, &ads, &[]);
    assert_eq!(problems, []);
    assert_eq!(from_document.pools, from_objects.pools);
    let covers = |config: &Config| {
        let ads = config.advertisements.iter();
        ads.map(|ad| config.pools.values().map(|pool| ad.covers(pool)).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    assert_eq!(covers(&from_document), covers(&from_objects));
}

#[test]
fn errors_name_document_field_and_reason() {
    let map = |config: &str| {
        let config = config.replace('\n', "\n    ");
        format!(
            "a: 1\nkind: x\n---\nkind: ConfigMap\nmetadata: {{name: config}}\ndata:\n  config: |\n    {config}\n"
        )
    };
    let pool = "address-pools:\n- name: p\n  protocol: layer2\n  addresses: [10.0.0.0/24]\n";
    for (config, expected) in [
        (
            format!("{pool}  autoassign: true"),
            "f, document 2, ConfigMap config, address-pools[0].autoassign: unknown field `autoassign`, expected one of",
        ),
        (
            format!("{pool}- name: p\n  protocol: layer2\n  addresses: [10.0.1.0/24]"),
            "f, document 2, ConfigMap config, address-pools[1].name: \"p\" is already the name of another object of this kind",
        ),
        (
            format!("{pool}- name: P\n  protocol: layer2\n  addresses: [10.0.1.0/24]"),
            "f, document 2, ConfigMap config, address-pools[1].name: the object would be named \"p\" like an earlier one: \
             rename one of them",
        ),
        (
            format!("{pool}- name: ___\n  protocol: layer2\n  addresses: [10.0.1.0/24]"),
            "f, document 2, ConfigMap config, address-pools[1].name: \"___\" has no letter or digit",
        ),
        (
            "address-pools:\n- name: p\n  protocol: layer2\n  addresses: [10.0.0.9-10.0.0.1]".to_owned(),
            "f, document 2, ConfigMap config, address-pools[0].addresses[0]: the range starts at 10.0.0.9, after its end \
             10.0.0.1: swap them",
        ),
        (
            "peers:\n- my-asn: 1\n  peer-asn: 2\n  peer-address: nowhere".to_owned(),
            "f, document 2, ConfigMap config, peers[0].peer-address: \"nowhere\" is not an IP address",
        ),
        (
            "bfd-profiles:\n- name: x\n  receive-intervall: 1".to_owned(),
            "f, document 2, ConfigMap config, bfd-profiles[0].receive-intervall: unknown field `receive-intervall`",
        ),
    ] {
        let found = errors(&map(&config));
        assert!(found[0].starts_with(expected), "{}", found[0]);
        assert!(!found[0].contains("stays in force"), "{}", found[0]);
    }
    assert!(errors("a: [")[0].starts_with("f, document 1: "), "{:?}", errors("a: ["));
    let binary = "kind: ConfigMap\nmetadata: {name: config}\nbinaryData: {config: YQ==}\n";
    assert_eq!(
        errors(binary),
        [
            "f, document 1, ConfigMap config, binaryData.config: the document must be text under data, not binaryData"
        ]
    );
    let none = "f: there is no ConfigMap \"config\" with a key \"config\": name another one by --config-map, or give the \
                text of the key";
    assert_eq!(errors("kind: ConfigMap\nmetadata: {name: config}\ndata: {x: y}\n"), [none]);
    assert_eq!(errors(""), [none]);
}

#[test]
fn which_map_and_which_namespace() {
    let map = |name: &str, namespace: &str| {
        let pool = format!("address-pools: [{{name: {name}, protocol: layer2, addresses: [10.0.0.0/24]}}]");
        format!("---\nkind: ConfigMap\nmetadata: {{name: {name}{namespace}}}\ndata: {{config: '{pool}'}}\n")
    };
    let pool = |text: &str, migrate: Migrate| {
        let documents = migrate.answer(text, "f").unwrap().documents.unwrap();
        let field =
            |name: &str| documents[0].lines().find_map(|l| l.trim().strip_prefix(name)).unwrap().to_owned();
        format!("{}/{}", field("namespace: "), field("name: "))
    };
    let (one, two) = (map("a", ", namespace: here"), map("config", ""));
    assert_eq!(pool(&one, migrate(None)), "here/a", "the only one, whatever its name");
    assert_eq!(pool(&format!("{one}{two}"), migrate(None)), "metallb-system/config");
    let named = || Migrate { config_map: "a".to_owned(), ..migrate(None) };
    assert_eq!(pool(&format!("{one}{two}"), named()), "here/a");
    assert_eq!(pool(&one, migrate(Some("there"))), "there/a");
}

/// `configmaptocrs` also changes names that begin with a digit; here a name that Kubernetes permits stays, because the
/// Services that name the pool do not change.
#[test]
fn names_that_kubernetes_permits_are_kept() {
    let name = |written: &str| {
        let pool = format!("- {{name: \"{written}\", protocol: layer2, addresses: [10.0.0.0/24]}}");
        let documents =
            migrate(None).answer(&format!("address-pools:\n{pool}\n"), "f").unwrap().documents.unwrap();
        let pool: crate::k8s::crd::IPAddressPool = serde_saphyr::from_str(&documents[0]).unwrap();
        pool.metadata.name.unwrap()
    };
    for (written, expected) in [
        ("01-numbered", "01-numbered"),
        ("a.b-c", "a.b-c"),
        ("Capitalised_Pool", "capitalised-pool"),
        ("-a.-b-", "a.b"),
        ("a/b", "a-b"),
    ] {
        assert_eq!(name(written), expected);
    }
    assert_eq!(name(&"x".repeat(253)).len(), 253);
}
