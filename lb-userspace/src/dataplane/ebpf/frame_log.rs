//! The outcome of each frame in the log, in a build for it.

use aya::Ebpf;
use aya_log::EbpfLogger;

use super::super::DataplaneError;

/// Reads what the programs log, until the process ends.
pub(super) fn start(ebpf: &mut Ebpf) -> Result<(), DataplaneError> {
    let logger = EbpfLogger::init(ebpf).map_err(|error| {
        tracing::error!(%error, "the BPF object does not log frames: build both with `cargo xtask build --frame-log`");
        DataplaneError::Missing { name: "AYA_LOGS" }
    })?;
    let mut logger = tokio::io::unix::AsyncFd::with_interest(logger, tokio::io::Interest::READABLE)
        .map_err(|source| DataplaneError::Syscall { action: "wait for", map: "AYA_LOGS", source })?;
    tokio::spawn(async move {
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    });
    Ok(())
}
