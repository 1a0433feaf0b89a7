//! Objects of one kind, as they are now and as they change.
//!
//! kube's watcher does the listing and watching: it resumes where a connection broke, and lists anew when the API
//! server no longer knows the version (410 Gone). What is added here:
//!
//! * An object that can't be read is one item, and ends nothing.
//! * A kind that the API server does not have is told once, and asked for again now and then. While an API server
//!   starts it may not know a kind that it has; it counts as missing only when the server says that it is ready.
//! * A watch whose kind went away or whose version is refused begins anew with a list. A version that is too old is
//!   no failure: it is how an API server ends any watch that it no longer can serve, and one of a new kind soon does.

use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::{
    FutureExt, Stream, StreamExt,
    stream::{self, BoxStream},
};
use http::Request;
use kube::{
    Api, Resource,
    api::ListParams,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, ExponentialBackoff, watcher},
    },
};
use serde::de::DeserializeOwned;

/// How long one watch request lasts, in seconds. A connection that died silently is noticed five seconds later.
const WATCH_SECONDS: u32 = 60;
/// First and longest wait after a watch that failed: a server that is back is to be noticed soon.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// Objects in one answer to a list, for those who run on: all of them are in memory at once, and one can have more than a
/// megabyte.
pub const PAGE: u32 = 100;
/// Between two looks for a kind that the API server does not have.
const ABSENT: Duration = Duration::from_secs(30);
/// Before a list that follows a refused watch.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest wait for a quick answer.
const QUICK: Duration = Duration::from_secs(5);

/// An object, or what can be said of one that can't be read.
pub type Guarded<K> = DeserializeGuard<K>;

/// What happens to the objects of a kind.
#[derive(Debug)]
pub enum Change<T> {
    /// A list begins; what it does not name is gone when it is complete.
    Listing,
    /// An object of the list.
    Listed(T),
    /// The list is complete.
    Complete,
    /// An object is new or has changed.
    Applied(T),
    /// An object is gone.
    Deleted(T),
    /// The API server is ready and does not have the kind.
    Absent,
    /// Something failed, and is tried again.
    Failed(Box<watcher::Error>),
}

impl<T> Change<T> {
    /// The same about something else.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Listing => Change::Listing,
            Self::Listed(object) => Change::Listed(f(object)),
            Self::Complete => Change::Complete,
            Self::Applied(object) => Change::Applied(f(object)),
            Self::Deleted(object) => Change::Deleted(f(object)),
            Self::Absent => Change::Absent,
            Self::Failed(error) => Change::Failed(error),
        }
    }
}

impl<T> From<Event<T>> for Change<T> {
    fn from(event: Event<T>) -> Self {
        match event {
            Event::Init => Self::Listing,
            Event::InitApply(object) => Self::Listed(object),
            Event::InitDone => Self::Complete,
            Event::Apply(object) => Self::Applied(object),
            Event::Delete(object) => Self::Deleted(object),
        }
    }
}

/// What a stream has already, without waiting for more.
pub fn ready<S: Stream + Unpin>(stream: &mut S) -> impl Iterator<Item = S::Item> {
    std::iter::from_fn(|| stream.next().now_or_never().flatten())
}

/// Watches all objects of `api` or, with `name`, the one of that name. The stream has no end. `page` is the most objects in
/// one answer to a list.
pub fn watch<K>(api: Api<Guarded<K>>, name: Option<&str>, page: u32) -> BoxStream<'static, Change<Guarded<K>>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let mut config = config(page);
    if let Some(name) = name {
        config = config.fields(&format!("metadata.name={name}"));
    }
    changes(api, config)
}

/// Watches the objects that a label selector finds. The stream has no end.
pub fn watch_labelled<K>(api: Api<Guarded<K>>, selector: &str) -> BoxStream<'static, Change<Guarded<K>>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    changes(api, config(PAGE).labels(selector))
}

fn config(page: u32) -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS).page_size(page)
}

fn changes<K>(api: Api<Guarded<K>>, config: watcher::Config) -> BoxStream<'static, Change<Guarded<K>>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    stream::unfold(Watch { stream: begin(&api, &config), api, config }, |mut watch| async move {
        let change = watch.next().await;
        Some((change, watch))
    })
    .boxed()
}

struct Watch<K> {
    api: Api<Guarded<K>>,
    config: watcher::Config,
    stream: BoxStream<'static, watcher::Result<Event<Guarded<K>>>>,
}

fn begin<K>(
    api: &Api<Guarded<K>>,
    config: &watcher::Config,
) -> BoxStream<'static, watcher::Result<Event<Guarded<K>>>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (first, longest) = BACKOFF;
    let backoff = ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest);
    let backoff = ExponentialBackoff::from(backoff.with_jitter().without_max_times());
    watcher(api.clone(), config.clone()).backoff(backoff).boxed()
}

impl<K> Watch<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    async fn next(&mut self) -> Change<Guarded<K>> {
        loop {
            match self.stream.next().await {
                Some(Ok(event)) => return event.into(),
                Some(Err(error)) if is_too_old(&error) => self.begins_again(&error),
                Some(Err(error)) => return self.failed(error).await,
                None => self.stream = begin(&self.api, &self.config),
            }
        }
    }

    async fn failed(&mut self, error: watcher::Error) -> Change<Guarded<K>> {
        let code = refusal(&error);
        if !matches!(code, Some(404 | 410)) {
            return Change::Failed(Box::new(error));
        }
        // kube would ask for the same version for ever.
        let again = begin(&self.api, &self.config);
        if code == Some(404) && is_absent(self.api.clone(), &self.config).await {
            self.stream = after(ABSENT, again);
            return Change::Absent;
        }
        self.stream = after(AGAIN, again);
        Change::Failed(Box::new(error))
    }

    fn begins_again(&mut self, error: &watcher::Error) {
        let kind = K::kind(&());
        tracing::debug!(error = error as &dyn Error, %kind, "the watch's version is too old, listing again");
        self.stream = after(AGAIN, begin(&self.api, &self.config));
    }
}

/// The stream, beginning after a pause.
fn after<T: Send + 'static>(pause: Duration, stream: BoxStream<'static, T>) -> BoxStream<'static, T> {
    let pause = stream::once(tokio::time::sleep(pause)).filter_map(|()| async { None });
    pause.chain(stream).boxed()
}

/// Whether a server that says it is ready does not have the kind.
async fn is_absent<K>(api: Api<Guarded<K>>, config: &watcher::Config) -> bool
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let Ok(ready) = Request::get("/readyz").body(Vec::new()) else { return false };
    let client = api.clone().into_client();
    let is_ready = tokio::time::timeout(QUICK, client.request_text(ready)).await;
    if !matches!(is_ready, Ok(Ok(_))) {
        return false;
    }
    // Who may only see the object of one name may not ask for others.
    let mut one = ListParams::default().limit(1);
    one.field_selector.clone_from(&config.field_selector);
    match tokio::time::timeout(QUICK, api.list_metadata(&one)).await {
        Ok(Err(kube::Error::Api(status))) => status.code == 404,
        Ok(Ok(_) | Err(_)) | Err(_) => false,
    }
}

/// Whether the server no longer knows the version from which to go on (410 Gone), said at the start or later.
fn is_too_old(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) | watcher::Error::WatchError(status) => {
            status.code == 410
        }
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => false,
    }
}

/// The code with which the server refused a list or a watch.
pub fn refusal(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status.code),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchError(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    }
}
