//! The command lines of etcd and kube-apiserver.

use std::path::Path;

use super::{Options, PORT, access, audit};
use crate::scratch::Scratch;

const ETCD: &str = "http://127.0.0.1:2379";
const ETCD_PEER: &str = "http://127.0.0.1:2380";

pub(super) fn etcd(folder: &Scratch) -> Vec<String> {
    let mut arguments = vec![
        format!("--data-dir={}", text(&folder.join("etcd"))),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        format!("--listen-peer-urls={ETCD_PEER}"),
        format!("--initial-advertise-peer-urls={ETCD_PEER}"),
        format!("--initial-cluster=default={ETCD_PEER}"),
    ];
    // The data need to survive a killed etcd, not a killed machine.
    arguments.extend(["--unsafe-no-fsync", "--log-level=warn"].map(ToOwned::to_owned));
    arguments
}

pub(super) fn api(folder: &Scratch, options: &Options) -> Vec<String> {
    let certificates = folder.join("certificates");
    let inside = |name: &str| text(&certificates.join(name));
    let mut arguments = vec![
        format!("--etcd-servers={ETCD}"),
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
        "--authorization-mode=RBAC".to_owned(),
        // Both wait for a controller manager: one for tokens of pods, the other for taints to be taken away.
        "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition".to_owned(),
        "--allow-privileged=true".to_owned(),
    ];
    arguments.extend(audit::arguments(folder));
    arguments.extend(options.arguments.iter().cloned());
    arguments
}

pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
