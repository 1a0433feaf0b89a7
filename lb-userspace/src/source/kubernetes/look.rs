//! A cluster at one moment, for those who ask once.

use std::time::Duration;

use kube::Client;
use tokio::time::timeout;

use super::{Cluster, Kind, Settings, State, Watches, Watching};
use crate::k8s::{watch::refusal, words::in_a_line};

/// Longest wait for all lists.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a cluster can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// A kind can't be listed.
    #[error("can't list objects of kind {}; {}", .kind.name(), advice(*.kind, *.code))]
    Refused {
        /// The kind.
        kind: Kind,
        /// The code with which the server refuses it; `None`: it does not answer.
        code: Option<u16>,
        /// What the server, or the way to it, says.
        #[source]
        why: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It takes too long.
    #[error(
        "the API server has not listed {} within {PATIENCE:?}: try again, or ask `kubectl get --raw /readyz`",
        missing.join(", ")
    )]
    Late {
        /// The kinds that are missing.
        missing: Vec<&'static str>,
    },
}

/// Lists everything that decisions are made from, by the watches that controller and agents have. A kind that the server
/// does not have is known as such; one that can't be listed is an error.
pub async fn look(client: &Client, settings: &Settings) -> Result<Cluster, LookError> {
    let (mut cluster, mut watching) = (Cluster::default(), Watching::default());
    let mut watches = Watches::of_reader(client, settings);
    let listing = async {
        while !cluster.missing(&Kind::OF_READER).is_empty() {
            let Some(seen) = watches.next().await else { return Ok(()) };
            if let State::Fails(error) = seen.state() {
                let code = error.downcast_ref().and_then(refusal);
                return Err(LookError::Refused { kind: seen.kind(), code, why: in_a_line(error).into() });
            }
            watches.take_in(seen, &mut watching, &mut cluster);
        }
        Ok(())
    };
    if let Ok(listed) = timeout(PATIENCE, listing).await {
        listed?;
        cluster.dress();
        return Ok(cluster);
    }
    let missing = cluster.missing(&Kind::OF_READER).into_iter().map(Kind::name).collect();
    Err(LookError::Late { missing })
}

/// What to do about it.
fn advice(kind: Kind, code: Option<u16>) -> String {
    match code {
        Some(401) => {
            "log in again, or choose other credentials with --kubeconfig or --context".to_owned()
        }
        Some(403) => format!(
            "`kubectl auth can-i list {} --all-namespaces` says whether you may; docs/operations.md names the rights",
            kind.resource()
        ),
        Some(_) => "`kubectl get --raw /readyz` says how the API server is".to_owned(),
        None => "`kubectl get --raw /readyz` asks the same: does the API server run, is its address right, and is it \
                 reached from here? --kubeconfig and --context choose another"
            .to_owned(),
    }
}
