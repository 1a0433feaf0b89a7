use super::*;

fn sharing(key: &str, policy: TrafficPolicy, app: &str, ports: &[(Protocol, u16)]) -> Sharing {
    let mut selector = BTreeMap::new();
    if !app.is_empty() {
        selector.insert("app".to_owned(), app.to_owned());
    }
    let ports = ports.iter().map(|(protocol, port)| Port { protocol: *protocol, port: *port });
    Sharing::new(Some(key), policy, &selector, ports)
}

/// metallb.md, section 3, the sharing test (a) to (c).
#[test]
fn who_may_share_with_whom() {
    use Protocol::{Sctp, Tcp, Udp};
    use SharingConflict::{DifferentBackend, DifferentKey, NoKey, SamePort};
    use TrafficPolicy::{Cluster, Local};
    let base = sharing("k", Cluster, "a", &[(Tcp, 80)]);
    let tcp80 = Port { protocol: Tcp, port: 80 };
    for (other, conflict) in [
        (sharing("k", Cluster, "b", &[(Tcp, 443)]), None),
        (sharing("k", Cluster, "a", &[(Udp, 80)]), None),
        (sharing("k", Cluster, "a", &[(Sctp, 80), (Udp, 80)]), None),
        (sharing("k", Cluster, "a", &[(Udp, 53), (Tcp, 80)]), Some(SamePort(tcp80))),
        (sharing("j", Cluster, "a", &[(Tcp, 443)]), Some(DifferentKey)),
        (sharing("", Cluster, "a", &[(Tcp, 443)]), Some(NoKey)),
        (sharing("k", Local, "a", &[(Tcp, 443)]), Some(DifferentBackend)),
        (sharing("k", Local, "", &[(Tcp, 443)]), None),
    ] {
        assert_eq!(base.conflict(&other), conflict, "{other:?}");
        assert_eq!(other.conflict(&base), conflict, "symmetric");
    }
    let local = sharing("k", Local, "a", &[(Tcp, 80)]);
    assert_eq!(local.conflict(&sharing("k", Local, "a", &[(Tcp, 443)])), None);
    assert_eq!(local.conflict(&sharing("k", Local, "b", &[(Tcp, 443)])), Some(DifferentBackend));
    let keyless = Sharing::new(None, Cluster, &BTreeMap::new(), []);
    assert_eq!(keyless.conflict(&keyless), Some(NoKey));
}

#[test]
fn words_of_the_api() {
    assert_eq!(
        ["TCP", "UDP", "SCTP"].map(str::parse),
        [Ok(Protocol::Tcp), Ok(Protocol::Udp), Ok(Protocol::Sctp)]
    );
    assert_eq!("tcp".parse::<Protocol>().unwrap_err().to_string(), "expected TCP, UDP or SCTP");
    assert_eq!("Local".parse(), Ok(TrafficPolicy::Local));
    assert!("local".parse::<TrafficPolicy>().is_err());
}
