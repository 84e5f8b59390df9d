//! A pipeline, whichever market it reads.

use crate::decode::{adapters, read_instruments};
use feed::{Counts, Options, Output, Pipeline, Rejected};
use std::path::Path;
use units::UnixNanos;
use venue::Adapter;
use venue::recording::Record;

/// What a replay asks of a [`Pipeline`].
pub(super) trait Decode {
    /// Takes a record and appends what it leads to. A refused frame is in the tally.
    fn handle(&mut self, record: &Record<'_>, out: &mut Vec<Output>);

    /// Declares what still waits for its time.
    fn end(&mut self, now: UnixNanos, out: &mut Vec<Output>);

    /// What it has counted.
    fn tally(&self) -> &Counts;

    /// The frames refused last.
    fn refused(&self) -> Vec<&Rejected>;
}

impl<A: Adapter> Decode for Pipeline<A> {
    fn handle(&mut self, record: &Record<'_>, out: &mut Vec<Output>) {
        feed::replay(self, record, out).ok();
    }

    fn end(&mut self, now: UnixNanos, out: &mut Vec<Output>) {
        self.finish(now, out);
    }

    fn tally(&self) -> &Counts {
        self.counts()
    }

    fn refused(&self) -> Vec<&Rejected> {
        self.rejected().collect()
    }
}

/// Makes a pipeline of an adapter, with the instrument list in a file if there is one.
pub(super) struct Open<'a>(pub(super) Option<&'a Path>);

impl adapters::Visit for Open<'_> {
    type Out = anyhow::Result<Box<dyn Decode>>;

    fn visit<A: Adapter + Clone + 'static>(self, mut adapter: A) -> Self::Out {
        if let Some(path) = self.0 {
            read_instruments(&mut adapter, path)?;
        }
        Ok(Box::new(Pipeline::new(adapter, Options::default())))
    }
}
