//! Stored rows, page by page.

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::service::Service;

/// How long a page may take; the gateway waits as long.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(1);

/// Rows of a page: enough that the exchange does not count, few enough that the first are soon seen.
pub(crate) const PAGE: u64 = 5_000;

/// A text as a segment of a path.
pub(crate) fn segment(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// The address of a query.
pub(crate) fn address(path: &str, parameters: &[(&'static str, String)]) -> String {
    let query = Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("/api/v1/storage/{path}?{query}")
}

/// The rows of a query, in the order of the store.
pub(crate) struct Rows<'a> {
    storage: &'a Service,
    path: &'static str,
    parameters: Vec<(&'static str, String)>,
    cursor: Option<String>,
    ended: bool,
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

impl<'a> Rows<'a> {
    /// Begins before the first row.
    pub(crate) fn new(
        storage: &'a Service,
        path: &'static str,
        parameters: Vec<(&'static str, String)>,
    ) -> Self {
        Self { storage, path, parameters, cursor: None, ended: false }
    }

    /// Begins behind the row that a cursor is of.
    pub(crate) fn behind(mut self, cursor: Option<&str>) -> Self {
        self.cursor = cursor.map(ToOwned::to_owned);
        self
    }

    /// Where the rows go on behind those that were returned.
    pub(crate) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Returns the next rows, at most so many; `None` behind the last.
    ///
    /// # Errors
    ///
    /// If the storage does not answer, or refuses.
    pub(crate) async fn next(&mut self, limit: u64) -> anyhow::Result<Option<Vec<Box<RawValue>>>> {
        if self.ended {
            return Ok(None);
        }
        let page: Page = self.storage.ask(Method::GET, &self.target(limit), None, TIMEOUT).await?;
        self.ended = page.next_cursor.is_none();
        self.cursor = page.next_cursor;
        Ok(Some(page.data))
    }

    /// Whether there are rows behind those that were returned.
    pub(crate) fn has_more(&self) -> bool {
        !self.ended
    }

    fn target(&self, limit: u64) -> String {
        let mut parameters = self.parameters.clone();
        parameters.push(("limit", limit.clamp(1, PAGE).to_string()));
        parameters.extend(self.cursor.clone().map(|cursor| ("cursor", cursor)));
        address(self.path, &parameters)
    }
}
