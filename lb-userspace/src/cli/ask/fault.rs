//! Why an agent has not said what it was asked, and what to do about it.

use crate::agent::addresses::{FORM, Heading};
use crate::agent::sessions::{PeerReport, Watching};
use crate::k8s::agents::{AgentPod, AskError, PORT, SELECTOR};
use crate::k8s::words::in_a_line;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Fault {
    /// Its pod does not run yet.
    #[error("its pod has no address yet")]
    NoAddress,
    /// Nobody knows where it answers.
    #[error("its pod has no port named {PORT}")]
    NoPort,
    /// It could not be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What it says is none of this.
    #[error("its answer can't be read")]
    Unreadable(#[from] serde_json::Error),
    /// It speaks another form of the page.
    #[error(
        "the agent is of version {}, and its page has form {}, where this command, of version {}, reads form {FORM}",
        .0.version,
        .0.form,
        env!("CARGO_PKG_VERSION")
    )]
    OtherForm(Heading),
    /// It does not have the table yet.
    #[error("the agent has not taken over the table of its node yet")]
    Starting,
    /// It watches nobody.
    #[error(
        "the agent does not watch other nodes (--failover-profile off): they are replaced when their Leases run out"
    )]
    Off,
}

/// Where the agents are, and by what they are asked.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Cluster<'a> {
    pub(in crate::cli) namespace: &'a str,
    /// The kubeconfig, in words.
    pub(in crate::cli) access: &'a str,
}

impl Fault {
    /// The report, if there is anything in it.
    pub(in crate::cli) fn of(report: PeerReport) -> Result<PeerReport, Self> {
        match report.watching {
            Watching::On => Ok(report),
            Watching::Off => Err(Self::Off),
            Watching::Starting => Err(Self::Starting),
        }
    }

    /// What is wrong, where and what to do, in one line.
    pub(in crate::cli) fn describe(&self, cluster: Cluster<'_>, pod: &AgentPod) -> String {
        format!("{}; {}", in_a_line(self), self.advice(cluster, pod))
    }

    fn advice(&self, cluster: Cluster<'_>, pod: &AgentPod) -> String {
        let (namespace, name) = (cluster.namespace, &pod.name);
        match self {
            Self::NoAddress => format!("`kubectl -n {namespace} describe pod {name}` says what it waits for"),
            Self::NoPort => {
                "start it with --metrics-addr and name the port, as manifests/base does".to_owned()
            }
            Self::Ask(AskError::Forbidden { .. }) => format!(
                "`kubectl -n {namespace} auth can-i get pods --subresource=proxy` says whether you may; \
                 docs/operations.md has the role"
            ),
            Self::Ask(AskError::Gone) => "run the command again".to_owned(),
            Self::Ask(AskError::NoPage) | Self::Unreadable(_) | Self::OtherForm(_) => format!(
                "it is of another version than this command: `kubectl -n {namespace} get daemonset barelb-agent -o wide` \
                 shows its image"
            ),
            Self::Ask(AskError::Timeout(_) | AskError::NotReached { .. }) => format!(
                "`kubectl -n {namespace} logs {name}` says how it is. If it is well, let the API server reach {}: a firewall \
                 may be on the way, or the agent listens on its node only (--metrics-addr=127.0.0.1:…)",
                pod.port.map_or_else(|| "its port".to_owned(), |port| format!("TCP port {port} of its node"))
            ),
            Self::Ask(AskError::Stranger { .. }) => format!(
                "`kubectl -n {namespace} describe pod {name}` shows the port that is asked: a proxy before the agent, which \
                 asks for a password perhaps, does not let the API server through"
            ),
            Self::Starting => format!("`kubectl -n {namespace} logs {name}` says how it is"),
            Self::Ask(
                error @ (AskError::Unauthorized { .. }
                | AskError::Unreachable(_)
                | AskError::Untrusted(_)
                | AskError::NoCredentials(_)
                | AskError::Unreadable(_)
                | AskError::Refused { .. }),
            ) => cluster.advice(error),
            Self::Off => format!(
                "to switch it on: `kubectl -n {namespace} set env daemonset/barelb-agent LB_FAILOVER_PROFILE=default`"
            ),
        }
    }
}

impl Cluster<'_> {
    /// What is wrong where the agents can't be listed.
    pub(in crate::cli) fn not_listed(self, error: &AskError) -> String {
        let namespace = self.namespace;
        format!(
            "can't list the agents of namespace {namespace}: {}; {}",
            in_a_line(error),
            self.advice(error)
        )
    }

    /// What is wrong where Services can't be listed: those of a namespace, or of all.
    pub(in crate::cli) fn no_services(self, of: Option<&str>, error: &AskError) -> String {
        let place = of.map_or_else(|| "-A".to_owned(), |of| format!("-n {of}"));
        let advice = match error {
            AskError::Forbidden { .. } => format!(
                "`kubectl auth can-i list services {place}` says whether you may; docs/operations.md has the role"
            ),
            AskError::Refused { status } if status.code == 400 => {
                "-l is for labels as kubectl takes them: -l app=web,tier!=test".to_owned()
            }
            AskError::Unauthorized { .. }
            | AskError::Timeout(_)
            | AskError::Unreachable(_)
            | AskError::Untrusted(_)
            | AskError::NoCredentials(_)
            | AskError::Unreadable(_)
            | AskError::Stranger { .. }
            | AskError::Gone
            | AskError::NoPage
            | AskError::NotReached { .. }
            | AskError::Refused { .. } => self.advice(error),
        };
        format!("can't list Services ({place}): {}; {advice}", in_a_line(error))
    }

    /// What is wrong where there are none.
    pub(in crate::cli) fn no_agents(self) -> String {
        format!(
            "no agent runs in namespace {}: `kubectl get pods -A -l {SELECTOR}` finds those of other namespaces, which \
             --system-namespace names; if there are none, install them as README.md says",
            self.namespace
        )
    }

    /// What to do when the API server does not do it.
    fn advice(self, error: &AskError) -> String {
        let Self { namespace, access } = self;
        match error {
            AskError::Forbidden { .. } => format!(
                "`kubectl -n {namespace} auth can-i list pods` says whether you may; docs/operations.md has the role"
            ),
            AskError::Unauthorized { .. } | AskError::NoCredentials(_) => {
                format!(
                    "they are those of {access}: log in again, or choose others with --kubeconfig or --context"
                )
            }
            AskError::Untrusted(_) => format!(
                "the certificates are those of {access}: it may be of another cluster, or a certificate has run out; \
                 --kubeconfig and --context choose others"
            ),
            AskError::Unreadable(_) | AskError::Stranger { .. } => format!(
                "is the `server` in {access} an API server's address? --kubeconfig and --context choose another"
            ),
            AskError::Unreachable(_)
            | AskError::Timeout(_)
            | AskError::NotReached { .. }
            | AskError::Refused { .. }
            | AskError::Gone
            | AskError::NoPage => format!(
                "`kubectl get --raw /readyz` says whether the API server is well; its address is that of {access}, \
                 --kubeconfig and --context choose another"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: Cluster<'_> = Cluster { namespace: "ns", access: "/etc/kubeconfig" };

    fn described(fault: &Fault) -> String {
        let pod = AgentPod {
            name: "p".to_owned(),
            node: "n".to_owned(),
            port: Some(7475),
            has_address: true,
            ends: false,
        };
        fault.describe(CLUSTER, &pod)
    }

    #[test]
    fn every_fault_says_what_and_what_to_do() {
        let refused =
            |code| Fault::Ask(AskError::refused(code, "dial tcp 192.0.2.11:7475: i/o timeout", "Reason"));
        for (fault, expected) in [
            (
                Fault::NoAddress,
                "its pod has no address yet; `kubectl -n ns describe pod p` says what it waits for",
            ),
            (
                Fault::NoPort,
                "its pod has no port named metrics; start it with --metrics-addr and name the port, as manifests/base does",
            ),
            (
                refused(403),
                "the API server does not permit it (403): dial tcp 192.0.2.11:7475: i/o timeout; \
                 `kubectl -n ns auth can-i get pods --subresource=proxy` says whether you may; docs/operations.md has \
                 the role",
            ),
            (
                refused(503),
                "the API server gets no answer from the agent (503): dial tcp 192.0.2.11:7475: i/o timeout; \
                 `kubectl -n ns logs p` says how it is. If it is well, let the API server reach TCP port 7475 of its \
                 node: a firewall may be on the way, or the agent listens on its node only (--metrics-addr=127.0.0.1:…)",
            ),
            (
                Fault::Ask(AskError::NoPage),
                "the agent does not have this page; it is of another version than this command: \
                 `kubectl -n ns get daemonset barelb-agent -o wide` shows its image",
            ),
            (
                Fault::Off,
                "the agent does not watch other nodes (--failover-profile off): they are replaced when their Leases run \
                 out; to switch it on: `kubectl -n ns set env daemonset/barelb-agent LB_FAILOVER_PROFILE=default`",
            ),
        ] {
            assert_eq!(described(&fault), expected);
        }
    }

    #[test]
    fn a_report_without_sessions_is_one_of_an_agent_that_watches() {
        let of = |watching| Fault::of(PeerReport { watching, ..PeerReport::default() });
        assert!(of(Watching::On).is_ok());
        assert!(matches!(of(Watching::Off), Err(Fault::Off)));
        assert!(matches!(of(Watching::Starting), Err(Fault::Starting)));
    }

    #[test]
    fn credentials_that_are_not_accepted_are_told_with_their_place() {
        let error = || AskError::refused(401, "Unauthorized", "Unauthorized");
        let why = "the API server does not accept the credentials (401): Unauthorized; they are those of /etc/kubeconfig: \
                   log in again, or choose others with --kubeconfig or --context";
        assert_eq!(CLUSTER.not_listed(&error()), format!("can't list the agents of namespace ns: {why}"));
        assert_eq!(described(&Fault::Ask(error())), why);
    }

    #[test]
    fn a_cluster_that_cannot_be_asked_has_advice() {
        assert!(
            CLUSTER
                .not_listed(&AskError::Timeout(std::time::Duration::from_secs(5)))
                .contains("`kubectl get --raw /readyz`")
        );
        assert!(
            CLUSTER
                .not_listed(&AskError::refused(403, "no", "Forbidden"))
                .contains("`kubectl -n ns auth can-i list pods`")
        );
        assert!(
            CLUSTER
                .no_agents()
                .starts_with("no agent runs in namespace ns: `kubectl get pods -A -l app.kube")
        );
    }
}
