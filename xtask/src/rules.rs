//! `cargo xtask rules`: manifests/monitoring/prometheusrule.yaml from rules.yaml beside it.

use std::fs;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// Write manifests/monitoring/prometheusrule.yaml anew from rules.yaml.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs the command. What is above `spec` stays.
pub(crate) fn run(workspace: &Workspace, _: &Args) -> Result<()> {
    let folder = workspace.root().join("manifests/monitoring");
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let (rules, object) = (read("rules.yaml")?, read("prometheusrule.yaml")?);
    let text = wrapped(&object, &rules).context("prometheusrule.yaml has no line `spec:`")?;
    fs::write(folder.join("prometheusrule.yaml"), text).context("writing prometheusrule.yaml")
}

/// The object with these rules for its spec.
fn wrapped(object: &str, rules: &str) -> Option<String> {
    let head = object.find("\nspec:\n")?;
    let lines =
        rules.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") });
    Some(format!("{}\nspec:\n{}", &object[..head], lines.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_put_below_spec() {
        let object = "# why\nkind: PrometheusRule\nspec:\n  groups: []\n";
        let expected = "# why\nkind: PrometheusRule\nspec:\n  groups:\n  - name: a\n\n  - name: b\n";
        assert_eq!(wrapped(object, "groups:\n- name: a\n\n- name: b\n").as_deref(), Some(expected));
        assert_eq!(wrapped("kind: PrometheusRule\n", "groups: []\n"), None);
    }

    /// The same is checked as values by the tests of lb-userspace.
    #[test]
    fn nothing_is_to_be_written() {
        let folder = Workspace::locate().unwrap().root().join("manifests/monitoring");
        let [object, rules] =
            ["prometheusrule.yaml", "rules.yaml"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
        assert!(wrapped(&object, &rules).unwrap() == object, "it is out of date: run `cargo xtask rules`");
    }
}
