//! All watches as one stream.

use futures::{
    StreamExt,
    stream::{BoxStream, SelectAll},
};
use k8s_openapi::api::core::v1 as core;
use kube::{Api, Client, core::PartialObjectMeta};

use super::{Kind, Seen, object};
use crate::k8s::{
    crd,
    watch::{Guarded, watch},
};

/// Which objects are watched.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Namespace of MetalLB's objects.
    pub namespace: String,
    /// Name of the v0.9 `ConfigMap` there.
    pub config_map: String,
    /// Name of the own `ConfigurationState` there.
    pub state: String,
}

/// Everything that happens, in no order between kinds.
pub struct Watches {
    streams: SelectAll<BoxStream<'static, Seen>>,
}

impl Watches {
    /// Begins to list and to watch.
    pub fn start(client: &Client, settings: &Settings) -> Self {
        let namespace = &settings.namespace;
        let everywhere = client.clone();
        let services = watch(Api::<Guarded<core::Service>>::all(everywhere.clone()), None);
        let namespaces =
            watch(Api::<Guarded<PartialObjectMeta<core::Namespace>>>::all(everywhere.clone()), None);
        let nodes = watch(Api::<Guarded<core::Node>>::all(everywhere), None);
        let pools = watch(Api::<Guarded<crd::IPAddressPool>>::namespaced(client.clone(), namespace), None);
        let ads = watch(Api::<Guarded<crd::L2Advertisement>>::namespaced(client.clone(), namespace), None);
        let map = watch(
            Api::<Guarded<core::ConfigMap>>::namespaced(client.clone(), namespace),
            Some(&settings.config_map),
        );
        let state = watch(
            Api::<Guarded<crd::ConfigurationState>>::namespaced(client.clone(), namespace),
            Some(&settings.state),
        );
        let streams = [
            services.map(|change| Seen::Service(change.map(object::service))).boxed(),
            namespaces.map(|change| Seen::Namespace(change.map(object::namespace))).boxed(),
            nodes.map(|change| Seen::Node(change.map(object::node))).boxed(),
            pools.map(|change| Seen::Pool(change.map(object::pool))).boxed(),
            ads.map(|change| Seen::Advertisement(change.map(object::advertisement))).boxed(),
            map.map(|change| Seen::ConfigMap(change.map(object::config_map))).boxed(),
            state.map(|change| Seen::State(change.map(object::state))).boxed(),
            unserved::<crd::BGPPeer>(client, namespace, Kind::BgpPeer),
            unserved::<crd::BGPAdvertisement>(client, namespace, Kind::BgpAdvertisement),
            unserved::<crd::BFDProfile>(client, namespace, Kind::BfdProfile),
            unserved::<crd::Community>(client, namespace, Kind::Community),
        ];
        Self { streams: streams.into_iter().collect() }
    }

    /// What happens next.
    pub async fn next(&mut self) -> Option<Seen> {
        self.streams.next().await
    }
}

/// Objects of a kind that has no effect, of which only the names are read.
fn unserved<K>(client: &Client, namespace: &str, kind: Kind) -> BoxStream<'static, Seen>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let api = Api::<Guarded<PartialObjectMeta<K>>>::namespaced(client.clone(), namespace);
    let seen = move |object| object::unserved(kind, object);
    watch(api, None).map(move |change| Seen::Unserved(kind, change.map(seen))).boxed()
}
