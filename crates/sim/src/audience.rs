//! Who gets which frames.

use crate::command::Batch;
use crate::frame::Frame;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A frame on its way.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) frame: Arc<Frame>,
    /// The only client that gets it; `None` for all who have its stream.
    pub(crate) to: Option<u64>,
}

/// The clients and their streams.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    clients: BTreeMap<u64, mpsc::Sender<Batch>>,
    streams: BTreeMap<String, BTreeSet<u64>>,
    /// Times a client was disconnected for being slow.
    pub(crate) slow: u64,
    /// Malformed frames sent, to all clients together.
    pub(crate) malformed: u64,
}

impl Audience {
    pub(crate) fn join(&mut self, client: u64, frames: mpsc::Sender<Batch>) {
        self.clients.insert(client, frames);
    }

    /// How many clients there are.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn has(&self, client: u64) -> bool {
        self.clients.contains_key(&client)
    }

    /// Whether any stream is wanted by anybody.
    pub(crate) fn wants(&self) -> bool {
        !self.streams.is_empty()
    }

    pub(crate) fn add(&mut self, client: u64, stream: String) {
        self.streams.entry(stream).or_default().insert(client);
    }

    pub(crate) fn remove(&mut self, client: u64, stream: &str) {
        if let Some(clients) = self.streams.get_mut(stream) {
            clients.remove(&client);
            if clients.is_empty() {
                self.streams.remove(stream);
            }
        }
    }

    pub(crate) fn leave(&mut self, client: u64) {
        self.clients.remove(&client);
        self.streams.retain(|_, clients| {
            clients.remove(&client);
            !clients.is_empty()
        });
    }

    /// Sends a stream to nobody who has joined it so far.
    pub(crate) fn mute(&mut self, stream: &str) {
        self.streams.remove(stream);
    }

    /// Closes every connection.
    pub(crate) fn clear(&mut self) {
        self.clients.clear();
        self.streams.clear();
    }

    /// Sends frames in their order. A client whose queue is full is disconnected.
    pub(crate) fn send(&mut self, frames: Vec<Outgoing>) {
        let mut batches: BTreeMap<u64, Batch> = BTreeMap::new();
        for Outgoing { frame, to } in frames {
            let all = self.streams.get(&*frame.stream).filter(|_| to.is_none());
            for client in to.iter().chain(all.into_iter().flatten()) {
                batches.entry(*client).or_default().push(Arc::clone(&frame));
            }
        }
        for (client, batch) in batches {
            let Some(frames) = self.clients.get(&client) else { continue };
            let malformed = batch.iter().filter(|frame| frame.malformed).count() as u64;
            match frames.try_send(batch) {
                Ok(()) => self.malformed += malformed,
                Err(_) => {
                    self.slow += 1;
                    self.leave(client);
                }
            }
        }
    }
}
