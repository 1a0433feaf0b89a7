//! What the program says of itself: the log, and over HTTP metrics and health.

pub mod endpoint;
pub mod exposition;
pub mod health;
pub mod logging;
pub mod metric;
