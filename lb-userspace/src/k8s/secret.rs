//! The Secret (`v1`) that the agents' common key is made of: named as MetalLB names its own, whose users have it already.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, api::PostParams};

use super::write::{FIELD_MANAGER, WriteError, Writer};

/// Its name.
pub const NAME: &str = "memberlist";
/// Its entry that is the secret; a file of this name in the agents' pods.
pub const ENTRY: &str = "secretkey";
/// As many random bytes as MetalLB takes.
pub const LENGTH: usize = 128;

impl Writer {
    /// Whether the Secret is there. What is in it is not asked for.
    pub async fn has_secret(&self, namespace: &str) -> Result<bool, WriteError> {
        let api: Api<Secret> = Api::namespaced(self.client(), namespace);
        Ok(api.get_metadata_opt(NAME).await?.is_some())
    }

    /// Makes the Secret of random bytes. False: somebody else has made it first, and it stays as it is.
    pub async fn make_secret(&self, namespace: &str, random: [u8; LENGTH]) -> Result<bool, WriteError> {
        let api: Api<Secret> = Api::namespaced(self.client(), namespace);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), dry_run: false };
        match api.create(&params, &secret(random)).await.map_err(WriteError::from) {
            Ok(_) => Ok(true),
            Err(WriteError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// MetalLB's form: the text is Base64 of the bytes, and the API carries it in Base64 once more.
fn secret(random: [u8; LENGTH]) -> Secret {
    let text = serde_json::to_value(ByteString(random.to_vec())).unwrap_or_default();
    let text = text.as_str().unwrap_or_default().as_bytes().to_vec();
    let label = |name: &str, value: &str| (format!("app.kubernetes.io/{name}"), value.to_owned());
    let labels = [label("name", "barelb"), label("managed-by", "barelb-controller")];
    Secret {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            labels: Some(BTreeMap::from(labels)),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from([(ENTRY.to_owned(), ByteString(text))])),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_is_base64_of_the_bytes() {
        let made = secret(std::array::from_fn(|at| at as u8));
        let entry = made.data.unwrap()[ENTRY].0.clone();
        let entry = String::from_utf8(entry).unwrap();
        assert_eq!((entry.len(), &entry[..12], &entry[164..]), (172, "AAECAwQFBgcI", "e3x9fn8="));
        assert_eq!(made.metadata.name.as_deref(), Some("memberlist"));
    }
}
