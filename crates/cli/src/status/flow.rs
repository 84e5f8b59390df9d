//! What is missing and what waits, as collector and broker say.

use std::fmt;
use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use settings::Suite;

use crate::answers::{Collector, Consumer, List};
use crate::service::{Access, Service};

/// How long one answer may take: the other half of the screen waits no longer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Figures of the whole suite; absent where the service is away, or wants a token that is not to be
/// had.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Flow {
    /// Gaps that are open.
    pub(super) gaps_open: Option<u64>,
    /// Ids that are missing in them.
    pub(super) ids_missing: Option<u64>,
    /// Blocks that storage has not acknowledged.
    pub(super) lag_blocks: Option<u64>,
}

/// Asks collector and broker of this host.
pub(super) async fn ask(suite: &Suite) -> Flow {
    let access = Access::default();
    let (collector, broker) = (suite.collector.listen, suite.broker.listen);
    let collector = Service::new("collector", None, &access, collector, ANSWER_BYTES_MAX).ok();
    let broker = Service::new("broker", None, &access, broker, ANSWER_BYTES_MAX).ok();
    of(collector.as_ref(), broker.as_ref()).await
}

/// Asks a collector and a broker, or twice the gateway in front of them.
pub(super) async fn of(collector: Option<&Service>, broker: Option<&Service>) -> Flow {
    let (collector, broker) = tokio::join!(
        one::<Collector>(collector, "/api/v1/collector/status"),
        one::<List<Consumer>>(broker, "/api/v1/broker/consumers"),
    );
    Flow {
        gaps_open: collector.as_ref().map(|collector| collector.gaps_open),
        ids_missing: collector.as_ref().map(|collector| collector.ids_missing),
        lag_blocks: broker.map(|list| list.data.iter().map(|consumer| consumer.lag).sum()),
    }
}

/// The line of the unit says that a service is away; that nothing is known is all there is here.
async fn one<T: DeserializeOwned>(service: Option<&Service>, path: &str) -> Option<T> {
    service?.ask(Method::GET, path, None, TIMEOUT).await.ok()
}

impl fmt::Display for Flow {
    /// Writes what is known, to be put behind a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        match (self.gaps_open, self.ids_missing) {
            (Some(0), _) => f.write_str("; no gap is open")?,
            (Some(gaps), Some(ids)) => {
                write!(f, "; {gaps} gap{} open, {ids} id{} missing", plural(gaps), plural(ids))?;
            }
            (Some(_) | None, None) | (None, Some(_)) => {}
        }
        match self.lag_blocks {
            Some(lag) => write!(f, "; storage is {lag} block{} behind", plural(lag)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Running;

    #[test]
    fn only_what_is_known_is_told() {
        let text = |gaps_open, ids_missing, lag_blocks| {
            Flow { gaps_open, ids_missing, lag_blocks }.to_string()
        };
        assert_eq!(text(None, None, None), "");
        assert_eq!(text(Some(0), Some(0), None), "; no gap is open");
        assert_eq!(text(Some(2), Some(1), None), "; 2 gaps open, 1 id missing");
        assert_eq!(text(None, None, Some(1)), "; storage is 1 block behind");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_without_a_bus_and_a_collector_that_is_away_leave_the_figures_open() {
        let mut suite = Suite::default();
        // A port that was free a moment ago: nobody answers there.
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        suite.bus.url = format!("nats://{nobody}").parse().unwrap();
        suite.collector.listen = nobody;
        suite.broker.ready_wait = Duration::from_millis(100);
        let broker = Running::guarded::<broker::Broker>(&suite).await;
        suite.broker.listen = broker.address;
        assert_eq!(ask(&suite).await, Flow::default());
        broker.stop().await;
    }
}
