//! The connections that are open, so that one at rest can make room for one that asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::guard::Progress;

/// The connections that are open.
#[derive(Debug, Clone)]
pub(super) struct Open {
    /// Moments of rest are counted from here.
    began: Instant,
    list: Arc<Mutex<List>>,
}

#[derive(Debug, Default)]
struct List {
    /// The number of the next one.
    next: u64,
    connections: BTreeMap<u64, Arc<Progress>>,
}

/// One of them; its end takes it off the list.
#[derive(Debug)]
pub(super) struct Entry {
    open: Open,
    number: u64,
}

impl Open {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), list: Arc::default() }
    }

    /// Puts a new connection on the list, which stops with the server.
    pub(super) fn enter(&self, server: &CancellationToken) -> (Arc<Progress>, Entry) {
        let progress = Arc::new(Progress::new(server, self.began));
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let number = list.next;
        list.next += 1;
        list.connections.insert(number, Arc::clone(&progress));
        (progress, Entry { open: self.clone(), number })
    }

    /// Tells the connection that has rested longest between two requests to close; says whether
    /// there was one. One that is about to read or answer a request is left alone.
    pub(super) fn dismiss_one(&self) -> bool {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let resting = list.connections.values().filter_map(|progress| {
            let since = progress.resting_since()?;
            Some((since, progress))
        });
        match resting.min_by_key(|(since, _)| *since) {
            Some((_, progress)) => {
                progress.dismiss();
                true
            }
            None => false,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut list = self.open.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.connections.remove(&self.number);
    }
}
