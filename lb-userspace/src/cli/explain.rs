//! `barelb explain`: every decision about an address, from its pool to the node that answers, with the rule that made it.
//!
//! The objects are read through the API server, and decided about by what controller and agents themselves decide by.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use lb_core::ids::ServiceKey;
use lb_core::plan::Snapshot;

use super::access::{self, Access, runtime};
use super::ask::{self, Cluster as Place};
use super::look::{Look, Told};
use super::status::addresses::said;
use super::{Output, print};
use crate::agent::{ClusterRules, glance};
use crate::controller::decide::Decider;
use crate::k8s::agents::{AgentPod, Agents};
use crate::source::kubernetes::{Client, Kind, Listed};

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
    #[command(flatten)]
    told: Told,
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
        /// Namespace of the Service, where its name has none [default: that of the context, as kubectl has it].
        #[arg(short, long, value_name = "NS", value_parser = access::namespace)]
        namespace: Option<String>,
    },
    /// An address: whose it is, and which node answers for it.
    Ip {
        /// The address.
        #[arg(value_name = "ADDRESS")]
        ip: IpAddr,
    },
}

impl Explain {
    /// Prints the explanation.
    pub fn run(self) -> Result<ExitCode> {
        let report = runtime()?.block_on(async {
            let client = self.access.client().await?;
            let (look, pods) = Box::pin(self.look(&client)).await?;
            let report = self.explain(&look, client.default_namespace())?;
            let heard = self.hear(&client, pods, &report.ips()).await;
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

    /// What is known of the cluster; and the agents, or why they can't be listed.
    async fn look(&self, client: &Client) -> Result<(Look, Result<Vec<AgentPod>>)> {
        let (place, namespace) = (self.access.place(), &self.access.namespace);
        let agents = Agents::new(client.clone(), namespace);
        let pods = async { Ok(ask::pods(&agents, Place { namespace, access: &place }).await) };
        tokio::try_join!(Look::take(client, &self.access, &self.told), pods)
    }

    /// `home` is the namespace of the context.
    fn explain(&self, look: &Look, home: &str) -> Result<Report> {
        let cluster = &look.cluster;
        let namespace = &self.access.namespace;
        if cluster.listed(Kind::Pool) != Listed::Yes && cluster.config_maps().is_empty() {
            bail!(
                "the API server has no IPAddressPool, and there is no ConfigMap {namespace}/{}: install the custom \
                 resources (`barelb crds | kubectl apply --server-side -f -`)",
                self.told.config_map
            );
        }
        let me = cluster.nodes().keys().next().cloned();
        let me = me.ok_or_else(|| anyhow!("the cluster has no nodes: `kubectl get nodes` lists them"))?;
        let rules = ClusterRules { lb_class: self.told.lb_class.clone(), leaves_on_cordon: false };
        let decided = glance(cluster, me.clone(), rules, look.rivals());
        let snapshot = Snapshot {
            nodes: decided.nodes,
            services: decided.services,
            config: decided.config,
            rivals: decided.rivals,
            ignore_exclude_label: self.told.ignore_exclude_label,
            ..Snapshot::alone(me)
        };
        let said = |service: &ServiceKey| {
            let of_service = look.announcements.iter().filter(|said| said.service == *service);
            of_service.map(|said| said.node.clone()).collect()
        };
        match &self.subject {
            Subject::Svc { service, namespace } => {
                let home = namespace.as_deref().unwrap_or(home);
                let (of, name) = service.split_once('/').unwrap_or((home, service));
                let key = ServiceKey::new(of, name).with_context(|| format!("Service {service:?}"))?;
                let class = self.told.lb_class.as_deref();
                let allocated = Decider::default().decide(cluster, class);
                let service = service::explained(cluster, &key, allocated.decisions.get(&key), class)?;
                let held = snapshot.services.get(&key).map(|service| service.ingress.clone());
                Ok(Report::new(Some(service), held.unwrap_or_default(), &snapshot, said))
            }
            Subject::Ip { ip } => Ok(Report::new(None, vec![*ip], &snapshot, said)),
        }
    }
}
