//! Beginning to speak where another collector spoke.

use super::Pipeline;
use std::time::Duration;
use units::UnixNanos;
use venue::Adapter;

impl<A: Adapter> Pipeline<A> {
    /// Has every book go to the live lane, one after another with a `pause` between two: whoever
    /// listens has followed another collector so far, and its chain and ours do not fit together.
    ///
    /// They come out of [`Pipeline::handle_timeout`].
    pub fn take_over(&mut self, now: UnixNanos, pause: Duration) {
        let mut at = now;
        for state in &mut self.instruments {
            if state.keeper.take_over(at) {
                self.deadline = Some(self.deadline.map_or(at, |known| known.min(at)));
                at = at.plus(pause);
            }
        }
    }
}
