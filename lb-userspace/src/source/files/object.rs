//! From a parsed document to objects.

use std::{fmt, sync::Arc};

use k8s_openapi::{
    api::{core::v1 as core, discovery::v1 as discovery},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use lb_core::{
    config::{LegacyConfig, RawAdvertisement, RawPool},
    eligibility::{Endpoint, Node},
    ids::{NodeName, ServiceKey},
    problem::Place,
    request::ServiceSpec,
    selector::Labels,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Settings, legacy, unknown};
use crate::{
    k8s::{
        convert::{self, DEFAULT_NAMESPACE},
        crd,
    },
    source::problem::{ObjectError, Problem},
};

/// Unknown fields of one object that are reported; a file of something else has thousands.
const MOST_UNKNOWN_FIELDS: usize = 8;

/// What makes an object the same as another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::source) enum ObjectId {
    /// A Service.
    Service(ServiceKey),
    /// Any other kind.
    Other {
        /// Its kind.
        kind: &'static str,
        /// Its namespace; empty for kinds without one.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(key) => write!(f, "Service {key}"),
            Self::Other { kind, namespace, name } if namespace.is_empty() => write!(f, "{kind} {name}"),
            Self::Other { kind, namespace, name } => write!(f, "{kind} {namespace}/{name}"),
        }
    }
}

/// An object of a file.
#[derive(Debug, Clone)]
pub(in crate::source) struct Object {
    /// What it is called.
    pub(in crate::source) id: ObjectId,
    /// The document it was in.
    pub(in crate::source) document: u32,
    /// What it says, or why it can't be read.
    pub(in crate::source) content: Result<Content, Vec<Problem>>,
}

/// What an object says, in values of lb-core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) enum Content {
    Service(Arc<ServiceSpec>),
    Pool(Arc<RawPool>),
    Advertisement(Arc<RawAdvertisement>),
    Legacy(Arc<LegacyConfig>),
    Node(NodeName, Arc<Node>),
    Endpoints(ServiceKey, Arc<[Endpoint]>),
    Namespace(Arc<Labels>),
}

/// Reads the objects of documents.
pub(super) struct Reader<'a> {
    pub(super) settings: &'a Settings,
    pub(super) objects: Vec<Object>,
    pub(super) problems: Vec<Problem>,
    /// There are documents of which it can't be told what objects they are.
    pub(super) hides: bool,
}

impl Reader<'_> {
    /// Adds the objects of one document: one, or those of a list.
    pub(super) fn document(&mut self, document: Value, place: &Place) {
        let Value::Object(fields) = &document else {
            self.hidden(Problem::new(place.clone(), ObjectError::NotAnObject));
            return;
        };
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let place = &Place { object: describe(&kind, fields.get("metadata")), ..place.clone() };
        for (field, value) in [("apiVersion", &api_version), ("kind", &kind)] {
            if value.is_empty() {
                self.hidden(Problem::new(place.field(field), ObjectError::Missing));
                return;
            }
        }
        let (mut document, is_list) = (document, kind.ends_with("List"));
        if let Some(items) = document.get_mut("items").filter(|_| is_list) {
            let Value::Array(items) = items.take() else {
                let message = "expected a list".to_owned();
                self.hidden(Problem::new(place.field("items"), ObjectError::Type { message }));
                return;
            };
            let bare = Place { object: String::new(), ..place.clone() };
            for item in items {
                self.document(item, &bare);
            }
            return;
        }
        self.settle(&kind, &mut document);
        let number = place.document.unwrap_or_default();
        let id = self.identify(&api_version, &kind, &document);
        match (self.object(&api_version, &kind, document, place), id) {
            (Ok(None), _) => {}
            (Ok(Some((id, content))), _) => {
                self.objects.push(Object { id, document: number, content: Ok(content) });
            }
            (Err(problems), Some(id)) => {
                self.objects.push(Object { id, document: number, content: Err(problems) });
            }
            (Err(problems), None) => problems.into_iter().for_each(|problem| self.hidden(problem)),
        }
    }

    /// Puts an object that names no namespace where kubectl would put it.
    fn settle(&self, kind: &str, document: &mut Value) {
        let Some(home) = self.settings.home.as_deref().filter(|_| !matches!(kind, "Node" | "Namespace"))
        else {
            return;
        };
        if let Some(Value::Object(metadata)) = document.get_mut("metadata") {
            let namespace = metadata.entry("namespace").or_insert(Value::Null);
            if namespace.is_null() || namespace == "" {
                *namespace = home.into();
            }
        }
    }

    /// Notes a document of which it can't be told what it is.
    pub(super) fn hidden(&mut self, problem: Problem) {
        self.hides |= !problem.is_warning();
        self.problems.push(problem);
    }

    /// What an object is called, also if it can't be read otherwise.
    fn identify(&self, api_version: &str, kind: &str, object: &Value) -> Option<ObjectId> {
        let text = |field: &str| object.get("metadata")?.get(field)?.as_str();
        let name = text("name").filter(|name| !name.is_empty())?;
        let (namespace, ours) = (text("namespace"), self.settings.namespace.as_str());
        Some(match (api_version, kind) {
            ("v1", "Service") => {
                let key = ServiceKey::new(namespace.unwrap_or(DEFAULT_NAMESPACE), name).ok()?;
                ObjectId::Service(key)
            }
            ("v1", "Node") => other("Node", "", name),
            ("v1", "Namespace") => other("Namespace", "", name),
            ("discovery.k8s.io/v1", "EndpointSlice") => {
                other("EndpointSlice", namespace.unwrap_or(DEFAULT_NAMESPACE), name)
            }
            ("v1", "ConfigMap") => other("ConfigMap", namespace.unwrap_or(ours), name),
            (crd::API_VERSION, "IPAddressPool") => other("IPAddressPool", namespace.unwrap_or(ours), name),
            (crd::API_VERSION, "L2Advertisement") => {
                other("L2Advertisement", namespace.unwrap_or(ours), name)
            }
            _ => return None,
        })
    }

    fn object(
        &mut self,
        api_version: &str,
        kind: &str,
        object: Value,
        place: &Place,
    ) -> Result<Option<(ObjectId, Content)>, Vec<Problem>> {
        let at = |error| vec![Problem::at_field(place, error)];
        let content = match (api_version, kind) {
            ("v1", "Service") => {
                let (key, spec) = convert::service(typed(object, place)?).map_err(at)?;
                return Ok(Some((ObjectId::Service(key), Content::Service(Arc::new(spec)))));
            }
            ("v1", "Node") => {
                let (name, node) = convert::node(typed(object, place)?).map_err(at)?;
                (other("Node", "", name.as_str()), Content::Node(name, Arc::new(node)))
            }
            ("v1", "Namespace") => {
                let metadata = typed::<core::Namespace>(object, place)?.metadata;
                let id = other("Namespace", "", &name_of(&metadata, place)?);
                (id, Content::Namespace(Arc::new(metadata.labels.unwrap_or_default())))
            }
            ("discovery.k8s.io/v1", "EndpointSlice") => {
                let slice: discovery::EndpointSlice = typed(object, place)?;
                let name = name_of(&slice.metadata, place)?;
                let namespace =
                    slice.metadata.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
                let (service, endpoints) = convert::endpoint_slice(slice).map_err(at)?;
                (other("EndpointSlice", &namespace, &name), Content::Endpoints(service, endpoints.into()))
            }
            ("v1", "ConfigMap") => return self.config_map(&typed(object, place)?, place),
            (crd::API_VERSION, "IPAddressPool") => {
                let pool: crd::IPAddressPool = strict(object, place)?;
                let Some((id, place)) = self.ours("IPAddressPool", &pool.metadata, place)? else {
                    return Ok(None);
                };
                (id, Content::Pool(Arc::new(convert::pool(place, pool))))
            }
            (crd::API_VERSION, "L2Advertisement") => {
                let ad: crd::L2Advertisement = strict(object, place)?;
                let Some((id, place)) = self.ours("L2Advertisement", &ad.metadata, place)? else {
                    return Ok(None);
                };
                (id, Content::Advertisement(Arc::new(convert::advertisement(place, ad))))
            }
            _ => {
                let error = ObjectError::IgnoredKind { api_version: cut(api_version), kind: cut(kind) };
                self.problems.push(Problem::new(place.clone(), error));
                return Ok(None);
            }
        };
        Ok(Some(content))
    }

    /// The identity of an object that counts only in MetalLB's namespace, and its place with that namespace. An
    /// object that names no namespace is taken to be there.
    fn ours(
        &mut self,
        kind: &'static str,
        metadata: &ObjectMeta,
        place: &Place,
    ) -> Result<Option<(ObjectId, Place)>, Vec<Problem>> {
        let name = name_of(metadata, place)?;
        let expected = &self.settings.namespace;
        if metadata.namespace.as_ref().is_some_and(|namespace| namespace != expected) {
            let error = ObjectError::OtherNamespace { expected: expected.clone() };
            self.problems.push(Problem::new(place.field("metadata.namespace"), error));
            return Ok(None);
        }
        let place = Place { object: format!("{kind} {expected}/{}", cut(&name)), ..place.clone() };
        Ok(Some((other(kind, expected, &name), place)))
    }

    /// The v0.9 configuration. Other `ConfigMap`s are nobody's business here.
    fn config_map(
        &self,
        map: &core::ConfigMap,
        place: &Place,
    ) -> Result<Option<(ObjectId, Content)>, Vec<Problem>> {
        let Settings { namespace, config_map: name, .. } = self.settings;
        let elsewhere = map.metadata.namespace.as_ref().is_some_and(|written| written != namespace);
        if map.metadata.name.as_ref() != Some(name) || elsewhere {
            return Ok(None);
        }
        let place = Place { object: format!("ConfigMap {namespace}/{name}"), ..place.clone() };
        let legacy = legacy::from_config_map(map, &place)?;
        Ok(Some((other("ConfigMap", namespace, name), Content::Legacy(Arc::new(legacy)))))
    }
}

pub(in crate::source) fn other(kind: &'static str, namespace: &str, name: &str) -> ObjectId {
    ObjectId::Other { kind, namespace: namespace.to_owned(), name: name.to_owned() }
}

/// A piece of somebody's text, short enough for a message.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// `KIND NAMESPACE/NAME` as far as they can be told.
fn describe(kind: &str, metadata: Option<&Value>) -> String {
    let text = |name: &str| metadata.and_then(|m| m.get(name)).and_then(Value::as_str);
    let name = cut(text("name").unwrap_or_default());
    let namespace = match (text("namespace"), kind) {
        (Some(namespace), _) => format!("{}/", cut(namespace)),
        (None, "Service" | "EndpointSlice") => format!("{DEFAULT_NAMESPACE}/"),
        (None, _) => String::new(),
    };
    if name.is_empty() { cut(kind) } else { format!("{} {namespace}{name}", cut(kind)) }
}

fn name_of(metadata: &ObjectMeta, place: &Place) -> Result<String, Vec<Problem>> {
    let name = metadata.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        return Err(vec![Problem::new(place.field("metadata.name"), ObjectError::Missing)]);
    }
    Ok(name.to_owned())
}

/// Reads an object of a kind whose unknown fields an API server would prune.
fn typed<T: DeserializeOwned>(mut object: Value, place: &Place) -> Result<T, Vec<Problem>> {
    unknown::without_nulls(&mut object);
    read(object, place)
}

fn read<T: DeserializeOwned>(object: Value, place: &Place) -> Result<T, Vec<Problem>> {
    serde_path_to_error::deserialize(object).map_err(|error| vec![wrong_type(error, place)])
}

fn wrong_type(error: serde_path_to_error::Error<serde_json::Error>, place: &Place) -> Problem {
    let path = error.path().to_string();
    let field = if path == "." { String::new() } else { path };
    let message = error.into_inner().to_string();
    Problem::new(place.field(field), ObjectError::Type { message })
}

/// Reads an object of ours, and refuses it if it has fields that the kind does not have.
fn strict<T: DeserializeOwned>(mut object: Value, place: &Place) -> Result<T, Vec<Problem>> {
    unknown::without_nulls(&mut object);
    if let Value::Object(fields) = &mut object {
        // Written by the controller, and not by the user.
        fields.remove("status");
        // Known to the caller; kube's types do not keep them.
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    let (value, unknown) = unknown::read(object, MOST_UNKNOWN_FIELDS);
    let value = value.map_err(|error| vec![wrong_type(error, place)])?;
    let unknown: Vec<Problem> =
        unknown.into_iter().map(|path| Problem::new(place.field(path), ObjectError::UnknownField)).collect();
    if unknown.is_empty() { Ok(value) } else { Err(unknown) }
}
