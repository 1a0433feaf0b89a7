//! The choice of the route, as a function of what was found on the machine.

use std::fmt;

use super::version::Version;

/// What was found on this machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Version of the distribution's compiler, when there is one.
    pub(super) debian_rustc: Option<Version>,
    /// The distribution's prebuilt `core` for the BPF target is there.
    pub(super) debian_core: bool,
    /// Name of a nightly of rustup that has rust-src and a usable version.
    pub(super) nightly: Option<String>,
    /// rustup is there.
    pub(super) rustup: bool,
    /// apt-get is there.
    pub(super) apt: bool,
    /// apt offers the compiler with the BPF target.
    pub(super) offered: bool,
}

impl Facts {
    /// True when the compiler of the route needs no installation.
    pub(super) fn is_ready(&self, route: &Route) -> bool {
        match route {
            Route::Debian => self.debian_core && self.debian_rustc.is_some_and(Version::is_usable),
            Route::Rustup { toolchain } => self.nightly.as_ref() == Some(toolchain),
        }
    }
}

/// Where the compiler of the BPF program comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Debian's packages, with `core` prebuilt.
    Debian,
    /// A nightly of rustup that builds `core` from rust-src.
    Rustup {
        /// Its name, as `rustup run` takes it.
        toolchain: String,
    },
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian => {
                f.write_str("the distribution's compiler with its prebuilt core for the BPF target")
            }
            Self::Rustup { toolchain } => write!(f, "rustup's {toolchain}, which builds core from rust-src"),
        }
    }
}

/// No route leads to a BPF object on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The distribution's compiler is outside the usable range, and there is no rustup.
    UnusableCompiler(Version),
    /// Neither packages nor rustup.
    NoSource,
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (oldest, newest) = (Version::OLDEST, Version::NEWEST);
        match self {
            Self::UnusableCompiler(version) => write!(
                f,
                "the distribution's rustc is {version}, but the BPF program builds with {oldest} to {newest} \
                 (aya-ebpf 0.2.1 does not build with the compilers after July 2026): install rustup, and this \
                 command takes a nightly of its own, or install the package in a version of that range"
            ),
            Self::NoSource => f.write_str(
                "there is no compiler for the BPF target: on Debian 12 or later run `apt-get update && apt-get \
                 install rustc-web libstd-rust-web-dev-bpf llvm-22-dev` as root; elsewhere install rustup and \
                 LLVM 22 with its development files; then run this again",
            ),
        }
    }
}

/// The nightly that is installed where no other is usable: the last step before the changes of July 2026 that was
/// built with.
pub(super) const PINNED_NIGHTLY: &str = "nightly-2026-05-20";

/// Chooses: what is complete first, then Debian's packages, then rustup.
pub(super) fn choose(facts: &Facts) -> Result<Route, Refusal> {
    if facts.is_ready(&Route::Debian) {
        return Ok(Route::Debian);
    }
    if let Some(toolchain) = &facts.nightly {
        return Ok(Route::Rustup { toolchain: toolchain.clone() });
    }
    // A compiler of an unusable version is there because the distribution ships that version.
    let unusable = facts.debian_rustc.filter(|version| !version.is_usable() && facts.debian_core);
    if unusable.is_none() && facts.apt && facts.offered {
        return Ok(Route::Debian);
    }
    if facts.rustup {
        return Ok(Route::Rustup { toolchain: PINNED_NIGHTLY.to_owned() });
    }
    Err(unusable.map_or(Refusal::NoSource, Refusal::UnusableCompiler))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian(minor: u32) -> Facts {
        Facts {
            debian_rustc: Some(Version::new(1, minor)),
            debian_core: true,
            apt: true,
            offered: true,
            ..Facts::default()
        }
    }

    fn pinned() -> Route {
        Route::Rustup { toolchain: PINNED_NIGHTLY.to_owned() }
    }

    #[test]
    fn a_complete_debian_wins() {
        let facts = Facts { rustup: true, nightly: Some("nightly".to_owned()), ..debian(96) };
        assert_eq!(choose(&facts), Ok(Route::Debian));
        assert!(facts.is_ready(&Route::Debian));
    }

    #[test]
    fn a_fresh_debian_installs_its_packages() {
        let facts = Facts { apt: true, offered: true, rustup: true, ..Facts::default() };
        assert_eq!(choose(&facts), Ok(Route::Debian));
        assert!(!facts.is_ready(&Route::Debian));
    }

    #[test]
    fn a_host_compiler_without_the_bpf_core_does_not_stand_in_the_way() {
        let facts = Facts { debian_core: false, ..debian(63) };
        assert_eq!(choose(&facts), Ok(Route::Debian));
    }

    #[test]
    fn a_usable_nightly_comes_before_an_installation() {
        let nightly = Facts { nightly: Some("nightly-x".to_owned()), rustup: true, ..Facts::default() };
        let route = Route::Rustup { toolchain: "nightly-x".to_owned() };
        for facts in [
            Facts { apt: true, offered: true, ..nightly.clone() },
            Facts { debian_rustc: Some(Version::new(1, 98)), debian_core: true, ..nightly },
        ] {
            assert_eq!(choose(&facts).as_ref(), Ok(&route));
            assert!(facts.is_ready(&route));
        }
    }

    #[test]
    fn too_new_a_compiler_turns_to_rustup_or_says_so() {
        assert_eq!(choose(&Facts { rustup: true, ..debian(98) }), Ok(pinned()));
        assert_eq!(choose(&debian(98)), Err(Refusal::UnusableCompiler(Version::new(1, 98))));
        assert_eq!(choose(&debian(86)), Err(Refusal::UnusableCompiler(Version::new(1, 86))));
        assert!(Refusal::UnusableCompiler(Version::new(1, 98)).to_string().contains("1.98"));
    }

    #[test]
    fn other_distributions_take_rustup() {
        let facts = Facts { rustup: true, ..Facts::default() };
        assert_eq!(choose(&facts), Ok(pinned()));
        assert_eq!(choose(&Facts { apt: true, ..facts }), Ok(pinned()));
    }

    #[test]
    fn a_bare_machine_is_told_what_to_do() {
        assert_eq!(choose(&Facts::default()), Err(Refusal::NoSource));
        assert!(Refusal::NoSource.to_string().contains("libstd-rust-web-dev-bpf"));
    }
}
