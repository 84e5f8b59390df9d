//! What is seen while the market is open.

use std::time::{Duration, Instant};

use crate::interrupt::Interrupt;
use crate::machine::Demo;
use crate::{print, source};

/// How often a line is printed.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How often the end is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Watches until the market is over, the time is up or somebody interrupts.
pub(crate) fn until_over(
    demo: &Demo<'_>,
    seconds: Option<u64>,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut last = Look::new(demo)?;
    last.print(began, None);
    while !interrupt.is_asked() {
        std::thread::sleep(LOOK_EVERY);
        let sent = demo.sent()?;
        let time_is_up = seconds.is_some_and(|seconds| began.elapsed().as_secs() >= seconds);
        // A real venue does not end by itself.
        let over = time_is_up || sent.is_some_and(|sent| sent.finished);
        if over || last.at.elapsed() >= LINE_EVERY {
            let now = Look::new(demo)?;
            now.print(began, Some(&last));
            last = now;
        }
        if over {
            break;
        }
    }
    Ok(())
}

/// The figures at one moment.
struct Look {
    at: Instant,
    sent: Option<u64>,
    received: u64,
    stored: u64,
}

impl Look {
    fn new(demo: &Demo<'_>) -> anyhow::Result<Self> {
        let machine = &demo.machine;
        Ok(Self {
            at: Instant::now(),
            sent: demo.sent()?.map(|sent| sent.frames),
            received: source::counter(machine, 8081, "marketprism_collector_events_total")?,
            stored: source::counter(machine, 8082, "marketprism_storage_events_total")?,
        })
    }

    fn print(&self, began: Instant, before: Option<&Look>) {
        let rate = before.map_or(0, |before| {
            let milliseconds = (self.at - before.at).as_millis().max(1);
            u128::from(self.stored - before.stored) * 1000 / milliseconds
        });
        let sent = self.sent.map(|sent| format!("sent {sent} frames, ")).unwrap_or_default();
        print(format_args!(
            "{:4} s  {sent}received {} events, stored {} rows, {rate} rows/s",
            began.elapsed().as_secs(),
            self.received,
            self.stored,
        ));
    }
}
