use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::source::files::{Files, Settings};

const MANIFESTS: &str = "\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: web, labels: {a: b}, annotations: {metallb.io/allow-shared-ip: k}},
   spec: {type: LoadBalancer, ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6, IPv4], loadBalancerClass: c,
          externalTrafficPolicy: Local, selector: {app: x}, ports: [{port: 80}, {port: 53, protocol: UDP}]}}
- {apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p, labels: {tier: gold}},
   spec: {addresses: [192.0.2.0/24, '2001:db8::/112'], autoAssign: false, avoidBuggyIPs: true,
          serviceAllocation: {priority: 7, namespaces: [x], serviceSelectors: [{matchLabels: {a: b}}]}}}
- {apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: a, annotations: {barelb.io/vlan: '42'}},
   spec: {ipAddressPools: [p], interfaces: [eth0], nodeSelectors: [{matchExpressions: [{key: k, operator: Exists}]}],
          preferredNodeSelectors: [{weight: 5, preference: {matchLabels: {a: b}}}]}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: config},
   data: {config: 'address-pools: [{name: old, protocol: layer2, addresses: [198.51.100.0/24]}]'}}
- {apiVersion: v1, kind: Node, metadata: {name: n1, labels: {rack: r1}}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}
- {apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {team: t}}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
  addressType: IPv4
  endpoints: [{addresses: [10.0.0.1], nodeName: n1, conditions: {ready: true}}]
";

/// Everything of the manifests, in force.
fn in_force(dir: &Path) -> InForce {
    let mut files = Files::new(dir, Settings::default());
    files.read();
    let objects = InForce::default().choose(&files).objects.into_iter();
    let held = objects.map(|(id, mut choice)| {
        let content = choice.written.take().unwrap_or_else(|| panic!("{id}: {:?}", choice.problems));
        (id, choice.into_held(content))
    });
    InForce::new(held.collect())
}

fn addresses() -> BTreeMap<ServiceKey, Addresses> {
    let ips = ["2001:db8::7".parse().unwrap(), "192.0.2.7".parse().unwrap()];
    BTreeMap::from([("default/web".parse().unwrap(), Addresses::new(&ips).unwrap())])
}

fn files(state: &Path) -> Vec<String> {
    let entries = fs::read_dir(state.join(FOLDER)).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_kind_of_object_is_remembered() {
    let (state, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(dir.path().join("all.yaml"), MANIFESTS).unwrap();
    let all = in_force(dir.path());
    assert_eq!(all.objects().count(), 7);
    let (mut memory, nothing) = Memory::open(state.path(), dir.path());
    assert!(nothing.in_force.is_empty() && nothing.problems.is_empty());
    assert_eq!(memory.save(&all, &addresses()), []);
    assert_eq!(files(state.path()), ["addresses.json", "all.yaml.json"]);
    let (_, remembered) = Memory::open(state.path(), dir.path());
    assert_eq!(remembered.problems, []);
    assert!(remembered.in_force.objects().eq(all.objects()));
    assert_eq!(remembered.addresses, addresses());
    let (_, others) = Memory::open(state.path(), state.path());
    assert!(others.in_force.is_empty() && others.addresses.is_empty(), "of another directory");
}

#[test]
fn only_what_differs_is_written_and_what_is_gone_is_removed() {
    let (state, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let service = |name: &str| format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n");
    for name in ["a", "b"] {
        fs::write(dir.path().join(format!("{name}.yaml")), service(name)).unwrap();
    }
    let (mut memory, _) = Memory::open(state.path(), dir.path());
    memory.save(&in_force(dir.path()), &addresses());
    let inode = |name: &str| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(state.path().join(FOLDER).join(name)).unwrap().ino()
    };
    let before = ["a.yaml.json", "b.yaml.json", ADDRESSES].map(inode);
    memory.save(&in_force(dir.path()), &addresses());
    assert_eq!(["a.yaml.json", "b.yaml.json", ADDRESSES].map(inode), before);
    fs::write(dir.path().join("a.yaml"), service("other")).unwrap();
    fs::remove_file(dir.path().join("b.yaml")).unwrap();
    let now = in_force(dir.path());
    memory.save(&now, &BTreeMap::new());
    assert_eq!(files(state.path()), ["a.yaml.json", ADDRESSES]);
    let (_, remembered) = Memory::open(state.path(), dir.path());
    assert!(remembered.in_force.objects().eq(now.objects()) && remembered.addresses.is_empty());
}

#[test]
fn garbage_is_named_and_ignored() {
    let (state, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(dir.path().join("all.yaml"), MANIFESTS).unwrap();
    let (mut memory, _) = Memory::open(state.path(), dir.path());
    memory.save(&in_force(dir.path()), &addresses());
    let folder = state.path().join(FOLDER);
    fs::write(folder.join("bad.yaml.json"), "{").unwrap();
    fs::write(folder.join(".barelb-1-1.tmp"), "{").unwrap();
    fs::write(folder.join(ADDRESSES), "[]").unwrap();
    let (_, remembered) = Memory::open(state.path(), dir.path());
    assert_eq!(remembered.in_force.objects().count(), 7);
    let texts: Vec<String> = remembered.problems.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts[0].ends_with(
            "/addresses.json: this is not a memory written by this version of barelb: it is ignored"
        )
    );
    assert!(!folder.join(".barelb-1-1.tmp").exists());
}

#[test]
fn what_can_not_be_written_is_told_and_tried_again() {
    let (state, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(dir.path().join("all.yaml"), MANIFESTS).unwrap();
    let folder = state.path().join(FOLDER);
    // A file where the folder should be stops root too.
    fs::write(&folder, "").unwrap();
    let (mut memory, _) = Memory::open(state.path(), dir.path());
    for _ in 0..2 {
        let failed = memory.save(&in_force(dir.path()), &addresses());
        assert_eq!(failed.len(), 1);
        assert!(failed[0].to_string().contains("/in-force: the file can't be written ("), "{}", failed[0]);
    }
    fs::remove_file(&folder).unwrap();
    assert_eq!(memory.save(&in_force(dir.path()), &addresses()), []);
    assert_eq!(files(state.path()), ["addresses.json", "all.yaml.json"]);
    assert_eq!(fs::metadata(folder.join(ADDRESSES)).unwrap().permissions().mode() & 0o777, 0o644);
}
