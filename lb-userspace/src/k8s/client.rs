//! The way to the API server.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::{
    Client, Config,
    config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a server that is asked for a list or a watch may say nothing: a watch ends, and so says something, after a
/// minute at the latest. Without it the loss of a server between request and answer is never seen.
const SILENCE: Duration = Duration::from_secs(75);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file that was named.
    #[error(
        "the kubeconfig {0} can't be used: `kubectl config view --kubeconfig {0}` reads the same",
        path.display()
    )]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// No file was named, and the surroundings give none.
    #[error(
        "no way to an API server is known: run in a pod with a ServiceAccount, or give --kubeconfig FILE"
    )]
    Nowhere(#[source] Box<InferConfigError>),
    /// The context that was named.
    #[error("the context {context} can't be used: `kubectl config get-contexts` lists those that exist")]
    Context {
        /// Its name.
        context: String,
        /// What is wrong with it.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// Certificates or address are not usable.
    #[error("the client can't be made")]
    Client(#[source] Box<kube::Error>),
}

/// The way by this kubeconfig or, without one, by `$KUBECONFIG`, `~/.kube/config` or the pod's ServiceAccount, in this
/// order.
pub async fn configuration(kubeconfig: Option<&Path>) -> Result<Config, ClientError> {
    let file = match (kubeconfig, named()) {
        (Some(path), _) => Some((path.to_owned(), Kubeconfig::read_from(path))),
        // What was named is meant, and nothing in its place.
        (None, Some(paths)) => Some((PathBuf::from(paths), Kubeconfig::read())),
        (None, None) => None,
    };
    let mut config = if let Some((path, file)) = file {
        let wrong = |source| ClientError::Kubeconfig { path: path.clone(), source: Box::new(source) };
        let options = KubeConfigOptions::default();
        Config::from_custom_kubeconfig(file.map_err(wrong)?, &options).await.map_err(wrong)?
    } else {
        Config::infer().await.map_err(|error| ClientError::Nowhere(Box::new(error)))?
    };
    config.connect_timeout = Some(CONNECT);
    Ok(config)
}

/// The same by another context than the current one of the kubeconfig, if one is named.
pub async fn configuration_of(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> Result<Config, ClientError> {
    let Some(context) = context else { return configuration(kubeconfig).await };
    let wrong = |source| ClientError::Context { context: context.to_owned(), source: Box::new(source) };
    let file = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path)
            .map_err(|source| ClientError::Kubeconfig { path: path.to_owned(), source: Box::new(source) })?,
        None => Kubeconfig::read().map_err(wrong)?,
    };
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(file, &options).await.map_err(wrong)?;
    config.connect_timeout = Some(CONNECT);
    Ok(config)
}

/// What [`configuration`] goes by, for a person.
pub fn place(kubeconfig: Option<&Path>) -> String {
    match (kubeconfig, named()) {
        (Some(path), _) => path.display().to_string(),
        (None, Some(paths)) => format!("{} ($KUBECONFIG)", paths.display()),
        (None, None) => "~/.kube/config, or the pod's ServiceAccount where there is no such file".to_owned(),
    }
}

/// What `$KUBECONFIG` names.
fn named() -> Option<OsString> {
    std::env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty())
}

/// A client for lists and watches, which repeats what an overloaded server refuses.
pub fn reading(config: &Config) -> Result<Client, ClientError> {
    let mut config = config.clone();
    config.read_timeout = Some(SILENCE);
    // A connection that was not used for a while has not failed.
    config.reset_reader_on_write = true;
    client(config)
}

/// A client that asks once: whoever writes has to know when a request began and what came of it. It limits the time of
/// each request itself.
pub fn writing(config: &Config) -> Result<Client, ClientError> {
    let mut config = config.clone();
    config.default_retry = false;
    client(config)
}

fn client(config: Config) -> Result<Client, ClientError> {
    Client::try_from(config).map_err(|error| ClientError::Client(Box::new(error)))
}
