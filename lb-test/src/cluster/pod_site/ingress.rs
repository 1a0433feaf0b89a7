//! Traefik in a pod, behind an address of its own, which leads host names to Services.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{PodSite, archive};
use crate::cluster::services::service;
use crate::cluster::traefik::{ACCOUNT, NAMESPACE, RIGHTS};
use crate::cluster::{Controller, Families, Network, Traefik, programs};
use crate::lab::web::host;
use crate::scratch::Scratch;

const IMAGE: &str = "docker.io/library/barelb-traefik:1";
/// The Service `web` has the address before.
const VIP: u8 = 101;
const HOST: &str = "web.example";

impl PodSite {
    /// Runs Traefik on one node, with a Service of its own, and an Ingress that leads `web.example` to the Service `web`.
    pub fn deploy_ingress(&self, node: usize) -> Result<()> {
        let (folder, worker) = (Scratch::new("traefik-image")?, &self.workers[node]);
        let archive = folder.join("traefik.tar");
        archive::write(&archive, &programs::find("traefik")?, &[(IMAGE, &[])])?;
        worker.import(&archive)?;
        self.plane.apply(RIGHTS)?;
        self.plane.apply_all(&[namespace(), account(), deployment(&worker.name), self.front(), ingress()])
    }

    /// The addresses of the Service `traefik`.
    pub fn ingress_vips(&self) -> Vec<IpAddr> {
        self.families.of(Network::addresses(VIP))
    }

    /// Waits until the client gets the page of the Service `web` by its host name, from any node.
    pub fn serves_by_name(&self) -> Result<()> {
        for vip in self.ingress_vips() {
            let found = self.plane.wait_for(Controller::PATIENCE, "no page by the ingress", |_| {
                let (resolve, url) = (format!("{HOST}:80:{}", host(vip)), format!("http://{HOST}/"));
                let arguments = ["--silent", "--show-error", "--fail", "--max-time", "10", "--resolve"];
                let page =
                    self.client.a.namespace().exec("curl", &[&arguments[..], &[&resolve, &url]].concat())?;
                let is_expected = self
                    .workers
                    .iter()
                    .any(|one| page.starts_with(&format!("{} serves {url} to ", one.name)));
                ensure!(is_expected, "{page}");
                Ok(Some(()))
            });
            found.with_context(|| self.logs())?;
        }
        Ok(())
    }

    fn front(&self) -> Value {
        let mut fields = json!({
            "externalTrafficPolicy": "Local", "selector": {"app": "traefik"},
            "ports": [{"port": 80, "targetPort": Traefik::HTTP}],
        });
        if self.families == Families::Dual {
            fields["ipFamilyPolicy"] = "RequireDualStack".into();
        }
        let mut front = service("traefik", &json!({}), &fields);
        front["metadata"]["namespace"] = NAMESPACE.into();
        front
    }
}

fn namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
}

fn account() -> Value {
    let metadata = json!({"name": ACCOUNT, "namespace": NAMESPACE});
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
}

fn deployment(node: &str) -> Value {
    let labels = json!({"app": "traefik"});
    let container = json!({
        "name": "traefik", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
        "args": [
            format!("--entrypoints.web.address=:{}", Traefik::HTTP), "--providers.kubernetesingress=true",
            "--global.checknewversion=false", "--global.sendanonymoususage=false",
        ],
        "readinessProbe": {"tcpSocket": {"port": Traefik::HTTP}, "periodSeconds": 1},
    });
    let pod = json!({
        "serviceAccountName": ACCOUNT, "nodeSelector": {"kubernetes.io/hostname": node}, "containers": [container],
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "traefik", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    })
}

fn ingress() -> Value {
    let web = json!({"service": {"name": "web", "port": {"number": 80}}});
    let paths = json!([{"path": "/", "pathType": "Prefix", "backend": web}]);
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"rules": [{"host": HOST, "http": {"paths": paths}}]},
    })
}
