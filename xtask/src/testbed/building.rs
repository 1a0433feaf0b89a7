//! Programs of a Go module of ours, built once per version into a folder of the user's cache.

use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use super::go::{self, Go, Release};
use super::program::Program;
use crate::process::{is_executable, run};

/// What is built from one `go.mod`.
pub(super) struct Building<'a> {
    /// The folder of the `go.mod`.
    pub(super) module: &'a Path,
    /// Where the programs are kept.
    pub(super) cache: &'a Path,
    /// The oldest Go that builds them.
    pub(super) oldest: Release,
    /// For the linker: the version that they report.
    pub(super) linker_flags: String,
    /// Versions and time, for people.
    pub(super) notice: String,
}

impl Building<'_> {
    /// Those of `wanted` that are not in the cache.
    pub(super) fn missing<'a>(&self, wanted: &[&'a Program]) -> Vec<&'a Program> {
        missing(self.cache, wanted)
    }

    /// Builds what is missing of `wanted`, and calls `before` with Go and its caches before the first program is at its
    /// place. A failed build keeps Go's cache, so that the next one goes on from there; a complete one frees it: some
    /// gigabytes that nobody asks for before the versions change.
    pub(super) fn build(
        &self,
        wanted: &[&Program],
        before: impl FnOnce(&Go, &Path) -> Result<()>,
    ) -> Result<()> {
        let cache = self.cache;
        fs::create_dir_all(cache).with_context(|| format!("cannot make the folder {}", cache.display()))?;
        let lock = File::create(cache.join("lock"))?;
        lock.lock().with_context(|| format!("cannot lock {}", cache.display()))?;
        // Another checkout may have built them meanwhile.
        let missing = self.missing(wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let work = cache.join("building");
        fs::create_dir_all(&work)?;
        let go = go::prepare(&self.oldest)?;
        let names: Vec<_> = missing.iter().map(|program| program.name).collect();
        eprintln!("building {} ({}) with {go} into {}, once", names.join(", "), self.notice, cache.display());
        before(&go, &work)?;
        for program in missing {
            self.build_one(&go, &work, program)?;
        }
        fs::remove_dir_all(&work).with_context(|| format!("cannot free Go's cache in {}", work.display()))
    }

    fn build_one(&self, go: &Go, work: &Path, program: &Program) -> Result<()> {
        let start = Instant::now();
        let built = work.join(program.name);
        let mut command = go.build(work);
        command.current_dir(self.module).arg("-ldflags").arg(&self.linker_flags);
        run(command.arg("-o").arg(&built).arg(program.package)).with_context(|| {
            format!("building {} takes about 3 GB below {}", program.name, self.cache.display())
        })?;
        let size = fs::metadata(&built)?.len() >> 20;
        // At its place only when complete.
        fs::rename(&built, self.cache.join(program.name))?;
        eprintln!("built {} in {} s ({size} MiB)", program.name, start.elapsed().as_secs());
        Ok(())
    }
}

pub(super) fn missing<'a>(cache: &Path, wanted: &[&'a Program]) -> Vec<&'a Program> {
    wanted.iter().copied().filter(|program| !is_executable(&cache.join(program.name))).collect()
}
