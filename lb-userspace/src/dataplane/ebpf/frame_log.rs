//! The outcome of each frame in the log, in a build for it.

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::super::DataplaneError;

/// Reads what the programs log, until the process ends.
#[expect(unsafe_code, reason = "tokio wants it said that the descriptor stays open")]
pub(super) fn start(ebpf: &mut Ebpf) -> Result<(), DataplaneError> {
    let logger = EbpfLogger::init(ebpf).map_err(|error| {
        tracing::error!(%error, "the BPF object does not log frames: build both with `cargo xtask build --frame-log`");
        DataplaneError::Missing { name: "AYA_LOGS" }
    })?;
    // SAFETY: the logger owns its descriptor and is owned by the AsyncFd, so the descriptor stays open as long as it is
    // registered.
    let mut logger =
        unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }.map_err(|error| {
            DataplaneError::Syscall { action: "wait for", map: "AYA_LOGS", source: error.into() }
        })?;
    tokio::spawn(async move {
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    });
    Ok(())
}
