//! Ring 1: scripts of single cases, and a property against a plain account of what happened.

use proptest::prelude::*;

use super::*;

fn rules() -> Rules {
    Rules {
        window: Duration::from_secs(10),
        requests_min: 4,
        failure_percent: 50,
        pause: Duration::from_secs(5),
        pause_max: Duration::from_secs(15),
    }
}

/// A breaker and the moment.
struct Bench {
    breaker: Breaker,
    rules: Rules,
    now: Instant,
}

impl Bench {
    fn new() -> Bench {
        let now = Instant::now();
        Bench { breaker: Breaker::new(now), rules: rules(), now }
    }

    fn admit(&mut self) -> Result<Ticket, Duration> {
        self.breaker.admit(&self.rules, self.now)
    }

    fn settle(&mut self, ticket: Ticket, outcome: Outcome) -> Phase {
        self.breaker.settle(ticket, outcome, &self.rules, self.now);
        self.breaker.phase()
    }

    fn run(&mut self, outcome: Outcome) -> Phase {
        let ticket = self.admit().unwrap();
        self.settle(ticket, outcome)
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// Brings it to the open state.
    fn fail(&mut self) {
        while self.run(Outcome::Failure) != Phase::Open {}
    }
}

#[test]
fn too_few_requests_prove_nothing_and_half_of_enough_do() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        assert_eq!(bench.run(Outcome::Failure), Phase::Closed);
    }
    assert_eq!(bench.run(Outcome::Success), Phase::Open, "3 of 4 failed");
    assert_eq!(bench.admit(), Err(Duration::from_secs(5)));
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.run(Outcome::Success);
    }
    for _ in 0..4 {
        assert_eq!(bench.run(Outcome::Failure), Phase::Closed);
    }
    assert_eq!(bench.run(Outcome::Failure), Phase::Open, "5 of 10 failed");
}

#[test]
fn what_says_nothing_about_the_backend_never_opens() {
    let mut bench = Bench::new();
    for _ in 0..1_000 {
        assert_eq!(bench.run(Outcome::Unknown), Phase::Closed);
    }
    let view = bench.breaker.view(&bench.rules, bench.now);
    assert_eq!((view.requests, view.failures), (0, 0));
}

#[test]
fn old_failures_are_forgotten() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.run(Outcome::Failure);
    }
    bench.wait(10);
    for _ in 0..3 {
        assert_eq!(
            bench.run(Outcome::Failure),
            Phase::Closed,
            "those before are out of the window"
        );
    }
}

#[test]
fn one_request_at_a_time_tries_and_three_successes_close() {
    let mut bench = Bench::new();
    bench.fail();
    bench.wait(4);
    assert_eq!(bench.admit(), Err(Duration::from_secs(1)));
    bench.wait(1);
    for round in 0..3 {
        let ticket = bench.admit().unwrap();
        assert_eq!(bench.admit(), Err(TRY_WAIT), "round {round}: a try is under way");
        bench.settle(ticket, Outcome::Success);
    }
    assert_eq!(bench.breaker.phase(), Phase::Closed);
    assert_eq!(bench.run(Outcome::Failure), Phase::Closed, "the failures before are forgotten");
}

#[test]
fn a_failed_try_doubles_the_pause_up_to_its_limit_and_closing_resets_it() {
    let mut bench = Bench::new();
    bench.fail();
    for pause in [5, 10, 15, 15] {
        assert_eq!(bench.admit(), Err(Duration::from_secs(pause)));
        bench.wait(pause);
        assert_eq!(bench.run(Outcome::Failure), Phase::Open);
    }
    bench.wait(15);
    for _ in 0..3 {
        bench.run(Outcome::Success);
    }
    bench.fail();
    assert_eq!(bench.admit(), Err(Duration::from_secs(5)));
}

#[test]
fn a_try_whose_client_went_away_makes_room_for_the_next() {
    let mut bench = Bench::new();
    bench.fail();
    bench.wait(5);
    assert_eq!(bench.run(Outcome::Unknown), Phase::HalfOpen);
    assert_eq!(bench.run(Outcome::Failure), Phase::Open);
}

#[test]
fn a_slow_try_keeps_others_out_for_a_while_and_counts_all_the_same() {
    let mut bench = Bench::new();
    bench.fail();
    bench.wait(5);
    let slow = bench.admit().unwrap();
    bench.wait(9);
    assert_eq!(bench.admit(), Err(TRY_WAIT));
    bench.wait(1);
    let next = bench.admit().unwrap();
    bench.wait(1);
    assert_eq!(bench.settle(slow, Outcome::Success), Phase::HalfOpen);
    assert_eq!(bench.admit(), Err(TRY_WAIT), "the second one is still under way");
    assert_eq!(bench.settle(next, Outcome::Success), Phase::HalfOpen);
    assert_eq!(bench.run(Outcome::Success), Phase::Closed);
}

#[test]
fn a_late_result_is_about_the_time_before() {
    let mut bench = Bench::new();
    let late = bench.admit().unwrap();
    let later = bench.admit().unwrap();
    bench.fail();
    bench.wait(5);
    let ticket = bench.admit().unwrap();
    assert_eq!(bench.settle(late, Outcome::Failure), Phase::HalfOpen, "it was sent while closed");
    assert_eq!(bench.admit(), Err(TRY_WAIT), "and makes no room either");
    bench.settle(ticket, Outcome::Success);
    assert_eq!(bench.settle(later, Outcome::Success), Phase::HalfOpen);
}

#[derive(Clone, Debug)]
enum Act {
    Wait(u64),
    Admit,
    /// Settles one of the requests under way.
    Settle(usize, Outcome),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Failure),
        3 => Just(Outcome::Success),
        1 => Just(Outcome::Unknown),
    ];
    let act = prop_oneof![
        2 => (0..8_000_u64).prop_map(Act::Wait),
        5 => Just(Act::Admit),
        5 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Act::Settle(which, outcome)),
    ];
    proptest::collection::vec(act, 1..200)
}

proptest! {
    #[test]
    fn it_opens_for_cause_only_and_tries_one_at_a_time(acts in acts()) {
        let mut bench = Bench::new();
        let mut under_way: Vec<(Ticket, Phase)> = Vec::new();
        // Every result of a closed breaker since it was closed, with its moment.
        let mut results: Vec<(Instant, Outcome)> = Vec::new();
        for act in acts {
            let before = bench.breaker.phase();
            match act {
                Act::Wait(ms) => bench.now += Duration::from_millis(ms),
                Act::Admit => match bench.admit() {
                    Ok(ticket) => {
                        let phase = bench.breaker.phase();
                        prop_assert_ne!(phase, Phase::Open);
                        let trying = under_way.iter().filter(|(other, phase)| {
                            other.epoch == ticket.epoch
                                && *phase == Phase::HalfOpen
                                && bench.now < other.admitted + TRY_MAX
                        });
                        prop_assert!(phase == Phase::Closed || trying.count() == 0);
                        under_way.push((ticket, phase));
                    }
                    Err(wait) => {
                        prop_assert_ne!(before, Phase::Closed);
                        prop_assert!(wait > Duration::ZERO && wait <= bench.rules.pause_max);
                    }
                },
                Act::Settle(which, outcome) if !under_way.is_empty() => {
                    let (ticket, _) = under_way.swap_remove(which % under_way.len());
                    let counts = ticket.epoch == bench.breaker.epoch;
                    if counts && before == Phase::Closed && outcome != Outcome::Unknown {
                        results.push((bench.now, outcome));
                    }
                    let after = bench.settle(ticket, outcome);
                    if before == Phase::Closed && after == Phase::Open {
                        let window = bench.rules.window;
                        let recent = results.iter().filter(|(at, _)| bench.now - *at <= window);
                        let failed = |(_, outcome): &&(Instant, Outcome)| *outcome == Outcome::Failure;
                        let failures = recent.clone().filter(failed).count();
                        prop_assert!(failures >= 2 && recent.count() >= 4);
                    }
                    if !counts {
                        prop_assert_eq!(before, after);
                    }
                    if after == Phase::Closed && before != Phase::Closed {
                        results.clear();
                    }
                }
                Act::Settle(..) => {}
            }
            if bench.breaker.phase() == Phase::Open {
                results.clear();
            }
        }
    }
}
