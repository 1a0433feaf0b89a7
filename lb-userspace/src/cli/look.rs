//! One look at a cluster, for verbs that decide as its controller and agents do.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use clap::Args;
use lb_core::ids::{NodeName, ServiceKey};

use super::access::Access;
use crate::k8s::l2_status::{self, Announcement};
use crate::k8s::write::{WriteError, in_time};
use crate::source::kubernetes::{Client, Cluster, Settings, look};

/// What controller and agents are told by their command lines, and whoever decides as they do has to know.
#[derive(Clone, Debug, Args)]
pub(super) struct Told {
    /// Name of the v0.9 `ConfigMap`, as controller and agents have it.
    #[arg(long, env = "LB_CONFIG_MAP", value_name = "NAME", default_value = "config", global = true)]
    pub(super) config_map: String,
    /// The class of our Services, as controller and agents have it.
    #[arg(long, env = "LB_CLASS", value_name = "CLASS", global = true)]
    pub(super) lb_class: Option<String>,
    /// Nodes with the exclude label take part, as the agents have it.
    #[arg(long = "ignore-exclude-lb", env = "LB_IGNORE_EXCLUDE_LB", global = true)]
    pub(super) ignore_exclude_label: bool,
}

/// What is known of a cluster.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) cluster: Cluster,
    /// Who says that it announces what.
    pub(super) announcements: Vec<Announcement>,
}

impl Look {
    /// Asks the API server once.
    pub(super) async fn take(client: &Client, access: &Access, told: &Told) -> Result<Self> {
        let namespace = &access.namespace;
        let settings = Settings { namespace: namespace.clone(), config_map: told.config_map.clone() };
        let announcements = async {
            match in_time(l2_status::list(client, namespace)).await {
                // Without the kind nobody says so; that other kinds are missing too is told by whoever needs them.
                Err(WriteError::Gone) => Ok(Vec::new()),
                listed => listed.with_context(|| {
                    format!(
                        "can't list objects of kind ServiceL2Status: `kubectl -n {namespace} get servicel2statuses` asks the \
                         same; docs/operations.md names the rights"
                    )
                }),
            }
        };
        let cluster = async {
            look(client, &settings)
                .await
                .with_context(|| format!("looking at the cluster, going by {}", access.place()))
        };
        // Of an API server that can't be asked at all the first one has more to say.
        let (cluster, announcements) = futures::future::join(cluster, announcements).await;
        Ok(Self { cluster: cluster?, announcements: announcements? })
    }

    /// What MetalLB announces, and from which node.
    pub(super) fn rivals(&self) -> BTreeMap<ServiceKey, NodeName> {
        let of_metallb = self.announcements.iter().filter(|said| said.of_metallb);
        of_metallb.map(|said| (said.service.clone(), said.node.clone())).collect()
    }
}
