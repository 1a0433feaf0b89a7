//! The levels, their names and their order.

use clap::ValueEnum;

/// A group of checks that is run and reported together; in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Level {
    /// Formatting.
    #[value(name = "fmt")]
    Format,
    /// Tools, BPF objects, the binary.
    #[value(name = "build")]
    Build,
    /// The same bytes from another folder.
    #[value(name = "reproducible")]
    Reproducible,
    /// Lints.
    #[value(name = "clippy")]
    Clippy,
    /// Each crate by itself.
    #[value(name = "crates")]
    Crates,
    /// Documentation.
    #[value(name = "doc")]
    Doc,
    /// Licences and sources of dependencies.
    #[value(name = "deny")]
    Deny,
    /// L0 and L1.
    #[value(name = "unit", aliases = ["l0", "l1"])]
    Unit,
    /// L2.
    #[value(name = "fuzz", aliases = ["l2"])]
    Fuzz,
    /// L3 and L4.
    #[value(name = "root", aliases = ["l3", "l4"])]
    Root,
    /// L5.
    #[value(name = "cluster", aliases = ["l5"])]
    Cluster,
}

impl Level {
    /// The name in arguments and in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Format => "fmt",
            Self::Build => "build",
            Self::Reproducible => "reproducible",
            Self::Clippy => "clippy",
            Self::Crates => "crates",
            Self::Doc => "doc",
            Self::Deny => "deny",
            Self::Unit => "unit",
            Self::Fuzz => "fuzz",
            Self::Root => "root",
            Self::Cluster => "cluster",
        }
    }

    /// What it checks, for people.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Format => "formatting of the workspace",
            Self::Build => "packages, BPF toolchain, BPF objects, target/release/barelb, the image for tests",
            Self::Reproducible => "the BPF objects from another folder: the same bytes",
            Self::Clippy => "clippy on the workspace, then with the feature frame-log",
            Self::Crates => "each crate checked alone, with and without its features",
            Self::Doc => "documentation without warnings",
            Self::Deny => "licences, banned crates and sources of dependencies (cargo-deny)",
            Self::Unit => "L0 unit and property tests, L1 oracle tests",
            Self::Fuzz => "L2 a short run of each fuzz target",
            Self::Root => "L3 programs in the kernel, L4 frames between network namespaces",
            Self::Cluster => "L5 a real API server, kubectl and kube-proxy (testbed/)",
        }
    }

    /// Levels that must have passed before this one can run.
    pub(super) fn needs(self) -> &'static [Self] {
        match self {
            Self::Root | Self::Cluster => &[Self::Build],
            Self::Format
            | Self::Build
            | Self::Reproducible
            | Self::Clippy
            | Self::Crates
            | Self::Doc
            | Self::Deny
            | Self::Unit
            | Self::Fuzz => &[],
        }
    }
}

/// The levels to run: those that are wanted and what they need, each once, in order; all when none is wanted.
pub(super) fn select(wanted: &[Level]) -> Vec<Level> {
    let is_selected = |level: &Level| {
        wanted.is_empty() || wanted.iter().any(|want| want == level || want.needs().contains(level))
    };
    Level::value_variants().iter().copied().filter(is_selected).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_wish_all_levels_run_in_order() {
        let all = select(&[]);
        assert_eq!(all, Level::value_variants());
        assert!(all.is_sorted());
        assert_eq!(all.first(), Some(&Level::Format));
        assert_eq!(all.last(), Some(&Level::Cluster));
    }

    #[test]
    fn what_a_level_needs_comes_before_it_and_once() {
        assert_eq!(select(&[Level::Root]), [Level::Build, Level::Root]);
        assert_eq!(
            select(&[Level::Root, Level::Build, Level::Format]),
            [Level::Format, Level::Build, Level::Root]
        );
        assert_eq!(select(&[Level::Cluster]), [Level::Build, Level::Cluster]);
        assert_eq!(select(&[Level::Doc]), [Level::Doc]);
    }

    #[test]
    fn levels_have_the_names_of_the_arguments() {
        for level in Level::value_variants() {
            assert_eq!(Level::from_str(level.name(), false), Ok(*level));
            assert!(level.needs().iter().all(|needed| needed < level));
        }
        assert_eq!(Level::from_str("L3", true), Ok(Level::Root));
        assert_eq!(Level::from_str("L5", true), Ok(Level::Cluster));
        assert_eq!(Level::from_str("L1", true), Ok(Level::Unit));
    }
}
