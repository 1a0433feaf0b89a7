//! The command line.

use anyhow::Result;
use clap::Parser;

use crate::workspace::Workspace;
use crate::{bench, build, build_and_load, cluster, crds, fuzz, image, rules, test, testbed};

/// Builds, tests, measures and shows BareLB.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) enum Command {
    Build(build::Args),
    BuildAndLoad(build_and_load::Args),
    Cluster(cluster::Args),
    Test(test::Args),
    Bench(bench::Args),
    Crds(crds::Args),
    Fuzz(fuzz::Args),
    Image(image::Args),
    Rules(rules::Args),
    Testbed(testbed::Args),
}

impl Command {
    /// Runs the command in the checkout around this program.
    pub(crate) fn run(self) -> Result<()> {
        let workspace = Workspace::locate()?;
        match self {
            Self::Build(args) => build::run(&workspace, &args),
            Self::BuildAndLoad(args) => build_and_load::run(&workspace, &args),
            Self::Cluster(args) => cluster::run(&workspace, &args),
            Self::Test(args) => test::run(&workspace, &args),
            Self::Bench(args) => bench::run(&workspace, &args),
            Self::Crds(args) => crds::run(&workspace, &args),
            Self::Fuzz(args) => fuzz::run(&workspace, &args),
            Self::Image(args) => image::run(&workspace, &args),
            Self::Rules(args) => rules::run(&workspace, &args),
            Self::Testbed(args) => testbed::run(&workspace, &args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Result<Command, clap::Error> {
        Command::try_parse_from([&["cargo xtask"], arguments].concat())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }

    #[test]
    fn documented_calls_are_understood() {
        for arguments in [
            &["build"][..],
            &["build", "--frame-log", "--debug"],
            &["build", "--auditable"],
            &["build-and-load"],
            &["build-and-load", "--once"],
            &["build-and-load", "--iface", "eth0", "--config", "manifests"],
            &["cluster", "up"],
            &["cluster", "up", "--once", "--nodes", "2"],
            &["cluster", "up", "--families", "ipv6"],
            &["test"],
            &["test", "--level", "fmt", "--level", "L3"],
            &["bench", "--with", "other=run other"],
            &["bench", "--trouble", "--case", "dead"],
            &["bench", "failover"],
            &["bench", "failover", "--case", "death", "--trials", "3", "--resume", "--with", "keepalived"],
            &["bench", "failover", "--soak", "1h", "--loss", "5"],
            &["crds"],
            &["crds", "--check"],
            &["fuzz", "--seconds", "20"],
            &["fuzz", "frame"],
            &["image"],
            &["image", "--debug"],
            &["image", "--twice"],
            &["rules"],
            &["test", "--level", "cluster"],
            &["testbed"],
        ] {
            assert!(parse(arguments).is_ok(), "{arguments:?}");
        }
    }

    /// Documents and workflows.
    #[test]
    fn what_the_documents_say_is_understood() {
        let documents = lb_test::documents::commands().unwrap().into_iter();
        let documents = documents.map(|command| (command.snippet.place(), command.words));
        let mentions = lb_test::documents::mentions().unwrap().into_iter();
        let mentions = mentions.map(|command| (command.snippet.place(), command.words));
        let mut all: Vec<(String, Vec<String>)> = documents.chain(mentions).collect();
        for workflow in lb_test::documents::workflows::all().unwrap() {
            let commands = lb_test::documents::shell::commands(&workflow.scripts()).unwrap();
            all.extend(commands.into_iter().flatten().map(|words| (workflow.file.clone(), words)));
        }
        let mut count = 0;
        for (place, words) in all {
            // Also behind `sudo env`.
            let start = words.windows(2).position(|pair| pair == ["cargo", "xtask"]);
            let arguments = start.map(|start| words[start + 2..].iter().map(String::as_str).collect());
            // Its bare name is no call.
            let Some(arguments) = arguments.filter(|arguments: &Vec<_>| !arguments.is_empty()) else {
                continue;
            };
            count += 1;
            let error = parse(&arguments).err().map(|error| error.to_string());
            assert!(error.is_none(), "{place}: cargo xtask {}: {}", arguments.join(" "), error.unwrap());
        }
        assert!(count > 20, "{count}");
    }

    #[test]
    fn failover_is_a_command_of_its_own() {
        let Ok(Command::Bench(args)) = parse(&["bench", "failover", "--trials", "3"]) else {
            panic!("refused")
        };
        assert!(args.is_failover());
        let Ok(Command::Bench(args)) = parse(&["bench", "--trouble", "--case", "dead"]) else {
            panic!("refused")
        };
        assert!(!args.is_failover());
    }

    #[test]
    fn incomplete_calls_are_refused() {
        for arguments in [
            &["build-and-load", "--iface", "eth0"][..],
            &["build-and-load", "--config", "manifests"],
            &["build-and-load", "--once", "--iface", "eth0", "--config", "manifests"],
            &["cluster"],
            &["test", "--level", "L9"],
            &["fuzz", "--seconds", "long"],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }
}
