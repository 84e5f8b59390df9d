//! Subscriptions that begin in the past, as those who read it see them.

use std::collections::VecDeque;
use std::time::Instant;

use super::super::client::{Next, Past, Span};
use super::{ClientId, Hub, OnSlow, Pattern, Refused, SubscriptionId};

/// Names a subscription that begins in the past, also when another one has its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) client: ClientId,
    pub(crate) id: SubscriptionId,
    /// Counts those of the client.
    pub(crate) number: u64,
}

impl Hub {
    /// A client asks for something from the past on; the pattern names a kind that is no book.
    pub(crate) fn subscribe_from(
        &mut self,
        ticket: Ticket,
        pattern: Pattern,
        on_slow: OnSlow,
        now: Instant,
    ) -> Result<(), Refused> {
        let Ticket { client, id, number } = ticket;
        self.subscribe(client, id, pattern, on_slow)?;
        if let Some(client) = self.clients.get_mut(&client) {
            client.begin(id, number, now);
        }
        self.review();
        Ok(())
    }

    /// The live lane is there from now on.
    pub(crate) fn begin_anew(&mut self, ticket: Ticket, now: Instant) {
        let Ticket { client, id, number } = ticket;
        if let Some(client) = self.clients.get_mut(&client) {
            client.begin_anew(id, number, now);
        }
    }

    /// Hands over what was read of the past, as far as the client has room for it.
    pub(crate) fn hand_on(&mut self, ticket: Ticket, past: &mut VecDeque<Past>) -> Next {
        let Ticket { client: who, id, number } = ticket;
        let Some(client) = self.clients.get_mut(&who) else { return Next::End };
        self.woken.insert(who);
        client.hand_on(id, number, past)
    }

    /// Makes the subscription live if it is level.
    pub(crate) fn hand_over(
        &mut self,
        ticket: Ticket,
        at_end: bool,
        span: Span,
        now: Instant,
    ) -> Next {
        let Ticket { client: who, id, number } = ticket;
        let Some(client) = self.clients.get_mut(&who) else { return Next::End };
        let next = client.hand_over(id, number, at_end, span, now);
        if next == Next::End {
            self.woken.insert(who);
            self.review();
        }
        next
    }
}
