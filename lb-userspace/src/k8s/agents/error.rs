//! Why there is no answer from an API server, or from an agent behind it.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::iter::successors;
use std::time::Duration;

use kube::{client::AuthError, core::Status};

/// What kube calls an answer that an API server does not give.
const NO_STATUS: &str = "Failed to parse error data";
/// Characters that are shown of one.
const SHOWN: usize = 200;

type Cause = Box<dyn Error + Send + Sync>;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The API server does not know who asks.
    #[error("the API server does not accept the credentials ({}): {}", .status.code, .status.message)]
    Unauthorized {
        /// The words of the API server.
        status: Box<Status>,
    },
    /// The rights are missing.
    #[error("the API server does not permit it ({}): {}", .status.code, lacking(&.status.message))]
    Forbidden {
        /// The words of the API server.
        status: Box<Status>,
    },
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The request or the answer did not get through.
    #[error("the API server can't be reached")]
    Unreachable(#[source] Cause),
    /// The certificate of one side is not accepted by the other, or there is none.
    #[error("there is no trusted connection to the API server")]
    Untrusted(#[source] Cause),
    /// What the kubeconfig names as the way to credentials gives none.
    #[error("there are no credentials")]
    NoCredentials(#[source] Cause),
    /// It is no answer of an API server.
    #[error("what answers is no API server")]
    Unreadable(#[source] Cause),
    /// Neither an API server nor an agent speaks so.
    #[error("another program answers ({}): {}", .status.code, start(&.status.message))]
    Stranger {
        /// What it says.
        status: Box<Status>,
    },
    /// The pod is not there any more.
    #[error("the pod is gone")]
    Gone,
    /// The agent answers, and has no such page.
    #[error("the agent does not have this page")]
    NoPage,
    /// The API server has not got the page.
    #[error("the API server gets no answer from the agent ({}): {}", .status.code, .status.message)]
    NotReached {
        /// The words of the API server.
        status: Box<Status>,
    },
    /// The API server has another reason.
    #[error("the API server refuses ({}): {}", .status.code, .status.message)]
    Refused {
        /// The words of the API server.
        status: Box<Status>,
    },
}

impl AskError {
    /// Of a request that the API server passes on to an agent.
    pub(super) fn behind_proxy(self) -> Self {
        match self {
            // An agent has no words for what it does not have.
            Self::Stranger { status } if status.code == 404 => Self::NoPage,
            Self::Refused { status } if matches!(status.code, 502..=504) => Self::NotReached { status },
            Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::Timeout(_)
            | Self::Unreachable(_)
            | Self::Untrusted(_)
            | Self::NoCredentials(_)
            | Self::Unreadable(_)
            | Self::Stranger { .. }
            | Self::Gone
            | Self::NoPage
            | Self::NotReached { .. }
            | Self::Refused { .. } => self,
        }
    }
}

impl From<kube::Error> for AskError {
    fn from(error: kube::Error) -> Self {
        if let kube::Error::Api(status) = error {
            return of_status(status);
        }
        if matches!(error, kube::Error::SerdeError(_) | kube::Error::FromUtf8(_)) {
            return Self::Unreadable(Box::new(error));
        }
        let error = if let kube::Error::Service(cause) = error { cause } else { Box::new(error) };
        if causes(&*error).any(<dyn Error>::is::<AuthError>) {
            return Self::NoCredentials(error);
        }
        // As TLS says that it can't go on.
        let is_invalid =
            |cause: &io::Error| matches!(cause.kind(), ErrorKind::InvalidData | ErrorKind::InvalidInput);
        if causes(&*error).filter_map(|cause| cause.downcast_ref()).any(is_invalid) {
            return Self::Untrusted(error);
        }
        Self::Unreachable(error)
    }
}

fn of_status(status: Box<Status>) -> AskError {
    match (status.code, status.reason.as_str()) {
        (_, NO_STATUS) => AskError::Stranger { status },
        (401, _) => AskError::Unauthorized { status },
        (403, _) => AskError::Forbidden { status },
        (404, "NotFound") => AskError::Gone,
        _ => AskError::Refused { status },
    }
}

/// The error and what it follows from. What an I/O error wraps is no source of it, only the source of that is.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
}

/// Who lacks which right; without the object, so that the same is said of all that are asked for.
fn lacking(message: &str) -> &str {
    message.split_once(" is forbidden: ").map_or(message, |(_object, why)| why)
}

/// The first line, or the start of it.
fn start(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(SHOWN).collect()
}

#[cfg(test)]
impl AskError {
    /// Of an answer with this code to a request that an API server passes on.
    pub(crate) fn refused(code: u16, words: &str, reason: &str) -> Self {
        let status = Status::failure(words, reason).with_code(code).boxed();
        Self::from(kube::Error::Api(status)).behind_proxy()
    }
}

#[cfg(test)]
mod tests {
    use kube::Config;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::k8s::agents::Agents;
    use crate::k8s::client;

    /// How a server is spoken to, and what becomes of a request there. It sends this once it has heard something.
    async fn of_server(scheme: &str, answer: &'static str) -> AskError {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let error = list(&format!("{scheme}://{address}")).await;
        server.await.unwrap();
        error
    }

    async fn list(server: &str) -> AskError {
        let config = Config::new(server.parse().unwrap());
        Agents::new(client::writing(&config).unwrap(), "ns").list().await.unwrap_err()
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_connection_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        for scheme in ["http", "https"] {
            let error = list(&format!("{scheme}://{address}")).await;
            assert!(matches!(error, AskError::Unreachable(_)), "{error:?}");
        }
        let error = of_server("https", "HTTP/1.1 400 Bad Request\r\n\r\n").await;
        assert!(matches!(error, AskError::Untrusted(_)), "{error:?}");
        let error = of_server("http", "").await;
        assert!(matches!(error, AskError::Unreachable(_)), "{error:?}");
    }

    #[tokio::test]
    async fn what_is_no_api_server_is_not_taken_for_one() {
        let error = of_server("http", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>").await;
        assert!(matches!(error, AskError::Unreadable(_)), "{error:?}");
        let error = of_server("http", "HTTP/1.1 401 No\r\ncontent-length: 9\r\n\r\nlog in\nno").await;
        assert_eq!(error.to_string(), "another program answers (401): log in");
    }

    #[test]
    fn a_plugin_that_gives_no_credentials_is_told_from_a_connection() {
        let failed = || AuthError::AuthExec("it has failed".to_owned());
        for error in [kube::Error::Auth(failed()), kube::Error::Service(failed().into())] {
            let error = AskError::from(error);
            assert!(matches!(error, AskError::NoCredentials(_)), "{error:?}");
        }
    }

    #[test]
    fn an_agent_that_lacks_the_page_is_told_from_a_pod_that_is_gone() {
        let error = |code, reason| AskError::refused(code, "words", reason);
        assert!(matches!(error(404, "NotFound"), AskError::Gone));
        assert!(matches!(error(404, NO_STATUS), AskError::NoPage));
    }

    #[test]
    fn a_right_that_is_missing_is_told_without_the_object() {
        for object in ["pods", "pods \"a:7475\""] {
            let words = format!("{object} is forbidden: User \"u\" cannot get resource \"pods/proxy\"");
            assert_eq!(
                AskError::refused(403, &words, "Forbidden").to_string(),
                "the API server does not permit it (403): User \"u\" cannot get resource \"pods/proxy\""
            );
        }
    }

    #[test]
    fn who_refuses_is_told() {
        let error = |code, reason| AskError::refused(code, "words", reason);
        assert!(matches!(error(401, "Unauthorized"), AskError::Unauthorized { .. }));
        assert!(matches!(error(403, "Forbidden"), AskError::Forbidden { .. }));
        assert!(matches!(error(503, "ServiceUnavailable"), AskError::NotReached { .. }));
        assert!(matches!(error(429, "TooManyRequests"), AskError::Refused { .. }));
        // By a proxy before the agent, which asks for a password.
        assert!(matches!(error(401, NO_STATUS), AskError::Stranger { .. }));
    }
}
