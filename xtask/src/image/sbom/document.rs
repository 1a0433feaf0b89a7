//! The document: <https://cyclonedx.org/docs/1.6/json/>, as far as it is used.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::tree::{Crate, Tree};
use crate::image::source::Source;

/// The whole.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
}

#[derive(Serialize)]
struct Metadata {
    timestamp: String,
    tools: Tools,
    component: Component,
}

#[derive(Serialize)]
struct Tools {
    components: [Component; 1],
}

/// Something that has a name and a version.
#[derive(Clone, Serialize)]
pub(super) struct Component {
    r#type: &'static str,
    #[serde(rename = "bom-ref")]
    reference: String,
    name: String,
    version: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Licence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
}

#[derive(Clone, Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Clone, Serialize)]
struct Licence {
    expression: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    r#ref: String,
    depends_on: BTreeSet<String>,
}

impl Component {
    /// The program that the document is about.
    pub(super) fn application(name: &str, version: &str, hash: String) -> Self {
        Self {
            r#type: "application",
            hashes: vec![Hash { alg: "SHA-256", content: hash }],
            ..Self::library(name, version, env!("CARGO_PKG_LICENSE"), None)
        }
    }

    /// A library from elsewhere than crates.io.
    pub(super) fn generic(name: &str, version: &str, licence: &str) -> Self {
        Self::library(name, version, licence, Some(format!("pkg:generic/{name}@{version}")))
    }

    /// A library in a package of the distribution.
    pub(super) fn debian(package: &str, version: &str, licence: &str) -> Self {
        let encoded = version.replace('+', "%2B").replace('~', "%7E").replace(':', "%3A");
        Self::library(package, version, licence, Some(format!("pkg:deb/debian/{package}@{encoded}")))
    }

    fn of(found: &Crate) -> Self {
        let Crate { name, version, licence, is_ours } = found;
        let purl = (!is_ours).then(|| format!("pkg:cargo/{name}@{}", version.replace('+', "%2B")));
        Self::library(name, version, licence, purl)
    }

    fn library(name: &str, version: &str, licence: &str, purl: Option<String>) -> Self {
        // How licences were joined before they were SPDX expressions.
        let expression = licence.replace(" / ", " OR ").replace('/', " OR ");
        Self {
            r#type: "library",
            reference: reference(name, version),
            name: name.to_owned(),
            version: version.to_owned(),
            hashes: Vec::new(),
            licenses: if expression.is_empty() { Vec::new() } else { vec![Licence { expression }] },
            purl,
        }
    }
}

impl Document {
    /// An application that is the root of the first of `trees` and has the other roots and `libraries` inside.
    pub(super) fn new(
        source: &Source,
        application: Component,
        trees: &[Tree],
        libraries: Vec<Component>,
    ) -> Self {
        let mut crates: BTreeMap<&Crate, BTreeSet<String>> = BTreeMap::new();
        for (needing, needed) in trees.iter().flat_map(|tree| &tree.needs) {
            crates.entry(needing).or_default().extend(needed.iter().map(reference_of));
        }
        let mut inside: BTreeSet<_> = libraries.iter().map(|library| library.reference.clone()).collect();
        inside.extend(trees.iter().skip(1).map(|tree| reference_of(&tree.root)));
        // The application is the first root.
        inside.extend(trees.first().and_then(|tree| crates.remove(&tree.root)).unwrap_or_default());

        let nothing = libraries.iter().map(|library| (library.reference.clone(), BTreeSet::new()));
        let needs = crates.iter().map(|(found, needed)| (reference_of(found), needed.clone())).chain(nothing);
        let dependencies = std::iter::once((application.reference.clone(), inside)).chain(needs);
        let dependencies = dependencies.map(|(r#ref, depends_on)| Dependency { r#ref, depends_on }).collect();
        let components = crates.keys().map(|found| Component::of(found)).chain(libraries).collect();
        Self {
            schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
            bom_format: "CycloneDX",
            spec_version: "1.6",
            version: 1,
            metadata: Metadata { timestamp: source.date(), tools: tools(), component: application },
            components,
            dependencies,
        }
    }
}

fn tools() -> Tools {
    let xtask = Component::library("xtask", env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_LICENSE"), None);
    Tools { components: [Component { r#type: "application", ..xtask }] }
}

fn reference(name: &str, version: &str) -> String {
    format!("{name}@{version}")
}

fn reference_of(found: &Crate) -> String {
    reference(&found.name, &found.version)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tree::parse;
    use super::*;

    fn document() -> Value {
        let trees = [
            "0|lb-userspace v0.1.0 (/b/lb-userspace)|MIT\n1|serde v1.0.2|MIT/Apache-2.0\n2|itoa v1.0.0|MIT\n",
            "0|lb-ebpf v0.1.0 (/b/lb-ebpf)|MIT\n1|zstd v1.0.0+1.5|BSD-3-Clause\n",
        ]
        .map(|text| parse(text).unwrap());
        let application = Component::application("barelb", "0.1.0", "ab".repeat(32));
        let libraries = vec![Component::debian("libc6-dev", "2.36-9+deb12u10", "LGPL-2.1-or-later")];
        serde_json::to_value(Document::new(&Source::example(), application, &trees, libraries)).unwrap()
    }

    #[test]
    fn the_document_says_what_it_is() {
        let document = document();
        assert_eq!((&document["bomFormat"], &document["specVersion"]), (&json!("CycloneDX"), &json!("1.6")));
        assert_eq!(document["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
        assert_eq!(document["metadata"]["component"]["hashes"][0]["content"], "ab".repeat(32));
    }

    #[test]
    fn each_component_is_named_and_found() {
        let document = document();
        assert_eq!(
            document["components"],
            json!([
                {"type": "library", "bom-ref": "itoa@1.0.0", "name": "itoa", "version": "1.0.0",
                 "licenses": [{"expression": "MIT"}], "purl": "pkg:cargo/itoa@1.0.0"},
                {"type": "library", "bom-ref": "lb-ebpf@0.1.0", "name": "lb-ebpf", "version": "0.1.0",
                 "licenses": [{"expression": "MIT"}]},
                {"type": "library", "bom-ref": "serde@1.0.2", "name": "serde", "version": "1.0.2",
                 "licenses": [{"expression": "MIT OR Apache-2.0"}], "purl": "pkg:cargo/serde@1.0.2"},
                {"type": "library", "bom-ref": "zstd@1.0.0+1.5", "name": "zstd", "version": "1.0.0+1.5",
                 "licenses": [{"expression": "BSD-3-Clause"}], "purl": "pkg:cargo/zstd@1.0.0%2B1.5"},
                {"type": "library", "bom-ref": "libc6-dev@2.36-9+deb12u10", "name": "libc6-dev",
                 "version": "2.36-9+deb12u10", "licenses": [{"expression": "LGPL-2.1-or-later"}],
                 "purl": "pkg:deb/debian/libc6-dev@2.36-9%2Bdeb12u10"},
            ])
        );
        assert_eq!(
            document["dependencies"],
            json!([
                {"ref": "barelb@0.1.0", "dependsOn": ["lb-ebpf@0.1.0", "libc6-dev@2.36-9+deb12u10", "serde@1.0.2"]},
                {"ref": "itoa@1.0.0", "dependsOn": []},
                {"ref": "lb-ebpf@0.1.0", "dependsOn": ["zstd@1.0.0+1.5"]},
                {"ref": "serde@1.0.2", "dependsOn": ["itoa@1.0.0"]},
                {"ref": "zstd@1.0.0+1.5", "dependsOn": []},
                {"ref": "libc6-dev@2.36-9+deb12u10", "dependsOn": []},
            ])
        );
    }
}
