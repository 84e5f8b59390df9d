//! What is answered before the router.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::Method;

/// Answers requests that the router need not see.
///
/// A router looks for a route, notes what it has found and boxes a future at every layer. Where
/// requests are only passed on, that is a good part of the work.
///
/// None of the router's layers is around it: no token is asked for, and `HEAD` is its own concern.
pub trait Front: Send + Sync + 'static {
    /// The name under which its requests are counted, which is the router's for the same paths.
    fn route(&self) -> &'static str;

    /// Whether a request is one that it answers.
    fn takes(&self, method: &Method, path: &str) -> bool;

    /// Answers a request that it takes. The request has no extensions but what becomes of the
    /// connection if it asks for another protocol, and [`TooLarge`](crate::TooLarge), if it
    /// announces too large a body and the limits say that such requests are the router's.
    fn answer(self: Arc<Self>, request: Request, client: Client) -> FrontAnswer;
}

/// The other end of the connection that a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its address and port.
    pub peer: SocketAddr,
    /// Whether the connection is encrypted.
    pub is_encrypted: bool,
}

/// An answer on its way.
pub type FrontAnswer = Pin<Box<dyn Future<Output = Response> + Send>>;
