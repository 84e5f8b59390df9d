//! Ring 1.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Dispatch, Event, Subscriber, dispatcher};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use super::{Message, Order, Recorder, Unasking};

/// Writes what a layer sees, one line for each event.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push_str(&format!(" {field}='{value}'"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut line = Line(attributes.metadata().name().to_owned());
        attributes.record(&mut line);
        context.span(id).unwrap().extensions_mut().insert(line);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Line(String::new());
        for span in context.lookup_current().into_iter().flat_map(|span| span.scope().from_root()) {
            line.0.push_str(&format!("<{}>", span.extensions().get::<Line>().unwrap().0));
        }
        line.0.push_str(event.metadata().level().as_str());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

/// Logs on a thread of its own and performs what was recorded on this one.
fn performed(message: Message, log: impl FnOnce() + Send) -> Vec<String> {
    let queue = recorded(64, log).0;
    let seen = Seen::default();
    let writer = Dispatch::new(Unasking(Registry::default().with(seen.clone())));
    dispatcher::with_default(&writer, || {
        for order in queue.try_iter() {
            if let Order::Write(entry) = order {
                entry.perform(&writer, message);
            }
        }
    });
    let lines = seen.0.lock().unwrap();
    lines.clone()
}

fn recorded(capacity: usize, log: impl FnOnce() + Send) -> (Receiver<Order>, u64) {
    let (orders, queue) = mpsc::sync_channel(capacity);
    let dropped = Arc::new(AtomicU64::new(0));
    let recorder = Recorder::new(orders, Arc::clone(&dropped));
    let subscriber = Registry::default().with(LevelFilter::INFO).with(recorder);
    std::thread::scope(|scope| {
        let logging = scope.spawn(|| tracing::subscriber::with_default(subscriber, log));
        logging.join().unwrap();
    });
    (queue, dropped.load(Ordering::Relaxed))
}

#[test]
fn an_event_is_performed_with_all_its_values() {
    let lines = performed(Message::Alone, || {
        let error = "broken pipe";
        tracing::warn!(text = "a b", number = 7, yes = true, %error, list = ?[1, 2], "it {}", "is");
    });
    assert_eq!(
        lines,
        ["WARN message=it is text='a b' number=7 yes=true error=broken pipe list=[1, 2]"]
    );
}

#[test]
fn spans_are_around_it_with_what_was_recorded_later_too() {
    let lines = performed(Message::Alone, || {
        let feed = tracing::info_span!("feed", venue = "binance", conn = tracing::field::Empty);
        let _feed = feed.enter();
        tracing::info!("before");
        feed.record("conn", 3);
        let _book = tracing::info_span!("book", symbol = "BTC-USDT").entered();
        tracing::info!("after");
    });
    assert_eq!(
        lines,
        [
            "<feed venue='binance'>INFO message=before",
            "<feed venue='binance' conn=3><book symbol='BTC-USDT'>INFO message=after",
        ]
    );
}

#[test]
fn for_the_journal_the_message_tells_the_fields_too() {
    let lines = performed(Message::WithFields, || {
        let _feed = tracing::info_span!("feed", venue = "binance").entered();
        tracing::info!(reason = "refused", tries = 2, "cannot connect");
        tracing::info!("alone");
    });
    assert_eq!(
        lines,
        [
            "<feed venue='binance'>INFO \
             message=cannot connect: reason=refused, tries=2 [venue=binance] \
             reason='refused' tries=2",
            "<feed venue='binance'>INFO message=alone [venue=binance]",
        ]
    );
}

#[test]
fn the_writer_does_not_raise_the_level() {
    let seen = Seen::default();
    let _writer = Dispatch::new(Unasking(Registry::default().with(seen)));
    let (queue, _) = recorded(8, || {
        tracing::debug!("not asked for");
        tracing::info!("asked for");
    });
    assert_eq!(queue.try_iter().count(), 1);
}

#[test]
fn what_finds_no_room_is_dropped_and_counted_and_nobody_waits() {
    let (queue, dropped) = recorded(2, || {
        for number in 0..5 {
            tracing::info!(number, "event");
        }
    });
    assert_eq!((queue.try_iter().count(), dropped), (2, 3));
}
