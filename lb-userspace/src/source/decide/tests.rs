//! From the text of manifests to addresses and messages.

use std::fs;

use lb_core::{ids::ServiceKey, plan::plan};

use super::*;
use crate::source::{
    files::{Files, Settings},
    memory::Memory,
};

/// The example of the project's beginning.
const SEED: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  namespace: metallb-system
  name: config
data:
  config: |
    address-pools:
    - name: default
      protocol: layer2
      addresses:
      - 192.168.34.0-192.168.34.255
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  type: LoadBalancer
  ports:
  - port: 80
    targetPort: http
  selector:
    app: web
";

struct Bench {
    dir: tempfile::TempDir,
    files: Files,
    decider: Decider,
    own: BTreeSet<IpAddr>,
    rules: Rules,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path(), Settings::default());
        Self { files, dir, decider: Decider::default(), own: BTreeSet::new(), rules: Rules::default() }
    }

    fn write(&mut self, name: &str, text: &str) -> &mut Self {
        fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    fn decide(&mut self) -> Decided {
        self.files.read();
        let me = NodeName::new("a").unwrap();
        let around = Surroundings { me: &me, own_addresses: &self.own, rules: &self.rules };
        self.decider.decide(&self.files, &around)
    }

    /// Another process, which remembers what this one wrote: what is in force, and the addresses.
    fn restart(&mut self) -> &mut Self {
        let state = tempfile::tempdir().unwrap();
        let (mut memory, _) = Memory::open(state.path(), self.dir.path());
        assert_eq!(memory.save(self.decider.in_force(), self.decider.addresses()), []);
        let (_, remembered) = Memory::open(state.path(), self.dir.path());
        assert_eq!(remembered.problems, []);
        self.decider = Decider::new(remembered.in_force, remembered.addresses);
        self.files = Files::new(self.dir.path(), Settings::default());
        self
    }

    /// Another process, which has nothing but the statuses.
    fn restart_without_memory(&mut self) -> &mut Self {
        self.decider = Decider::new(InForce::default(), self.decider.addresses().clone());
        self.files = Files::new(self.dir.path(), Settings::default());
        self
    }

    fn remove(&mut self, name: &str) -> &mut Self {
        fs::remove_file(self.dir.path().join(name)).unwrap();
        self
    }
}

fn of(decided: &Decided, name: &str) -> Vec<String> {
    let key: ServiceKey = format!("default/{name}").parse().unwrap();
    let ingress = decided.services.get(&key).map(|service| service.ingress.clone());
    ingress.unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn messages(decided: &Decided) -> Vec<String> {
    decided.problems.iter().map(ToString::to_string).collect()
}

fn service(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{type: LoadBalancer{spec}, ports: [{{port: 80}}]}}\n"
    )
}

fn pool(name: &str, addresses: &str) -> String {
    format!(
        "---\napiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}, namespace: metallb-system}}\nspec: {{addresses: [{addresses}]}}\n"
    )
}

fn legacy(pools: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: config, namespace: metallb-system}}\ndata:\n  config: |\n    {pools}\n"
    )
}

#[test]
fn the_seed_example_works_unchanged() {
    let mut bench = Bench::new();
    let decided = bench.write("all.yaml", SEED).decide();
    assert_eq!(messages(&decided), Vec::<String>::new());
    assert_eq!(of(&decided, "web"), ["192.168.34.0"]);
    assert_eq!(decided.config.advertisements.len(), 1);
    assert!(decided.nodes.contains_key(&NodeName::new("a").unwrap()));
}

#[test]
fn dual_stack() {
    let mut bench = Bench::new();
    bench.write("pool.yaml", &pool("p", "192.0.2.8/29, \"2001:db8::8/125\""));
    bench.write(
        "services.yaml",
        &[
            service("both", ", ipFamilyPolicy: RequireDualStack"),
            service("six", ", ipFamilies: [IPv6]"),
            service("four", ""),
        ]
        .concat(),
    );
    let decided = bench.decide();
    assert_eq!(of(&decided, "both"), ["192.0.2.8", "2001:db8::8"]);
    assert_eq!(of(&decided, "six"), ["2001:db8::9"]);
    assert_eq!(of(&decided, "four"), ["192.0.2.9"]);
    assert_eq!(messages(&decided), Vec::<String>::new());
}

/// What a user reads for each kind of bad input. The directory holds a good pool and a Service beside it, and
/// that Service keeps its address in every case.
#[test]
fn bad_input_is_named_and_disturbs_nothing_else() {
    let cases: &[(&str, String, &str)] = &[
        ("malformed file", "a: 1\nkind: [\nb: c\n".to_owned(), "bad.yaml, document 1: "),
        (
            "start after end",
            pool("bad", "192.0.2.9-192.0.2.1"),
            "bad.yaml, document 1, IPAddressPool metallb-system/bad, spec.addresses[0]: ",
        ),
        (
            "overlap",
            pool("bad", "198.51.100.128/25"),
            "bad.yaml, document 1, IPAddressPool metallb-system/bad, spec.addresses[0]: 198.51.100.128/25 overlaps 198.51.100.0/24 of pool good: an address can be in one pool only; it has no effect until it is corrected",
        ),
        (
            "family mix",
            pool("bad", "\"192.0.2.1-2001:db8::1\""),
            "bad.yaml, document 1, IPAddressPool metallb-system/bad, spec.addresses[0]: ",
        ),
        ("loopback", pool("bad", "127.0.0.0/24"), "spec.addresses[0]: "),
        ("multicast", pool("bad", "224.0.0.0/24, ff02::/120"), "spec.addresses[1]: "),
        ("link-local", pool("bad", "169.254.0.0/24, fe80::/120"), "spec.addresses[1]: "),
        (
            "unknown field of a pool",
            pool("bad", "192.0.2.0/24").replace("spec: {", "spec: {autoassign: false, "),
            "bad.yaml, document 1, IPAddressPool metallb-system/bad, spec.autoassign: there is no such field: correct its name or remove it; it has no effect until it is corrected",
        ),
        (
            "wrong type",
            pool("bad", "192.0.2.0/24").replace("[192.0.2.0/24]", "192.0.2.0/24"),
            "bad.yaml, document 1, IPAddressPool metallb-system/bad, spec.addresses: invalid type: string \"192.0.2.0/24\", expected a sequence",
        ),
        (
            "unknown field of the v0.9 document",
            legacy("address-pools: [{name: x, protocol: layer2, adresses: [192.0.2.0/24]}]"),
            "bad.yaml, document 1, ConfigMap metallb-system/config, address-pools[0]",
        ),
        (
            "bad range of the v0.9 document",
            legacy("address-pools: [{name: x, protocol: layer2, addresses: [192.0.2.9-192.0.2.1]}]"),
            "bad.yaml, document 1, ConfigMap metallb-system/config, address-pools[0].addresses[0]: ",
        ),
        (
            "a word that the API does not have",
            service("bad", ", externalTrafficPolicy: Lokal"),
            "bad.yaml, document 1, Service default/bad, spec.externalTrafficPolicy: \"Lokal\" is not permitted there: expected Cluster or Local",
        ),
        (
            "an address that another Service has",
            service("zz", ", loadBalancerIP: 198.51.100.7"),
            "bad.yaml, document 1, Service default/zz, spec.loadBalancerIP: 198.51.100.7 is in use by Service default/good, and they can't share it: both need the annotation metallb.io/allow-shared-ip with one value",
        ),
        ("no kind", "apiVersion: v1\nmetadata: {name: x}\n".to_owned(), "kind: the field is missing"),
        (
            "another kind",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x, namespace: y}\n".to_owned(),
            "bad.yaml, document 1, Deployment y/x: apps/v1 Deployment is not used here: the object is ignored",
        ),
        (
            "a second object of the name",
            service("good", "").replace("---", "x: &x 1\n---").split_off(8),
            "bad.yaml, document 1, Service default/good: the object is already defined in good.yaml, document 2: that one stays",
        ),
    ];
    for (what, text, expected) in cases {
        let mut bench = Bench::new();
        let good =
            [pool("good", "198.51.100.0/24"), service("good", ", loadBalancerIP: 198.51.100.7")].concat();
        bench.write("good.yaml", &good).decide();
        bench.write("bad.yaml", text);
        let decided = bench.decide();
        assert_eq!(of(&decided, "good"), ["198.51.100.7"], "{what}");
        let messages = messages(&decided);
        assert!(messages.iter().any(|m| m.contains(expected)), "{what}: {messages:#?}");
    }
}

#[test]
fn a_nodes_own_address_is_not_given_out() {
    let mut bench = Bench::new();
    bench.own = ["192.0.2.8".parse().unwrap(), "2001:db8::8".parse().unwrap()].into();
    bench.write("pool.yaml", &pool("p", "192.0.2.8/30, \"2001:db8::8/126\""));
    let decided = bench.write("s.yaml", &service("both", ", ipFamilyPolicy: RequireDualStack")).decide();
    assert_eq!(of(&decided, "both"), ["192.0.2.9", "2001:db8::9"]);
    let found = messages(&decided);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("spec.addresses[0]: 192.0.2.8 is an address of a node"), "{found:#?}");
}

#[test]
fn an_invalid_v09_document_keeps_the_last_good_one() {
    let mut bench = Bench::new();
    bench.write("all.yaml", SEED).decide();
    let decided = bench.write("all.yaml", &SEED.replace("layer2", "layer3")).decide();
    assert_eq!(of(&decided, "web"), ["192.168.34.0"]);
    let found = messages(&decided);
    assert!(found[0].contains("ConfigMap metallb-system/config, address-pools[0].protocol: "), "{found:#?}");
    // metallb.md, section 1: so does one without an address in use.
    let decided = bench.write("all.yaml", &SEED.replace("34", "35")).decide();
    assert_eq!(of(&decided, "web"), ["192.168.34.0"]);
    let found = messages(&decided);
    let expected = "all.yaml, document 1, ConfigMap metallb-system/config, address-pools: no pool has 192.168.34.0 any \
                    more, which Service default/web has: ";
    assert!(found.len() == 1 && found[0].starts_with(expected), "{found:#?}");
    let longer = SEED.replace("192.168.34.255", "192.168.35.255");
    let decided = bench.write("all.yaml", &longer).decide();
    assert_eq!((of(&decided, "web"), messages(&decided)), (vec!["192.168.34.0".to_owned()], vec![]));
}

#[test]
fn what_a_broken_file_said_stays_in_force() {
    let mut bench = Bench::new();
    bench.write("all.yaml", SEED).decide();
    for broken in ["kind: [", "", "\u{0}", "---\na: 1\n"] {
        let decided = bench.write("all.yaml", broken).decide();
        assert_eq!(of(&decided, "web"), ["192.168.34.0"], "{broken:?}");
        assert!(!messages(&decided).is_empty(), "{broken:?}");
    }
    fs::write(bench.dir.path().join("all.yaml"), b"\xff\xfe").unwrap();
    assert_eq!(
        messages(&bench.decide()),
        [
            "all.yaml: the file is not UTF-8 text: the byte at offset 0 does not fit; what it said before stays in force"
        ]
    );
    fs::remove_file(bench.dir.path().join("all.yaml")).unwrap();
    let decided = bench.decide();
    assert!(decided.services.is_empty() && decided.problems.is_empty());
}

#[test]
fn restored_addresses_are_kept() {
    let mut bench = Bench::new();
    let key: ServiceKey = "default/web".parse().unwrap();
    let ip = Addresses::one("192.168.34.77".parse().unwrap());
    bench.decider = Decider::new(InForce::default(), BTreeMap::from([(key, ip)]));
    let other = service("aa", "");
    let decided = bench.write("all.yaml", SEED).write("b.yaml", &other).decide();
    assert_eq!(of(&decided, "web"), ["192.168.34.77"]);
    assert_eq!(of(&decided, "aa"), ["192.168.34.0"]);
}

#[test]
fn only_services_of_the_class() {
    let mut bench = Bench::new();
    bench.write("all.yaml", SEED).write("b.yaml", &service("b", ", loadBalancerClass: example.com/x"));
    assert!(of(&bench.decide(), "b").is_empty());
    bench.rules.lb_class = Some("example.com/x".to_owned());
    let decided = bench.decide();
    assert_eq!(of(&decided, "b").len(), 1);
    assert!(of(&decided, "web").is_empty());
}

#[test]
fn annotations_of_both_prefixes() {
    let mut bench = Bench::new();
    bench.write("pool.yaml", &pool("p", "192.0.2.0/24, \"2001:db8::/120\""));
    for (name, key, value) in [
        ("new", "metallb.io/loadBalancerIPs", "192.0.2.44"),
        ("old", "metallb.universe.tf/loadBalancerIPs", "192.0.2.45"),
    ] {
        let annotated = format!("{{name: {name}, annotations: {{{key}: {value}}}}}");
        let text = service(name, "").replace(&format!("{{name: {name}}}"), &annotated);
        bench.write(&format!("{name}.yaml"), &text);
    }
    let decided = bench.decide();
    assert_eq!(of(&decided, "new"), ["192.0.2.44"]);
    assert_eq!(of(&decided, "old"), ["192.0.2.45"]);
}

#[test]
fn nodes_and_endpoints() {
    const NODES: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: a, labels: {rack: r1}}, status: {addresses: [{type: InternalIP, address: 192.168.34.0}]}}
- {apiVersion: v1, kind: Node, metadata: {name: b}, status: {conditions: [{type: NetworkUnavailable, status: 'True'}]}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
  addressType: IPv4
  endpoints: [{addresses: [10.0.0.1], nodeName: b, conditions: {ready: true}}]
";
    let mut bench = Bench::new();
    let decided = bench.write("all.yaml", SEED).write("nodes.yaml", NODES).decide();
    assert_eq!(decided.nodes.len(), 2);
    assert!(decided.nodes.values().any(|node| node.network_unavailable));
    assert_eq!(of(&decided, "web"), ["192.168.34.1"], "the node's own address is left out");
    let web = &decided.services[&"default/web".parse().unwrap()];
    assert_eq!(web.endpoints, Endpoints::on([NodeName::new("b").unwrap()]));
    let decided = bench.write("nodes.yaml", &NODES.replace("name: a,", "name: c,")).decide();
    let found = messages(&decided);
    let expected =
        "Node a, metadata.name: there are Node objects, but none is named a: this node announces nothing";
    assert!(found.iter().any(|m| m == expected), "{found:#?}");
}

#[test]
fn problems_of_the_plan_get_their_file() {
    let mut bench = Bench::new();
    bench.write("pool.yaml", &pool("p", "192.0.2.0/24"));
    let decided = bench.write("s.yaml", &service("s", "")).decide();
    let me = NodeName::new("a").unwrap();
    let mut snapshot = lb_core::plan::Snapshot::alone(me);
    snapshot.config = Arc::clone(&decided.config);
    snapshot.services.clone_from(&decided.services);
    let found: Vec<String> =
        plan(&snapshot).problems.into_iter().map(|p| decided.located(p).to_string()).collect();
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("s.yaml, document 1, Service default/s, status.loadBalancer.ingress: "),
        "{found:?}"
    );
}

/// Two pools with a Service each, in two files.
fn two(bench: &mut Bench) -> Decided {
    let text = |name: &str, addresses: &str, ips: &str| {
        let annotated = format!("{{name: {name}, annotations: {{metallb.io/loadBalancerIPs: \"{ips}\"}}}}");
        let service = service(name, ", ipFamilyPolicy: RequireDualStack");
        [pool(name, addresses), service.replace(&format!("{{name: {name}}}"), &annotated)].concat()
    };
    bench.write("a.yaml", &text("a", "192.0.2.0/24, \"2001:db8:a::/112\"", "192.0.2.7,2001:db8:a::7"));
    bench.write("b.yaml", &text("b", "198.51.100.0/24, \"2001:db8:b::/112\"", "198.51.100.7,2001:db8:b::7"));
    bench.decide()
}

const A: [&str; 2] = ["192.0.2.7", "2001:db8:a::7"];
const B: [&str; 2] = ["198.51.100.7", "2001:db8:b::7"];

/// An edit: what it is, the file, its text, and the beginning of what is told.
type Edit = (&'static str, &'static str, String, &'static str);

fn wrong_edits() -> Vec<Edit> {
    let pool_b = |addresses: &str| pool("b", addresses);
    vec![
        (
            "an earlier pool takes a later one's",
            "a.yaml",
            [
                pool("a", "192.0.2.0/24, \"2001:db8:a::/112\", 198.51.0.0/16"),
                service("a", ", ipFamilyPolicy: RequireDualStack"),
            ]
            .concat(),
            "a.yaml, document 1, IPAddressPool metallb-system/a, spec.addresses[2]: 198.51.0.0/16 overlaps 198.51.100.0/24 of pool b",
        ),
        (
            "a new pool before both",
            "0.yaml",
            pool("new", "198.51.100.0/24"),
            "0.yaml, document 1, IPAddressPool metallb-system/new, spec.addresses[0]: 198.51.100.0/24 overlaps",
        ),
        (
            "IPv6 too",
            "0.yaml",
            pool("new", "\"2001:db8:b::/64\""),
            "0.yaml, document 1, IPAddressPool metallb-system/new, spec.addresses[0]: 2001:db8:b::/64 overlaps",
        ),
        (
            "a duplicate pool before",
            "0.yaml",
            pool_b("203.0.113.0/24"),
            "0.yaml, document 1, IPAddressPool metallb-system/b: the object is already defined in b.yaml, document 1",
        ),
        (
            "a duplicate Service before",
            "0.yaml",
            service("b", ", loadBalancerIP: 192.0.2.9"),
            "0.yaml, document 1, Service default/b: the object is already defined in b.yaml, document 2",
        ),
        (
            "a v0.9 pool of the same name",
            "0.yaml",
            legacy("address-pools: [{name: b, protocol: layer2, addresses: [203.0.113.0/24]}]"),
            "0.yaml, document 1, ConfigMap metallb-system/config, address-pools[0].name: \"b\" is already the name",
        ),
        (
            "another Service wants the address",
            "0.yaml",
            service("new", ", loadBalancerIP: 198.51.100.7"),
            "0.yaml, document 1, Service default/new, spec.loadBalancerIP: 198.51.100.7 is in use by Service default/b",
        ),
        ("no YAML", "b.yaml", "kind: [".to_owned(), "b.yaml, document 1: "),
        (
            "an empty file",
            "b.yaml",
            String::new(),
            "b.yaml: the file is empty: what it defined stays in force",
        ),
        (
            "the pool is bad",
            "b.yaml",
            [pool_b("198.51.100.9-198.51.100.1"), service("b", ", ipFamilyPolicy: RequireDualStack")]
                .concat(),
            "b.yaml, document 1, IPAddressPool metallb-system/b, spec.addresses[0]: the range starts at",
        ),
        (
            "the pool has another field",
            "b.yaml",
            [
                pool_b("203.0.113.0/24").replace("spec: {", "spec: {autoasign: true, "),
                service("b", ", ipFamilyPolicy: RequireDualStack"),
            ]
            .concat(),
            "b.yaml, document 1, IPAddressPool metallb-system/b, spec.autoasign: there is no such field",
        ),
        (
            "the Service is bad",
            "b.yaml",
            [pool_b("198.51.100.0/24, \"2001:db8:b::/112\""), service("b", ", ipFamilyPolicy: Both")]
                .concat(),
            "b.yaml, document 2, Service default/b, spec.ipFamilyPolicy: \"Both\" is not permitted",
        ),
    ]
}

/// An edit, what is told of it, and that both Services have what they had: at once, asked again, after a restart, and
/// while the file is wrong in another way. Then the edit is taken back.
#[test]
fn no_error_takes_an_address_from_anybody() {
    for (what, file, text, told) in &wrong_edits() {
        let mut bench = Bench::new();
        let good = two(&mut bench);
        assert_eq!((of(&good, "a"), of(&good, "b"), messages(&good)), (own(&A), own(&B), vec![]), "{what}");
        let before = fs::read_to_string(bench.dir.path().join(file)).ok();
        let check = |decided: Decided, when: &str| {
            assert_eq!((of(&decided, "a"), of(&decided, "b")), (own(&A), own(&B)), "{what}, {when}");
            assert!(decided.uncertain.is_empty(), "{what}, {when}");
            decided
        };
        for when in ["at once", "again"] {
            let found = messages(&check(bench.write(file, text).decide(), when));
            assert!(found.iter().any(|message| message.starts_with(told)), "{what}, {when}: {found:#?}");
        }
        let found = messages(&check(bench.restart().decide(), "after a restart"));
        assert!(found.iter().any(|message| message.starts_with(told)), "{what}, restarted: {found:#?}");
        assert!(!messages(&check(bench.write(file, "- x").decide(), "worse")).is_empty());
        check(bench.restart().decide(), "worse, after a restart");
        match before {
            Some(text) => bench.write(file, &text),
            None => bench.remove(file),
        };
        assert_eq!(messages(&check(bench.decide(), "healed")), Vec::<String>::new(), "{what}");
    }
}

fn own(ips: &[&str]) -> Vec<String> {
    ips.iter().map(|ip| (*ip).to_owned()).collect()
}

#[test]
fn a_directory_that_is_away_takes_nothing_with_it() {
    let mut bench = Bench::new();
    two(&mut bench);
    let (dir, away) = (bench.dir.path().to_owned(), bench.dir.path().with_extension("away"));
    fs::rename(&dir, &away).unwrap();
    for when in ["at once", "after a restart"] {
        let decided = bench.decide();
        assert_eq!((of(&decided, "a"), of(&decided, "b")), (own(&A), own(&B)), "{when}");
        let found = messages(&decided);
        assert!(found[0].contains("the directory can't be read"), "{found:?}");
        bench.restart();
    }
    fs::rename(&away, &dir).unwrap();
    let decided = bench.decide();
    assert_eq!((of(&decided, "a"), of(&decided, "b"), messages(&decided)), (own(&A), own(&B), vec![]));
}

#[test]
fn without_a_memory_no_address_is_forgotten_or_given_to_somebody_else() {
    for broken in ["pool.yaml", "service.yaml"] {
        let mut bench = Bench::new();
        bench.write("pool.yaml", &pool("p", "192.0.2.0/30, \"2001:db8::/126\""));
        bench.write("service.yaml", &service("web", ", ipFamilyPolicy: RequireDualStack")).decide();
        bench.write(broken, "kind: [");
        bench.write("other.yaml", &pool("other", "198.51.100.0/24"));
        bench.write("new.yaml", &service("aa", "")).restart_without_memory();
        for _ in 0..2 {
            let decided = bench.decide();
            let web: ServiceKey = "default/web".parse().unwrap();
            let held = bench.decider.addresses()[&web].to_string();
            assert_eq!(held, "192.0.2.0,2001:db8::", "{broken}");
            assert_ne!(of(&decided, "aa"), ["192.0.2.0"], "{broken}");
            assert_eq!(of(&decided, "aa").len(), 1, "{broken}");
            let waits = decided.decisions.get(&web).and_then(|decision| decision.awaiting).is_some();
            assert_eq!(
                (waits, decided.uncertain.contains(&web)),
                (broken == "pool.yaml", broken != "pool.yaml")
            );
        }
        match broken {
            "pool.yaml" => bench.write("pool.yaml", &pool("p", "192.0.2.0/30, \"2001:db8::/126\"")),
            _ => bench.write("service.yaml", &service("web", ", ipFamilyPolicy: RequireDualStack")),
        };
        let decided = bench.decide();
        assert_eq!((of(&decided, "web"), messages(&decided)), (own(&["192.0.2.0", "2001:db8::"]), vec![]));
    }
}

/// A removal takes effect and is acknowledged although something else is wrong.
#[test]
fn a_removal_does_not_wait_for_other_files() {
    let mut bench = Bench::new();
    two(&mut bench);
    bench.write("c.yaml", "kind: [").decide();
    let key: ServiceKey = "default/b".parse().unwrap();
    let decided = bench.write("b.yaml", &pool("b", "198.51.100.0/24")).decide();
    assert!(of(&decided, "b").is_empty() && !decided.uncertain.contains(&key));
    let decided = bench.remove("a.yaml").decide();
    assert!(decided.services.is_empty() && decided.uncertain.is_empty());
}

#[test]
fn a_service_with_a_bad_edit_says_so_in_its_status() {
    let mut bench = Bench::new();
    two(&mut bench);
    let bad = service("b", ", externalTrafficPolicy: Lokal");
    let decided =
        bench.write("b.yaml", &[pool("b", "198.51.100.0/24, \"2001:db8:b::/112\""), bad].concat()).decide();
    let statuses = crate::source::status::statuses(&decided, &BTreeMap::new());
    let status = &statuses[&"default/b".parse::<ServiceKey>().unwrap()];
    assert_eq!(status.load_balancer.ingress.len(), 2);
    let condition = status.conditions.iter().find(|c| c.kind == lb_core::status::ACCEPTED).unwrap();
    assert!(
        condition.message.starts_with("b.yaml, document 2, Service default/b, spec.externalTrafficPolicy: ")
    );
    let others =
        statuses.iter().filter(|(_, s)| s.conditions.iter().any(|c| c.kind == lb_core::status::ACCEPTED));
    assert_eq!(others.count(), 1);
}
