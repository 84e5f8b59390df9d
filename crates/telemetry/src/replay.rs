//! Events as owned values, and their second performance on the writer's thread.
//!
//! An event borrows its values from the stack of the thread that logs. The recorder copies them,
//! with the values of the spans around; the writer performs spans and event again for the layer
//! that writes, which so sees exactly what it would have seen in place.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use tracing::field::{DisplayValue, Field, Value, Visit, display};
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// The field that holds what an event says.
const MESSAGE: &str = "message";

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Write an event.
    Write(Entry),
    /// Say when everything before this is written.
    Flush(SyncSender<()>),
}

/// An event with the spans around it, outermost first.
#[derive(Debug)]
pub(crate) struct Entry {
    event: Record,
    spans: Vec<Arc<Record>>,
}

/// The values of one event or span.
#[derive(Debug, Clone)]
struct Record {
    metadata: &'static Metadata<'static>,
    /// By index of the field.
    values: Vec<Option<Text>>,
}

/// A value as text.
#[derive(Debug, Clone)]
enum Text {
    /// A string: shown in quotes where values are.
    Plain(String),
    /// Anything else.
    Shown(String),
}

impl Record {
    fn new(metadata: &'static Metadata<'static>) -> Self {
        Self { metadata, values: vec![None; metadata.fields().len()] }
    }

    /// The fields other than the message, as `name=value`.
    fn pairs(&self) -> Vec<String> {
        self.metadata
            .fields()
            .iter()
            .zip(&self.values)
            .filter(|(field, _)| field.name() != MESSAGE)
            .filter_map(|(field, text)| match text.as_ref()? {
                Text::Plain(text) | Text::Shown(text) => Some(format!("{field}={text}")),
            })
            .collect()
    }

    fn put(&mut self, field: &Field, text: Text) {
        if let Some(slot) = self.values.get_mut(field.index()) {
            *slot = Some(text);
        }
    }

    /// Hands the values on as the fields of this record's call site.
    fn with_values<R>(&self, run: impl FnOnce(&tracing::field::ValueSet<'_>) -> R) -> R {
        let held = self.values.iter().map(|text| text.as_ref().map(Held::new)).collect::<Vec<_>>();
        let values = held.iter().map(|held| held.as_ref().map(Held::value)).collect::<Vec<_>>();
        run(&self.metadata.fields().value_set_all(&values))
    }
}

enum Held<'a> {
    Plain(&'a str),
    Shown(DisplayValue<&'a str>),
}

impl<'a> Held<'a> {
    fn new(text: &'a Text) -> Self {
        match text {
            Text::Plain(text) => Self::Plain(text),
            Text::Shown(text) => Self::Shown(display(text)),
        }
    }

    fn value(&self) -> &dyn Value {
        match self {
            Self::Plain(text) => text,
            Self::Shown(text) => text,
        }
    }
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Text::Plain(value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Text::Shown(format!("{value:?}")));
    }
}

/// The layer that copies events and queues them.
#[derive(Debug)]
pub(crate) struct Recorder {
    orders: SyncSender<Order>,
    dropped: Arc<AtomicU64>,
}

impl Recorder {
    pub(crate) fn new(orders: SyncSender<Order>, dropped: Arc<AtomicU64>) -> Self {
        Self { orders, dropped }
    }
}

impl<S> Layer<S> for Recorder
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut record = Record::new(attributes.metadata());
        attributes.record(&mut record);
        span.extensions_mut().insert(Arc::new(record));
    }

    fn on_record(&self, id: &Id, values: &tracing::span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(record) = span.extensions_mut().get_mut::<Arc<Record>>() {
            let record: &mut Record = Arc::make_mut(record);
            values.record(record);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut record = Record::new(event.metadata());
        event.record(&mut record);
        let spans = context
            .event_scope(event)
            .into_iter()
            .flat_map(tracing_subscriber::registry::Scope::from_root)
            .filter_map(|span| span.extensions().get::<Arc<Record>>().map(Arc::clone))
            .collect();
        let order = Order::Write(Entry { event: record, spans });
        match self.orders.try_send(order) {
            Ok(()) => {}
            // Policy: drop newest. What is queued tells how the trouble began.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// How an event's message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// As it was logged: whoever writes it shows the fields as well.
    Alone,
    /// With all fields behind it: plain `journalctl` shows nothing but the message.
    WithFields,
}

impl Entry {
    /// Performs spans and event again; the dispatch must be the thread's default.
    pub(crate) fn perform(&self, dispatch: &Dispatch, message: Message) {
        let mut entered = Vec::with_capacity(self.spans.len());
        for span in &self.spans {
            let id = span
                .with_values(|values| dispatch.new_span(&Attributes::new(span.metadata, values)));
            dispatch.enter(&id);
            entered.push(id);
        }
        let event = match message {
            Message::Alone => Cow::Borrowed(&self.event),
            Message::WithFields => Cow::Owned(self.with_fields()),
        };
        event.with_values(|values| dispatch.event(&Event::new(event.metadata, values)));
        for id in entered.into_iter().rev() {
            dispatch.exit(&id);
            dispatch.try_close(id);
        }
    }

    /// The event with its fields, and those of its spans in brackets, in its message as well.
    fn with_fields(&self) -> Record {
        let mut event = self.event.clone();
        let Some(field) = event.metadata.fields().field(MESSAGE) else { return event };
        let mut text = match event.values.get(field.index()) {
            Some(Some(Text::Plain(text) | Text::Shown(text))) => text.clone(),
            Some(None) | None => String::new(),
        };
        let own = self.event.pairs();
        if !own.is_empty() {
            let separator = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{separator}{}", own.join(", "));
        }
        let around = self.spans.iter().flat_map(|span| span.pairs()).collect::<Vec<_>>();
        if !around.is_empty() {
            text = format!("{text} [{}]", around.join(", "));
        }
        event.put(&field, Text::Shown(text));
        event
    }
}

/// A subscriber that writes what it is handed, and asks for nothing.
///
/// Every dispatch of a process has a say in which events are built at all. The writer's must not
/// raise that level: the recorder's filter alone decides.
pub(crate) struct Unasking<S>(pub(crate) S);

impl<S: Subscriber> Subscriber for Unasking<S> {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // The layers inside may keep something per call site.
        self.0.register_callsite(metadata);
        Interest::never()
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::OFF)
    }

    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.0.new_span(span)
    }

    fn record(&self, span: &Id, values: &tracing::span::Record<'_>) {
        self.0.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.0.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        self.0.event(event);
    }

    fn enter(&self, span: &Id) {
        self.0.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.0.exit(span);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.0.clone_span(id)
    }

    fn try_close(&self, id: Id) -> bool {
        self.0.try_close(id)
    }
}

#[cfg(test)]
mod tests;
