//! Users and their kubeconfig files.

use std::borrow::Cow;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{ControlPlane, PORT, server};
use crate::scratch::Scratch;

pub(super) const TOKENS: &str = "tokens.csv";

/// A user that is known from the start; others are ServiceAccounts.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    user: Cow<'static, str>,
    group: &'static str,
}

/// The group that may do everything.
pub(super) const ADMIN: Fixed = Fixed { user: Cow::Borrowed("admin"), group: "system:masters" };

/// The users that Kubernetes' own roles are meant for.
pub(super) const KUBE_PROXY: Fixed = of_kubernetes("system:kube-proxy");
pub(super) const SCHEDULER: Fixed = of_kubernetes("system:kube-scheduler");

/// With its own role it would first make an account for each of its controllers, and then ask for their tokens.
pub(super) const CONTROLLER_MANAGER: Fixed =
    Fixed { user: Cow::Borrowed("system:kube-controller-manager"), group: "system:masters" };

/// A kubelet, whom the Node authorizer lets do what is its node's.
pub(super) fn kubelet(node: &str) -> Fixed {
    Fixed { user: format!("system:node:{node}").into(), group: "system:nodes" }
}

const fn of_kubernetes(user: &'static str) -> Fixed {
    Fixed { user: Cow::Borrowed(user), group: "system:authenticated" }
}

impl Fixed {
    /// The API server can be reached from namespaces of one test only, so this guards against mistakes.
    fn token(&self) -> String {
        format!("token-of-{}", self.user.replace(':', "-"))
    }
}

/// A kubeconfig for one user; its file lives as long as the control plane.
#[derive(Clone, Debug)]
pub struct Access {
    user: String,
    kubeconfig: PathBuf,
}

impl Access {
    /// The name that the API server knows the user by, as in the audit log.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// What to give as `--kubeconfig`.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(super) fn fixed(folder: &Scratch, server: IpAddr, who: &Fixed) -> Result<Self> {
        Self::write(folder, server, &who.user, &who.token())
    }

    fn file(folder: &Scratch, user: &str) -> PathBuf {
        folder.join("kubeconfig").join(user.replace(':', "-"))
    }

    fn write(folder: &Scratch, server: IpAddr, user: &str, token: &str) -> Result<Self> {
        let kubeconfig = Self::file(folder, user);
        let authority = server::text(&folder.join("certificates/apiserver.crt"));
        fs::write(&kubeconfig, document(SocketAddr::from((server, PORT)), &authority, token))?;
        Ok(Self { user: user.to_owned(), kubeconfig })
    }
}

impl ControlPlane {
    /// A kubeconfig with a token of the ServiceAccount, as its pods would get it. Makes the namespace and the
    /// account if they are missing; what it may do is left to roles that the test applies. A second call needs no API
    /// server: the token lasts for a day.
    pub fn service_account(&self, namespace: &str, name: &str) -> Result<Access> {
        let user = format!("system:serviceaccount:{namespace}:{name}");
        let kubeconfig = Access::file(&self.folder, &user);
        if kubeconfig.exists() {
            return Ok(Access { user, kubeconfig });
        }
        self.ensure(&["namespace", namespace])?;
        self.ensure(&["serviceaccount", name, "--namespace", namespace])?;
        let token = self.kubectl(&["create", "token", name, "--namespace", namespace, "--duration=24h"])?;
        Access::write(&self.folder, self.options.address, &user, token.trim())
    }

    /// Makes an object that needs nothing but a name.
    fn ensure(&self, what: &[&str]) -> Result<()> {
        if self.kubectl(&[&["get", "--ignore-not-found", "--output=name"], what].concat())?.is_empty() {
            self.kubectl(&[&["create"], what].concat())?;
        }
        Ok(())
    }
}

/// The file of `--token-auth-file`.
pub(super) fn write_tokens(folder: &Scratch) -> Result<()> {
    let line = |who: Fixed| format!("{},{},{},\"{}\"\n", who.token(), who.user, who.user, who.group);
    let programs = [ADMIN, KUBE_PROXY, SCHEDULER, CONTROLLER_MANAGER];
    let kubelets = ('a'..='z').map(|letter| kubelet(&format!("node-{letter}")));
    Ok(fs::write(folder.join(TOKENS), programs.into_iter().chain(kubelets).map(line).collect::<String>())?)
}

fn document(server: SocketAddr, authority: &str, token: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters:\n- name: test\n  cluster:\n    server: https://{server}\n    certificate-authority: {authority}\n\
         users:\n- name: user\n  user:\n    token: {token}\n\
         contexts:\n- name: test\n  context:\n    cluster: test\n    user: user\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_names_server_authority_and_token() {
        for (address, server) in [
            ("192.0.2.2:6443", "https://192.0.2.2:6443"),
            ("[2001:db8::2]:6443", "https://[2001:db8::2]:6443"),
        ] {
            let text = document(address.parse().unwrap(), "/certificates/apiserver.crt", "secret");
            for line in [
                format!("server: {server}"),
                "certificate-authority: /certificates/apiserver.crt".into(),
                "token: secret".into(),
            ] {
                assert!(text.lines().any(|one| one.trim() == line), "{line} in {text}");
            }
        }
    }

    #[test]
    fn fixed_users_have_different_tokens() {
        assert_ne!(ADMIN.token(), KUBE_PROXY.token());
        assert!(!KUBE_PROXY.token().contains([':', ',', ' ']));
    }
}
