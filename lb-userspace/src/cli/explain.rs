//! `barelb explain`: every decision about an address, from its pool to the node that answers, with the rule that made it.
//!
//! The objects are read through the API server, and decided about by what controller and agents themselves decide by.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use lb_core::ids::{NodeName, ServiceKey};
use lb_core::plan::Snapshot;

use super::access::{Access, runtime};
use super::ask::{self, Cluster as Place};
use super::status::addresses::said;
use super::{Output, print};
use crate::agent::{ClusterRules, glance};
use crate::controller::decide::Decider;
use crate::k8s::agents::{AgentPod, Agents};
use crate::k8s::l2_status::{self, Announcement};
use crate::k8s::write::WriteError;
use crate::source::kubernetes::{Client, Cluster, Kind, Listed, Settings, look};

mod asked;
mod report;
mod service;

use asked::Heard;
use report::Report;

/// Arguments of `barelb explain`.
#[derive(Debug, Args)]
pub struct Explain {
    #[command(subcommand)]
    subject: Subject,
    #[command(flatten)]
    access: Access,
    /// Name of the v0.9 `ConfigMap`, as controller and agents have it.
    #[arg(long, env = "LB_CONFIG_MAP", value_name = "NAME", default_value = "config", global = true)]
    config_map: String,
    /// The class of our Services, as controller and agents have it.
    #[arg(long, env = "LB_CLASS", value_name = "CLASS", global = true)]
    lb_class: Option<String>,
    /// Nodes with the exclude label take part, as the agents have it.
    #[arg(long = "ignore-exclude-lb", env = "LB_IGNORE_EXCLUDE_LB", global = true)]
    ignore_exclude_label: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Output,
}

/// What is to be explained.
#[derive(Debug, Subcommand)]
enum Subject {
    /// A Service: how it got its addresses, and which node answers for each.
    #[command(visible_alias = "service")]
    Svc {
        /// The Service; without a namespace it is looked for in that of -n.
        #[arg(value_name = "NAMESPACE/NAME")]
        service: String,
        /// Namespace of the Service, where its name has none.
        #[arg(short, long, value_name = "NS", default_value = "default")]
        namespace: String,
    },
    /// An address: whose it is, and which node answers for it.
    Ip {
        /// The address.
        #[arg(value_name = "ADDRESS")]
        ip: IpAddr,
    },
}

/// What is known of a cluster.
struct Look {
    cluster: Cluster,
    announcements: Vec<Announcement>,
    /// The agents, or why they can't be listed.
    pods: Result<Vec<AgentPod>>,
}

impl Explain {
    /// Prints the explanation.
    pub fn run(self) -> Result<ExitCode> {
        let report = runtime()?.block_on(async {
            let client = self.access.client().await?;
            let look = Box::pin(self.look(&client)).await?;
            let report = self.explain(&look)?;
            let heard = self.hear(&client, look.pods, &report.ips()).await;
            anyhow::Ok(report.with(&heard))
        })?;
        print(self.output.render(&report, |wide| report.text(wide))?)?;
        Ok(ExitCode::SUCCESS)
    }

    /// When was it last asked? What the agents can't say is no reason to explain nothing.
    async fn hear(
        &self,
        client: &Client,
        pods: Result<Vec<AgentPod>>,
        addresses: &BTreeSet<IpAddr>,
    ) -> Heard {
        let place = self.access.place();
        let cluster = Place { namespace: &self.access.namespace, access: &place };
        match pods {
            // No address is asked for as all are.
            Ok(_) if addresses.is_empty() => Heard::default(),
            Ok(pods) => {
                let agents = Agents::new(client.clone(), &self.access.namespace);
                let (said, unasked) = said(&agents, &pods, cluster, addresses).await;
                Heard { said, unasked, failure: None }
            }
            Err(error) => Heard { failure: Some(format!("{error:#}")), ..Heard::default() },
        }
    }

    async fn look(&self, client: &Client) -> Result<Look> {
        let namespace = &self.access.namespace;
        let settings = Settings { namespace: namespace.clone(), config_map: self.config_map.clone() };
        let announcements = async {
            match l2_status::list(client, namespace).await {
                // Without the kind nobody says it. What else is missing then is told below.
                Err(WriteError::Gone) => Ok(Vec::new()),
                listed => listed.with_context(|| {
                    format!("asking who announces which Service (servicel2statuses in namespace {namespace})")
                }),
            }
        };
        let cluster = async {
            look(client, &settings).await.with_context(|| format!("going by {}", self.access.place()))
        };
        let place = self.access.place();
        let agents = Agents::new(client.clone(), namespace);
        let pods = async { Ok(ask::pods(&agents, Place { namespace, access: &place }).await) };
        let (cluster, announcements, pods) = tokio::try_join!(cluster, announcements, pods)?;
        Ok(Look { cluster, announcements, pods })
    }

    fn explain(&self, look: &Look) -> Result<Report> {
        let cluster = &look.cluster;
        let namespace = &self.access.namespace;
        if cluster.listed(Kind::Pool) != Listed::Yes && cluster.config_maps().is_empty() {
            bail!(
                "the API server has no IPAddressPool, and there is no ConfigMap {namespace}/{}: install the custom \
                 resources (`barelb crds | kubectl apply --server-side -f -`)",
                self.config_map
            );
        }
        let me = cluster.nodes().keys().next().cloned();
        let me = me.ok_or_else(|| anyhow!("the cluster has no nodes: `kubectl get nodes` lists them"))?;
        let of_metallb = look.announcements.iter().filter(|said| said.of_metallb);
        let rivals: BTreeMap<ServiceKey, NodeName> =
            of_metallb.map(|said| (said.service.clone(), said.node.clone())).collect();
        let rules = ClusterRules { lb_class: self.lb_class.clone(), leaves_on_cordon: false };
        let decided = glance(cluster, me.clone(), rules, rivals);
        let snapshot = Snapshot {
            nodes: decided.nodes,
            services: decided.services,
            config: decided.config,
            rivals: decided.rivals,
            ignore_exclude_label: self.ignore_exclude_label,
            ..Snapshot::alone(me)
        };
        let said = |service: &ServiceKey| {
            let of_service = look.announcements.iter().filter(|said| said.service == *service);
            of_service.map(|said| said.node.clone()).collect()
        };
        match &self.subject {
            Subject::Svc { service, namespace } => {
                let (of, name) = service.split_once('/').unwrap_or((namespace, service));
                let key = ServiceKey::new(of, name).with_context(|| format!("Service {service:?}"))?;
                let class = self.lb_class.as_deref();
                let allocated = Decider::default().decide(cluster, class);
                let service = service::explained(cluster, &key, allocated.decisions.get(&key), class)?;
                let held = snapshot.services.get(&key).map(|service| service.ingress.clone());
                Ok(Report::new(Some(service), held.unwrap_or_default(), &snapshot, said))
            }
            Subject::Ip { ip } => Ok(Report::new(None, vec![*ip], &snapshot, said)),
        }
    }
}
