//! One client's connection: the shell around a conversation.

use crate::command::{Batch, Command};
use crate::conductor::CLIENT_QUEUE;
use crate::dialect::{Act, Conversation, Door};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::stream::SplitSink;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// One client's connection.
pub(super) struct Session {
    commands: mpsc::Sender<Command>,
    door: &'static Door,
    client: u64,
    conversation: Box<dyn Conversation>,
}

type Sink = SplitSink<WebSocket, Message>;

/// Whether the connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Goes,
    Ends,
}

impl Session {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        door: &'static Door,
        client: u64,
        conversation: Box<dyn Conversation>,
    ) -> Self {
        Self { commands, door, client, conversation }
    }

    pub(super) async fn run(mut self, socket: WebSocket) {
        let (frames, mut batches) = mpsc::channel(CLIENT_QUEUE);
        let client = self.client;
        let join = Command::Join { client, frames };
        if self.commands.send(join).await.is_err() {
            return;
        }
        if let Err(error) = self.serve(socket, &mut batches).await {
            tracing::debug!(client, %error, "client gone");
        }
        // A conductor that is gone has no clients to forget.
        drop(self.commands.send(Command::Leave { client }).await);
    }

    async fn serve(
        &mut self,
        socket: WebSocket,
        batches: &mut mpsc::Receiver<Batch>,
    ) -> anyhow::Result<()> {
        let (mut out, mut input) = socket.split();
        let acts = self.conversation.begin();
        let mut next = self.act(acts, &mut out).await?;
        while next == Next::Goes {
            let due_at = self.conversation.due_at();
            next = tokio::select! {
                biased;
                message = input.next() => match message {
                    Some(Ok(message)) => self.receive(message, &mut out).await?,
                    Some(Err(_)) | None => return Ok(()),
                },
                batch = batches.recv() => match batch {
                    Some(batch) => self.send(batch, &mut out).await?,
                    None => {
                        out.send(Message::Close(None)).await?;
                        Next::Ends
                    }
                },
                () = sleep_until(due_at.unwrap_or_else(Instant::now)), if due_at.is_some() => {
                    let acts = self.conversation.due(Instant::now());
                    self.act(acts, &mut out).await?
                }
            };
        }
        Ok(())
    }

    async fn receive(&mut self, message: Message, out: &mut Sink) -> anyhow::Result<Next> {
        match message {
            Message::Text(text) => {
                let acts = self.conversation.hear(&text, Instant::now());
                self.act(acts, out).await
            }
            Message::Ping(payload) => {
                out.send(Message::Pong(payload)).await?;
                Ok(Next::Goes)
            }
            Message::Pong(_) => {
                self.conversation.pong(Instant::now());
                Ok(Next::Goes)
            }
            Message::Binary(_) => self.act(vec![Act::Close(None)], out).await,
            Message::Close(_) => Ok(Next::Ends),
        }
    }

    async fn send(&mut self, batch: Batch, out: &mut Sink) -> anyhow::Result<Next> {
        for frame in batch {
            let text = if self.door.is_combined { &frame.combined } else { &frame.data };
            let message =
                frame.binary.clone().map_or_else(|| Message::Text(text.clone()), Message::Binary);
            out.feed(message).await?;
        }
        out.flush().await?;
        self.conversation.sent(Instant::now());
        Ok(Next::Goes)
    }

    async fn act(&self, acts: Vec<Act>, out: &mut Sink) -> anyhow::Result<Next> {
        for act in acts {
            match act {
                Act::Say(text) => out.send(Message::text(text)).await?,
                Act::Ping => {
                    let payload = axum::body::Bytes::from_static(b"sim");
                    out.send(Message::Ping(payload)).await?;
                }
                Act::Join(streams) => self.subscribe(streams, Vec::new()).await,
                Act::Leave(streams) => self.subscribe(Vec::new(), streams).await,
                Act::Close(reason) => {
                    let frame = reason.map(|(code, reason)| CloseFrame {
                        code,
                        reason: Utf8Bytes::from_static(reason),
                    });
                    out.send(Message::Close(frame)).await?;
                    return Ok(Next::Ends);
                }
            }
        }
        Ok(Next::Goes)
    }

    async fn subscribe(&self, add: Vec<String>, remove: Vec<String>) {
        if add.is_empty() && remove.is_empty() {
            return;
        }
        let command = Command::Subscribe { client: self.client, add, remove };
        // A conductor that is gone sends nothing any more, so the session ends by itself.
        drop(self.commands.send(command).await);
    }
}
