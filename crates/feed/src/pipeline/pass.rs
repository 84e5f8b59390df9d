//! What passes, and what is a repetition.

use crate::continuity::{Continuity, Seen, Verdict};
use crate::keeper::{Context, Report};
use crate::output::{Lanes, Output};
use book::Update;
use model::{Body, Book, Event, Gap};

pub(super) fn pass(event: Event, lanes: Lanes, context: &mut Context<'_>) -> Report {
    context.out.push(Output { event, lanes });
    Report::default()
}

/// Passes an event whose ids have no holes, unless it is a repetition.
pub(super) fn pass_contiguous(
    continuity: &mut Continuity,
    ids: (u64, u64),
    event: Event,
    context: &mut Context<'_>,
) -> Report {
    let (repeated, gaps) = observe(continuity, ids, event.origin.is_some(), context);
    if repeated {
        return Report { repeated: Some(event.kind()), ..Report::default() };
    }
    // What was fetched is old: it is stored, and no news to those who listen.
    let lanes = if event.origin.is_some() { Lanes::Durable } else { Lanes::Both };
    pass(event, lanes, context);
    gaps.into_iter().for_each(|gap| context.push(Body::Gap(gap), None, Lanes::Both));
    Report::default()
}

/// Whether ids were seen before, and the gap records that follow from seeing them.
pub(super) fn observe(
    continuity: &mut Continuity,
    ids: (u64, u64),
    fetched: bool,
    context: &Context<'_>,
) -> (bool, Vec<Gap>) {
    let seen = Seen { fetched, ..context.seen() };
    let mut gaps = Vec::new();
    match continuity.observe(ids, &seen, &mut gaps) {
        Verdict::Repeated => return (true, gaps),
        Verdict::Heals(gap) if context.options.heal_when_seen => gaps.push(gap),
        Verdict::Heals(_) | Verdict::New => {}
    }
    (false, gaps)
}

pub(super) fn update_of(book: &Book) -> Update {
    let first = book.first_id.unwrap_or(book.last_id);
    Update { first, last: book.last_id, prev: book.prev_id }
}
