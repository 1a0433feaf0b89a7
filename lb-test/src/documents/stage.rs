//! Where commands of the documents are run: a folder as a reader has one (`manifests`, `charts`, `target/release/barelb` in it,
//! the programs in `PATH`), with whatever scripts write into it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::all;
use super::proof::{Place, Setup, setup_of};
use crate::agent::barelb;
use crate::cluster::{ControlPlane, Machine, Site, SiteOptions, program};
use crate::namespace::Namespace;
use crate::rig::workspace;
use crate::run::command_line;
use crate::scratch::Scratch;
use crate::terminal::Terminal;

/// What a reader puts in the place of words in capitals: in the cluster of [`Site`].
const PLACEHOLDERS: [(&str, &str); 9] = [
    ("ADDRESS", "192.0.2.100"),
    ("GROUP", "node-admins"),
    ("INTERFACE", "eth0"),
    ("NAME", "web"),
    ("NODE", "node-a"),
    ("POD", "barelb-agent-node-b"),
    ("POOL", "first-pool"),
    ("REGISTRY", "registry.example.org"),
    ("SOMEBODY", "jane"),
];
/// For programs that know IPv6 only.
const ADDRESS_V6: &str = "2001:db8::100";

/// Binds the BPF file system of a node to where commands look for it; `ip netns exec` has given them a `/sys` of their own.
const ON_NODE: &str = "mount --bind \"$NODE_BPFFS\" /sys/fs/bpf && exec \"$@\"";

/// The cluster: three nodes whose agents run in pods, and the Service `web`, which one of them announces.
pub fn site() -> Result<Site> {
    let site = Site::start_with(SiteOptions { nodes: 3, ..SiteOptions::default() })?;
    site.add_agent_pods()?;
    site.is_said_to_be_of(Some(site.owner()?))?;
    Ok(site)
}

/// A folder and a kubeconfig.
#[derive(Debug)]
pub struct Stage {
    folder: Scratch,
}

impl Stage {
    /// For a control plane; its kubeconfig knows it by a second context too, `other`.
    pub fn new(plane: &ControlPlane) -> Result<Self> {
        let stage = Self { folder: Scratch::new("documents")? };
        for folder in ["bin", "target/release", "home"] {
            fs::create_dir_all(stage.folder.join(folder))?;
        }
        for name in ["kubectl", "helm"] {
            symlink(program(name)?, stage.folder.join("bin").join(name))?;
        }
        for place in ["bin/barelb", "target/release/barelb"] {
            symlink(barelb()?.canonicalize()?, stage.folder.join(place))?;
        }
        for name in ["manifests", "charts"] {
            symlink(workspace().join(name), stage.folder.join(name))?;
        }
        let known = fs::read_to_string(plane.admin().kubeconfig())?;
        let other = "- name: other\n  context:\n    cluster: test\n    user: user\n";
        stage.write("kubeconfig", &(known + other))?;
        Ok(stage)
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.folder.join(name), text).with_context(|| format!("cannot write {name}"))
    }

    /// Runs a command of the documents at its place; what it prints on both streams. An error if it does not end well.
    pub fn run(&self, place: Place, site: &Site, words: &[String]) -> Result<String> {
        self.run_to(0, place, site, words)
    }

    /// The same of one that ends with this code.
    pub fn run_to(&self, code: i32, place: Place, site: &Site, words: &[String]) -> Result<String> {
        let v6 = words.first().is_some_and(|program| program == "ndisc6");
        let fill = |word: &String| if v6 && word == "ADDRESS" { ADDRESS_V6.to_owned() } else { filled(word) };
        let words: Vec<String> = words.iter().map(fill).collect();
        let mut command = match place {
            Place::Admin => site.plane.namespace().command("env"),
            Place::Node => on_node(&site.machines[site.owner()?]),
            Place::Client => site.client.a.namespace().command("env"),
        };
        Self::output(self.prepared(command.args(&words)), code)
    }

    /// The terminal of an administrator with a program on it.
    pub fn terminal(&self, site: &Site, words: &[String], size: (u16, u16)) -> Result<Terminal> {
        let mut command = site.plane.namespace().command("env");
        self.prepared(command.args(words));
        Terminal::start(command, size)
    }

    /// Runs the blocks of a set-up, each as a whole, in the order of the documents; how many there were. `prepare` comes
    /// before each.
    pub fn play(
        &self,
        plane: &ControlPlane,
        setup: Setup,
        prepare: impl Fn() -> Result<()>,
    ) -> Result<usize> {
        let blocks: Vec<_> = all()?.into_iter().filter(|snippet| setup_of(snippet) == Some(setup)).collect();
        for block in &blocks {
            prepare().with_context(|| format!("preparing {}", block.place()))?;
            let text = filled(&block.text);
            let said = self.script(plane.namespace(), &text);
            said.with_context(|| format!("the block at {}:\n{text}", block.place()))?;
        }
        Ok(blocks.len())
    }

    /// Runs a script to its end, or to the first command that fails.
    fn script(&self, namespace: &Namespace, text: &str) -> Result<String> {
        let mut command = namespace.command("bash");
        Self::output(self.prepared(command.args(["-euo", "pipefail", "-c", text])), 0)
    }

    /// The command as somebody runs it who sits in the folder.
    fn prepared<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var("PATH").unwrap_or_default();
        command.current_dir(self.folder.path());
        command.env("PATH", format!("{}:{path}", self.folder.join("bin").display()));
        command.env("KUBECONFIG", self.folder.join("kubeconfig")).env("HOME", self.folder.join("home"));
        // It changes nothing.
        command.env("EDITOR", "true").env_remove("KUBE_EDITOR")
    }

    fn output(command: &mut Command, code: i32) -> Result<String> {
        let line = command_line(command);
        let output = command.output().with_context(|| format!("cannot start `{line}`"))?;
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        if output.status.code() != Some(code) {
            bail!("`{line}` ended with {}:\n{said}", output.status);
        }
        Ok(said)
    }
}

fn on_node(machine: &Machine) -> Command {
    let mut command = machine.cable.a.namespace().command("bash");
    command.args(["-c", ON_NODE, "bash"]);
    command.env("NODE_BPFFS", machine.files.bpffs()).env("LB_STATE_DIR", machine.files.state());
    command
}

/// A text with something in the place of each word in capitals that is known.
pub fn filled(text: &str) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_uppercase()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !c.is_ascii_uppercase()).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let alone = !before.ends_with(part) && !after.starts_with(part);
        let known = PLACEHOLDERS.iter().find(|(name, _)| alone && *name == word);
        filled.push_str(before);
        filled.push_str(known.map_or(word, |(_, value)| value));
        rest = after;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_capitals_are_filled_in_and_others_stay() {
        for (text, expected) in [
            ("get lease barelb-node-NODE -o yaml", "get lease barelb-node-node-a -o yaml"),
            ("-c <<'END' LB_NODE NODES IPAddressPool", "-c <<'END' LB_NODE NODES IPAddressPool"),
            ("NAME", "web"),
        ] {
            assert_eq!(filled(text), expected);
        }
    }
}
