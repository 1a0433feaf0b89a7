//! The name under which a replica competes for the lease.

use std::io;

/// The name of this machine, as the kernel knows it.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// Another random one each time it is read.
const UUID: &str = "/proc/sys/kernel/random/uuid";

/// A name that no other process has or will have: the pod's, or else the host's, and a random part, as client-go's
/// users make it (`name_uuid`).
///
/// `pod_name` is the environment variable `POD_NAME`. The random part is what counts: a process that starts anew must
/// not take the lease of its predecessor, whose last writes may still be on their way, for its own.
pub fn identity(pod_name: Option<&str>) -> io::Result<String> {
    let name = match pod_name.filter(|name| !name.is_empty()) {
        Some(name) => name.to_owned(),
        None => std::fs::read_to_string(HOST_NAME)?,
    };
    let uuid = std::fs::read_to_string(UUID)?;
    Ok(format!("{}_{}", name.trim(), uuid.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_and_something_random() {
        let first = identity(Some("barelb-controller-0")).unwrap();
        let second = identity(Some("barelb-controller-0")).unwrap();
        let (name, uuid) = first.rsplit_once('_').unwrap();
        assert_eq!(name, "barelb-controller-0");
        assert_eq!(uuid.len(), 36, "{uuid}");
        assert_ne!(first, second);
    }

    #[test]
    fn the_host_where_there_is_no_pod() {
        for pod_name in [None, Some("")] {
            let identity = identity(pod_name).unwrap();
            let host = std::fs::read_to_string(HOST_NAME).unwrap();
            assert!(identity.starts_with(&format!("{}_", host.trim())), "{identity}");
        }
    }
}
