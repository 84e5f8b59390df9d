//! Ring 3: a real server.

use bus::State;
use testkit::nats::NatsServer;

use super::*;

/// More than any of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const NOW: UnixNanos = UnixNanos::new(100);

async fn server() -> (NatsServer, Bus) {
    let server = NatsServer::start().unwrap();
    let settings = settings::Bus { url: server.url().parse().unwrap(), ..settings::Bus::default() };
    let bus = Bus::connect(&settings, "scheduler", None, bus::Metrics::default()).await.unwrap();
    let mut state = bus.state();
    tokio::time::timeout(PATIENCE, state.wait_for(State::is_connected)).await.unwrap().unwrap();
    (server, bus)
}

fn answered(schedule: &str, tick: i64) -> Answered {
    Answered { schedule: schedule.to_owned(), tick }
}

#[tokio::test]
async fn a_tick_is_granted_once_and_to_one() {
    let (_server, bus) = server().await;
    let here = Ticks::new(&bus, "here", 1, 1);
    let there = Ticks::new(&bus, "there", 1, 1);
    here.prepare().await.unwrap();
    assert_eq!(here.taken("t").await.unwrap(), None);
    let hourly = |tick| answered("@hourly UTC", tick);
    assert_eq!(here.claim("t", &hourly(60), NOW).await.unwrap(), Claim::Granted);
    // The answer was lost, and it asks again.
    assert_eq!(here.claim("t", &hourly(60), NOW).await.unwrap(), Claim::Granted);
    let taken = Taken { answered: hourly(60), host: "here".to_owned(), life: 1 };
    assert_eq!(there.claim("t", &hourly(60), NOW).await.unwrap(), Claim::Taken(taken.clone()));
    assert_eq!(there.claim("t", &hourly(59), NOW).await.unwrap(), Claim::Taken(taken.clone()));
    assert_eq!(there.taken("t").await.unwrap(), Some(taken));
    assert_eq!(there.claim("t", &hourly(61), NOW).await.unwrap(), Claim::Granted);
    // Ticks of another schedule, or of another task, are others.
    assert_eq!(here.claim("t", &answered("@daily UTC", 1), NOW).await.unwrap(), Claim::Granted);
    assert_eq!(here.claim("u", &hourly(60), NOW).await.unwrap(), Claim::Granted);
}

#[tokio::test]
async fn of_many_that_want_a_tick_at_once_one_gets_it() {
    let (_server, bus) = server().await;
    Ticks::new(&bus, "", 0, 1).prepare().await.unwrap();
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..20 {
        let ticks = Ticks::new(&bus, &format!("host {number}"), 1, 1);
        asking.spawn(
            async move { ticks.claim("t", &answered("@hourly UTC", 60), NOW).await.unwrap() },
        );
    }
    let claims = asking.join_all().await;
    let granted = claims.iter().filter(|&claim| *claim == Claim::Granted).count();
    assert_eq!(granted, 1, "{claims:?}");
}

#[tokio::test]
async fn a_restarted_scheduler_knows_what_it_had_claimed() {
    let (_server, bus) = server().await;
    let (before, after) = (Ticks::new(&bus, "here", 1, 1), Ticks::new(&bus, "here", 2, 1));
    before.prepare().await.unwrap();
    before.claim("t", &answered("@hourly UTC", 60), NOW).await.unwrap();
    let taken = after.taken("t").await.unwrap().unwrap();
    assert!(after.is_earlier_life(&taken) && !before.is_earlier_life(&taken));
    assert!(!Ticks::new(&bus, "there", 3, 1).is_earlier_life(&taken));
}

#[tokio::test]
async fn what_was_claimed_by_a_clock_a_year_ahead_does_not_count() {
    let (_server, bus) = server().await;
    let ticks = Ticks::new(&bus, "here", 1, 1);
    ticks.prepare().await.unwrap();
    let year = 365 * 86_400_000_000_000;
    let (far, near) = (answered("@hourly UTC", year), answered("@hourly UTC", 60));
    let granted = ticks.claim("t", &far, UnixNanos::new(year)).await.unwrap();
    assert_eq!(granted, Claim::Granted);
    assert_eq!(ticks.claim("t", &near, NOW).await.unwrap(), Claim::Granted);
    let taken = ticks.taken("t").await.unwrap().unwrap();
    assert_eq!(taken.answered, near);
}
