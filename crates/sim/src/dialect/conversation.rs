//! What is said on a connection beside the market's frames.

use tokio::time::Instant;

/// The venue's side of what is said on one connection: subscriptions, signs of life.
pub trait Conversation: Send + Sync {
    /// Begins it.
    fn begin(&mut self) -> Vec<Act> {
        Vec::new()
    }

    /// Takes what the client said.
    fn hear(&mut self, text: &str, now: Instant) -> Vec<Act>;

    /// Takes the answer to an [`Act::Ping`].
    fn pong(&mut self, now: Instant) {
        let _ = now;
    }

    /// Learns that frames of the market were sent.
    fn sent(&mut self, now: Instant) {
        let _ = now;
    }

    /// When [`Conversation::due`] must be called, if nothing happens before.
    fn due_at(&self) -> Option<Instant>;

    /// Acts on what is due.
    fn due(&mut self, now: Instant) -> Vec<Act>;
}

/// What a venue does in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// It says something.
    Say(String),
    /// It pings.
    Ping,
    /// It begins to send streams.
    Join(Vec<String>),
    /// It ends streams.
    Leave(Vec<String>),
    /// It closes the connection, for a reason with a code or for none.
    Close(Option<(u16, &'static str)>),
}
