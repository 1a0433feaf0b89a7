//! Two nodes and a client.
