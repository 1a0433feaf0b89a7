//! All watches as one stream.

use std::iter::once;

use futures::{
    StreamExt,
    stream::{BoxStream, SelectAll},
};
use k8s_openapi::api::{coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery};
use kube::{Api, Client, core::PartialObjectMeta};
use lb_core::ids::ServiceKey;

use super::{Cluster, Item, Kind, Seen, SeenService, Watching, object};
use crate::k8s::{
    crd, member,
    watch::{Guarded, PAGE, ready, watch, watch_labelled},
};

/// Objects taken in before anything else is looked at.
const AT_ONCE: usize = 1024;

/// Objects in one answer to a list for who asks once and waits for it, as kubectl has it.
const PAGE_OF_READER: u32 = 500;

/// Which objects are watched.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Namespace of MetalLB's objects.
    pub namespace: String,
    /// Name of the v0.9 `ConfigMap` there.
    pub config_map: String,
}

/// Everything that happens, in no order between kinds.
pub struct Watches {
    streams: SelectAll<BoxStream<'static, Seen>>,
}

type Stream = BoxStream<'static, Seen>;

impl Watches {
    /// Begins to list and to watch what a controller decides from; `state` is the name of its `ConfigurationState`.
    pub fn of_controller(client: &Client, settings: &Settings, state: &str) -> Self {
        let namespace = &settings.namespace;
        let states = Api::<Guarded<crd::ConfigurationState>>::namespaced(client.clone(), namespace);
        let own = [
            namespaces(client, PAGE),
            watch(states, Some(state), PAGE).map(|change| Seen::State(change.map(object::state))).boxed(),
            unserved::<crd::BGPPeer>(client, namespace, Kind::BgpPeer),
            unserved::<crd::BGPAdvertisement>(client, namespace, Kind::BgpAdvertisement),
            unserved::<crd::BFDProfile>(client, namespace, Kind::BfdProfile),
            unserved::<crd::Community>(client, namespace, Kind::Community),
        ];
        Self { streams: both(client, settings, object::service, PAGE).into_iter().chain(own).collect() }
    }

    /// Begins to list and to watch what an agent announces from.
    pub fn of_agent(client: &Client, settings: &Settings) -> Self {
        let both = both(client, settings, object::announced_service, PAGE);
        Self { streams: both.into_iter().chain(announcing(client, settings, PAGE)).collect() }
    }

    /// Begins to list and to watch what both decide from.
    pub fn of_reader(client: &Client, settings: &Settings) -> Self {
        let both = both(client, settings, object::service, PAGE_OF_READER);
        let announcing = announcing(client, settings, PAGE_OF_READER);
        let own = announcing.into_iter().chain([namespaces(client, PAGE_OF_READER)]);
        Self { streams: both.into_iter().chain(own).collect() }
    }

    /// Takes in what a watch shows, and what has come with it; tells whether anything is different now.
    pub fn take_in(&mut self, first: Seen, watching: &mut Watching, cluster: &mut Cluster) -> bool {
        let mut changed = false;
        for seen in once(first).chain(ready(&mut self.streams)).take(AT_ONCE) {
            watching.see(&seen);
            changed |= cluster.apply(seen);
        }
        changed
    }

    /// What happens next.
    pub async fn next(&mut self) -> Option<Seen> {
        self.streams.next().await
    }
}

/// What is kept of a Service.
type OfService = fn(Guarded<core::Service>) -> Item<ServiceKey, SeenService>;

/// What both watch.
fn both(client: &Client, settings: &Settings, service: OfService, page: u32) -> [Stream; 5] {
    let namespace = &settings.namespace;
    let services = watch(Api::<Guarded<core::Service>>::all(client.clone()), None, page);
    let nodes = watch(Api::<Guarded<core::Node>>::all(client.clone()), None, page);
    let pools = watch(Api::<Guarded<crd::IPAddressPool>>::namespaced(client.clone(), namespace), None, page);
    let ads = watch(Api::<Guarded<crd::L2Advertisement>>::namespaced(client.clone(), namespace), None, page);
    let map = Api::<Guarded<core::ConfigMap>>::namespaced(client.clone(), namespace);
    [
        services.map(move |change| Seen::Service(change.map(service))).boxed(),
        nodes.map(|change| Seen::Node(change.map(object::node))).boxed(),
        pools.map(|change| Seen::Pool(change.map(object::pool))).boxed(),
        ads.map(|change| Seen::Advertisement(change.map(object::advertisement))).boxed(),
        watch(map, Some(&settings.config_map), page)
            .map(|change| Seen::ConfigMap(change.map(object::config_map)))
            .boxed(),
    ]
}

/// What an agent watches beside that: where Services can be served, and who is there.
fn announcing(client: &Client, settings: &Settings, page: u32) -> [Stream; 2] {
    let slices = Api::<Guarded<discovery::EndpointSlice>>::all(client.clone());
    let leases = Api::<Guarded<coordination::Lease>>::namespaced(client.clone(), &settings.namespace);
    [
        watch(slices, None, page)
            .map(|change| Seen::EndpointSlice(change.map(object::endpoint_slice)))
            .boxed(),
        watch_labelled(leases, member::SELECTOR).map(|change| Seen::Lease(change.map(object::lease))).boxed(),
    ]
}

fn namespaces(client: &Client, page: u32) -> Stream {
    let namespaces = Api::<Guarded<PartialObjectMeta<core::Namespace>>>::all(client.clone());
    watch(namespaces, None, page).map(|change| Seen::Namespace(change.map(object::namespace))).boxed()
}

/// Objects of a kind that has no effect, of which only the names are read.
fn unserved<K>(client: &Client, namespace: &str, kind: Kind) -> Stream
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
    watch(api, None, PAGE).map(move |change| Seen::Unserved(kind, change.map(seen))).boxed()
}
