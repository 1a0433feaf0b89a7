//! What an API server answers on a path, as text: for those who keep objects and do not look at what they say.

use std::time::Duration;

use http::Request;
use kube::Client;
use tokio::time::timeout;

use super::agents::AskError;

/// Longest wait for an answer: a log may be large.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks for paths.
#[derive(Clone)]
pub struct Raw {
    client: Client,
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raw").finish_non_exhaustive()
    }
}

impl Raw {
    /// By a client that asks once.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The text behind the path, with its query.
    pub async fn get(&self, path: &str) -> Result<String, AskError> {
        let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
        match timeout(PATIENCE, self.client.request_text(request)).await {
            Ok(answer) => Ok(answer?),
            Err(_late) => Err(AskError::Timeout(PATIENCE)),
        }
    }
}
