use std::{collections::BTreeMap, fs, path::Path};

use kube_cel::Validator;
use serde_json::{Value, from_value, json};

use super::*;

/// Schema of one version of a kind.
fn schema(kind: &str, version: &str) -> Value {
    let crd = all().unwrap().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    let version = crd.spec.versions.into_iter().find(|v| v.name == version).unwrap();
    serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap()
}

/// What the rules say to a spec, as `field: message`.
fn refused(kind: &str, spec: &Value) -> Vec<String> {
    let object = json!({"metadata": {"name": "x"}, "spec": spec});
    let result = Validator::new().validate(&schema(kind, "v1beta1"), &object, None);
    let errors = result.err().map(|errors| errors.into_iter().collect::<Vec<_>>()).unwrap_or_default();
    errors.iter().map(|error| format!("{}: {}", error.field_path, error.message)).collect()
}

/// `cargo xtask crds` writes them.
#[test]
fn the_manifests_are_up_to_date() {
    for folder in ["manifests/crds", "charts/barelb/crds"] {
        are_up_to_date(folder);
    }
}

fn are_up_to_date(folder: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut found: BTreeMap<_, _> =
        files.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect();
    // That it lists every file is tested with the other manifests.
    found.remove("kustomization.yaml");
    let expected: BTreeMap<_, _> = manifests().unwrap().into_iter().collect();
    assert!(found.keys().eq(expected.keys()), "the files are {:?}", found.keys());
    for (name, text) in expected {
        assert!(found[&name] == text, "{folder}/{name} is out of date: run `cargo xtask crds`");
    }
}

#[test]
fn a_manifest_is_the_crd_it_was_made_from() {
    for ((_, text), crd) in manifests().unwrap().iter().zip(all().unwrap()) {
        let read: CustomResourceDefinition = serde_saphyr::from_str(text).unwrap();
        assert_eq!(read, crd);
    }
}

/// Calls `look` with each field below a schema: its path and its schema.
fn fields(schema: &Value, path: &str, look: &mut impl FnMut(&str, &Value)) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if name != "metadata" {
            look(&path, field);
        }
        fields(field, &path, look);
        fields(&field["items"], &format!("{path}[]"), look);
    }
}

fn every_field(mut look: impl FnMut(&str, &Value)) {
    for crd in all().unwrap() {
        for version in crd.spec.versions {
            let path = format!("{} {}", crd.spec.names.kind, version.name);
            let schema = version.schema.unwrap().open_api_v3_schema.unwrap();
            fields(&serde_json::to_value(schema).unwrap(), &path, &mut look);
        }
    }
}

#[test]
fn every_field_is_explained() {
    let mut count = 0;
    every_field(|path, field| {
        let text = field["description"].as_str().unwrap_or_default();
        assert!(text.len() > 5 && !text.contains('`'), "{path}: {text:?}");
        count += 1;
    });
    assert!(count > 100, "{count} fields");
}

#[test]
fn numbers_have_formats_of_the_api_and_defaults_are_those_of_metallb() {
    let mut defaults = Vec::new();
    every_field(|path, field| {
        let format = field["format"].as_str();
        let permitted = matches!(format, None | Some("int32" | "int64" | "date-time"));
        assert!(permitted, "{path} has format {format:?}");
        assert!(field["type"] != "integer" || format.is_some(), "{path} has no format");
        assert!(field.get("nullable").is_none(), "{path} may be null");
        if let Some(default) = field.get("default") {
            defaults.push(format!("{path}={default}"));
        }
    });
    assert_eq!(
        defaults,
        [
            "BGPAdvertisement v1beta1.spec.aggregationLength=32",
            "BGPAdvertisement v1beta1.spec.aggregationLengthV6=128",
            "BGPPeer v1beta2.spec.disableMP=false",
            "BGPPeer v1beta2.spec.dualStackAddressFamily=false",
            "BGPPeer v1beta2.spec.peerPort=179",
            "IPAddressPool v1beta1.spec.autoAssign=true",
            "IPAddressPool v1beta1.spec.avoidBuggyIPs=false",
        ]
    );
}

#[test]
fn names_columns_and_subresources() {
    for crd in all().unwrap() {
        let (names, kind) = (&crd.spec.names, crd.spec.names.kind.as_str());
        assert_eq!(crd.metadata.name, Some(format!("{}.metallb.io", names.plural)));
        assert_eq!(crd.spec.scope, "Namespaced");
        assert_eq!(crd.spec.versions.iter().filter(|v| v.storage).count(), 1);
        assert!(crd.spec.versions.iter().all(|v| v.served && v.subresources.is_some()), "{kind}");
        let stored = crd.spec.versions.iter().find(|v| v.storage).unwrap();
        let short = names.short_names.iter().flatten().map(String::as_str).collect::<Vec<_>>();
        let expected: &[&str] = match kind {
            "BGPAdvertisement" => &["bgpadv"],
            "ConfigurationState" => &["lbstate"],
            "IPAddressPool" => &["lbpool"],
            "L2Advertisement" => &["l2adv"],
            "ServiceL2Status" => &["l2status"],
            _ => &[],
        };
        assert_eq!(short, expected, "{kind}");
        assert_eq!(stored.name, if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" });
        let columns = stored.additional_printer_columns.iter().flatten();
        let columns: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
        let expected: &[&str] = match kind {
            "BFDProfile" => &["Passive Mode", "Transmit Interval", "Receive Interval", "Multiplier"],
            "BGPAdvertisement" => &["IPAddressPools", "IPAddressPool Selectors", "Peers", "Node Selectors"],
            "BGPPeer" => &["Address", "ASN", "BFD Profile", "Multi Hops"],
            "ConfigurationState" => &["Result", "ErrorSummary", "Age"],
            "IPAddressPool" => &["Auto Assign", "Avoid Buggy IPs", "Addresses"],
            "L2Advertisement" => {
                &["IPAddressPools", "IPAddressPool Selectors", "Interfaces", "Node Selectors"]
            }
            "ServiceL2Status" => &["Allocated Node", "Service Name", "Service Namespace"],
            "ServiceBGPStatus" => &["Node", "Service Name", "Service Namespace"],
            _ => &[],
        };
        assert_eq!(columns, expected, "{kind}");
    }
}

#[test]
fn the_rules_of_a_pool() {
    const ENTRY: &str = "must be a CIDR block (192.0.2.0/24) or a range (192.0.2.10-192.0.2.20); a single address is \
                         written as 192.0.2.1/32 or 2001:db8::1/128";
    const MIXED: &str = "both ends of a range must be of one family, IPv4 or IPv6";
    const BACKWARDS: &str = "the range starts after its end: swap them";
    for (entry, message) in [
        ("192.0.2.0/24", None),
        ("192.0.2.10/24", None),
        ("192.0.2.10-192.0.2.10", None),
        (" 192.0.2.9 - 192.0.2.10 ", None),
        (" 192.0.2.0/24 ", None),
        ("9.255.255.255-10.0.0.0", None),
        ("192.168.0.253-192.168.1.2", None),
        ("2001:db8::/64", None),
        ("2001:db8::9-2001:db8::10", None),
        ("192.0.2.1", Some(ENTRY)),
        ("2001:db8::1", Some(ENTRY)),
        ("192.0.2.0/33", Some(ENTRY)),
        ("2001:db8::/129", Some(ENTRY)),
        ("100.200.300.400/24", Some(ENTRY)),
        ("1.1.1.1-1.1.1.2-1.1.1.3", Some(ENTRY)),
        ("-", Some(ENTRY)),
        ("a-b", Some(ENTRY)),
        ("192.0.2.1-2001:db8::1", Some(MIXED)),
        ("2001:db8::1-192.0.2.1", Some(MIXED)),
        ("192.0.2.10-192.0.2.9", Some(BACKWARDS)),
        ("192.0.3.0-192.0.2.255", Some(BACKWARDS)),
        ("10.0.0.0-9.255.255.255", Some(BACKWARDS)),
    ] {
        let expected: Vec<String> =
            message.iter().map(|message| format!("spec.addresses[1]: {message}")).collect();
        assert_eq!(
            refused("IPAddressPool", &json!({"addresses": ["198.51.100.0/24", entry]})),
            expected,
            "{entry}"
        );
    }
    let twice = json!({"addresses": ["192.0.2.0/24", "192.0.2.0/24"]});
    assert_eq!(refused("IPAddressPool", &twice), ["spec.addresses: an entry is listed twice"]);
    let rule = |rule: Value| json!({"addresses": ["192.0.2.0/24"], "serviceAllocation": rule});
    assert_eq!(
        refused("IPAddressPool", &rule(json!({"namespaces": ["a", "b", "a"]}))),
        ["spec.serviceAllocation.namespaces: a namespace is listed twice"]
    );
}

/// What CEL refuses lb-core refuses too, and the other way round but for the order of IPv6 addresses: where MetalLB's
/// CRDs are installed, lb-core is alone.
#[test]
fn the_rules_agree_with_the_controller() {
    let parts = ["192.0.2.1", "192.0.2.10", "2001:db8::1", "2001:db8::10", "", " ", "x", "192.0.2.256"];
    let mut entries: Vec<String> = parts.iter().map(|part| format!("{part}/32")).collect();
    for first in parts {
        entries.extend(parts.iter().map(|last| format!("{first}-{last}")));
    }
    entries.extend([" 192.0.2.0/24 ", " 2001:db8::/64 "].map(str::to_owned));
    for entry in entries {
        let cel = refused("IPAddressPool", &json!({"addresses": [entry]})).is_empty();
        let core = entry.parse::<lb_core::pool::Range>();
        let ordered =
            matches!(core, Err(lb_core::pool::RangeError::StartAfterEnd { first, .. }) if first.is_ipv6());
        assert_eq!(cel, core.is_ok() || ordered, "{entry:?}");
    }
}

#[test]
fn the_rules_of_an_advertisement() {
    for (spec, expected) in [
        (json!({}), None),
        (json!({"ipAddressPools": ["a", "b"], "interfaces": ["eth0", "eth1"]}), None),
        (json!({"ipAddressPools": ["a", "a"]}), Some("spec.ipAddressPools: a name is listed twice")),
        (json!({"interfaces": ["a", "a"]}), Some("spec.interfaces: an interface is listed twice")),
        (
            json!({"nodeSelectors": [{}, {"matchExpressions": [{"key": "a", "operator": "In"}]}]}),
            Some(
                "spec.nodeSelectors[1].matchExpressions[0]: values: the operators In and NotIn need at least one \
                 value",
            ),
        ),
        (
            json!({"nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}]}),
            Some(
                "spec.nodeSelectors[0].matchExpressions[0]: values: the operators Exists and DoesNotExist take no \
                 values",
            ),
        ),
    ] {
        assert_eq!(refused("L2Advertisement", &spec), expected.into_iter().collect::<Vec<_>>(), "{spec}");
    }
    let interface =
        &schema("L2Advertisement", "v1beta1")["properties"]["spec"]["properties"]["interfaces"]["items"];
    assert_eq!((&interface["minLength"], &interface["maxLength"]), (&json!(1), &json!(15)));
}

#[test]
fn a_status_stays_that_of_one_node_and_one_service() {
    let object = |node| json!({"status": {"node": node, "serviceName": "s", "serviceNamespace": "n"}});
    let schema = schema("ServiceL2Status", "v1beta1");
    let change = |new| Validator::new().validate(&schema, &object(new), Some(&object("a")));
    assert!(change("a").is_ok());
    assert_eq!(change("b").unwrap_err().into_iter().next().unwrap().message, "node: can't be changed");
}

/// Rules can only be affordable if what they look at is bounded; the bounds themselves are the API server's to judge.
#[test]
fn lists_with_rules_are_bounded() {
    fn walk(schema: &Value, path: &str, count: &mut u32) {
        let below = schema.to_string().contains("x-kubernetes-validations");
        if below && schema["type"] == "array" {
            assert!(schema["maxItems"].is_u64(), "{path} has no maxItems");
            *count += 1;
        }
        if below && schema["type"] == "string" && schema["x-kubernetes-validations"].is_array() {
            assert!(schema["maxLength"].is_u64(), "{path} has no maxLength");
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            walk(field, &format!("{path}.{name}"), count);
        }
        if schema["items"].is_object() {
            walk(&schema["items"], &format!("{path}[]"), count);
        }
    }
    let mut count = 0;
    for kind in ["IPAddressPool", "L2Advertisement", "BGPAdvertisement"] {
        walk(&schema(kind, "v1beta1"), kind, &mut count);
    }
    walk(&schema("BGPPeer", "v1beta2"), "BGPPeer", &mut count);
    assert!(count > 10);
}

#[test]
fn a_spec_may_be_left_out_where_metallb_lets_it() {
    let object = || json!({"metadata": {"name": "x"}});
    assert_eq!(from_value::<L2Advertisement>(object()).unwrap().spec, L2AdvertisementSpec::default());
    assert!(from_value::<BGPAdvertisement>(object()).is_ok());
    assert!(from_value::<BFDProfile>(object()).is_ok());
    assert!(from_value::<Community>(object()).is_ok());
    assert!(from_value::<ServiceL2Status>(object()).is_ok());
    assert!(from_value::<ServiceBGPStatus>(object()).is_ok());
    assert!(from_value::<ConfigurationState>(json!({"metadata": {}, "spec": null})).is_ok());
    assert!(from_value::<IPAddressPool>(object()).is_err());
    for kind in ["L2Advertisement", "BGPAdvertisement", "BFDProfile", "Community", "ServiceL2Status"] {
        assert_eq!(schema(kind, "v1beta1").get("required"), None, "{kind}");
    }
    assert_eq!(schema("IPAddressPool", "v1beta1")["required"], json!(["spec"]));
}

#[test]
fn objects_come_back_as_they_were_written() {
    let spec = json!({
        "ipAddressPools": ["p"], "interfaces": ["eth0"], "nodeSelectors": [{"matchLabels": {"a": "b"}}],
        "preferredNodeSelectors": [{"weight": 3, "preference": {}}],
    });
    let ad = json!({"apiVersion": API_VERSION, "kind": "L2Advertisement", "metadata": {"name": "a"}, "spec": spec});
    assert_eq!(serde_json::to_value(from_value::<L2Advertisement>(ad.clone()).unwrap()).unwrap(), ad);
    let spec = json!({"addresses": ["192.0.2.0/24"], "autoAssign": true, "avoidBuggyIPs": false});
    let status = json!({"assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": i64::MAX, "availableIPv6": 0});
    let pool = json!({
        "apiVersion": API_VERSION, "kind": "IPAddressPool", "metadata": {"name": "p"}, "spec": spec,
        "status": status,
    });
    assert_eq!(serde_json::to_value(from_value::<IPAddressPool>(pool.clone()).unwrap()).unwrap(), pool);
}
