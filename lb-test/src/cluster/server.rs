//! The command lines of etcd and kube-apiserver.

use std::path::Path;

use super::{Options, PORT, access, audit};
use crate::scratch::Scratch;

const ETCD: u16 = 2379;
const ETCD_PEER: u16 = 2380;

pub(super) fn etcd(folder: &Scratch, options: &Options) -> Vec<String> {
    let [client, peer] = [ETCD, ETCD_PEER].map(|port| loopback(options, port));
    let mut arguments = vec![
        format!("--data-dir={}", text(&folder.join("etcd"))),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ];
    // The data need to survive a killed etcd, not a killed machine.
    arguments.extend(["--unsafe-no-fsync", "--log-level=warn"].map(ToOwned::to_owned));
    arguments
}

pub(super) fn api(folder: &Scratch, options: &Options) -> Vec<String> {
    let certificates = folder.join("certificates");
    let inside = |name: &str| text(&certificates.join(name));
    let mut arguments = vec![
        format!("--etcd-servers={}", loopback(options, ETCD)),
        // Makes a certificate for the advertised address there.
        format!("--cert-dir={}", text(&certificates)),
        // Its key is read after it was made, so it can sign tokens too, and no other program has to make keys.
        format!("--service-account-signing-key-file={}", inside("apiserver.key")),
        format!("--service-account-key-file={}", inside("apiserver.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--bind-address=::".to_owned(),
        format!("--secure-port={PORT}"),
        format!("--advertise-address={}", options.address),
        format!("--service-cluster-ip-range={}", options.service_ranges),
        format!("--token-auth-file={}", text(&folder.join(access::TOKENS))),
        "--allow-privileged=true".to_owned(),
    ];
    arguments.extend(authorities(options.kubelets).iter().map(|&argument| argument.to_owned()));
    arguments.extend(audit::arguments(folder));
    arguments.extend(options.arguments.iter().cloned());
    arguments
}

/// Who decides what is allowed.
fn authorities(kubelets: bool) -> &'static [&'static str] {
    if kubelets {
        return &[
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            // Nobody knows the nodes by their names.
            "--kubelet-preferred-address-types=InternalIP",
        ];
    }
    // Both plugins wait for a controller manager: one for tokens of pods, the other for taints to be taken away.
    &["--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition"]
}

/// Of the family of the control plane's own address.
fn loopback(options: &Options, port: u16) -> String {
    format!("http://{}", options.loopback(port))
}

pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
