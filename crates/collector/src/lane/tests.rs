//! Ring 1: the lane under scripts and under a random world.

use super::*;
use crate::block::tests::run;
use expect_test::{Expect, expect};
use model::Kind;
use proptest::collection::vec;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use std::collections::BTreeSet;

const LIMITS: Limits = Limits { block_bytes: 10, backlog_block_bytes: 10, memory_bytes: 60 };

/// Blocks grow while others wait.
const GROWING: Limits = Limits { backlog_block_bytes: 20, ..LIMITS };

fn subject(kind: Kind) -> DurableSubject {
    let instrument = crate::block::tests::instrument("BTC-USDT");
    DurableSubject::of(kind, &instrument)
}

fn lane(limits: Limits) -> Lane {
    Lane::new(Arc::from("collector"), 7, limits)
}

fn text(block: &Block) -> String {
    String::from_utf8(block.payload.to_vec()).unwrap().replace('\n', "+")
}

fn describe(command: &Command) -> String {
    match command {
        Command::Publish(block) => format!("publish {} {}", block.id.seq, text(block)),
        Command::Store(_, blocks) => {
            let blocks: Vec<_> = blocks.iter().map(|block| text(block)).collect();
            format!("store {}", blocks.join(" "))
        }
        Command::Load(_) => "load".to_owned(),
        Command::Release(..) => "release".to_owned(),
        Command::Lost(block) => format!("lost {}", text(block)),
    }
}

/// Plays a script against one subject with a spool that is a list in memory, and compares what the
/// shell was told to do. `put` appends, `acked`/`failed` answer the flight, `up`/`down` is the bus,
/// `wait` lets milliseconds pass, `disk full`/`disk ok` is the spool, which has to `drop` its oldest.
fn check(script: &str, expected: Expect) {
    check_with(LIMITS, script, expected);
}

fn check_with(limits: Limits, script: &str, expected: Expect) {
    let (mut lane, mut now, subject) = (lane(limits), Instant::now(), subject(Kind::Trade));
    let (mut disk, mut disk_ok) = (VecDeque::<Arc<Block>>::new(), true);
    let mut rng = SmallRng::seed_from_u64(1);
    let (mut told, mut flight, mut next) = (Vec::new(), None, 0);
    for step in script.split('|') {
        match step.trim().split_once(' ').unwrap_or((step.trim(), "")) {
            ("put", event) => {
                next += 1;
                lane.append(subject, run(Kind::Trade, next, next), event.as_bytes(), now);
                lane.handle_timeout(now);
            }
            ("up", _) => lane.handle_bus(true, now),
            ("down", _) => lane.handle_bus(false, now),
            ("disk", state) => disk_ok = state == "ok",
            ("acked", _) => lane.handle_acked(&flight.take().unwrap(), now),
            ("failed", _) => lane.handle_failed(&flight.clone().unwrap(), now, &mut rng),
            ("refused", _) => lane.handle_refused(&flight.take().unwrap(), now),
            ("stop", _) => lane.handle_stop(now),
            ("drop", _) => {
                let block = disk.pop_front().unwrap();
                let is_lost = lane.handle_dropped(&block.id);
                told.push(format!("{} {}", if is_lost { "gone" } else { "kept" }, text(&block)));
            }
            ("wait", millis) => {
                now += Duration::from_millis(millis.parse().unwrap());
                lane.handle_timeout(now);
            }
            other => panic!("{other:?} is no step"),
        }
        while let Some(command) = lane.next_command() {
            told.push(describe(&command));
            match command {
                Command::Publish(block) => flight = Some(block.id.clone()),
                Command::Store(subject, blocks) => {
                    let stored = if disk_ok { blocks.len() } else { 0 };
                    disk.extend(blocks.into_iter().take(stored));
                    lane.handle_stored(subject, stored, !disk_ok, now);
                }
                Command::Load(subject) => {
                    let block = disk.pop_front();
                    lane.handle_loaded(subject, block.map(|b| (b, position(0))), now);
                }
                Command::Release(..) | Command::Lost(_) => {}
            }
        }
    }
    expected.assert_eq(&told.join(", "));
}

/// A position, by way of a real spool: it has no public constructor.
fn position(after: usize) -> Position {
    thread_local! {
        static POSITIONS: Vec<Position> = {
            let root = tempfile::tempdir().unwrap();
            let reserve = spool::Reserve::default();
            let options = spool::Options { bytes_max: 1 << 20, segment_bytes: 1, reserve };
            let mut spool = spool::Spool::open(root.path(), options, |_| 0, |_, _| ()).unwrap();
            (0..256).map(|_| {
                spool.append("q", b"", b"").unwrap();
                spool.next("q").unwrap().unwrap().position
            }).collect()
        };
    }
    POSITIONS.with(|positions| positions[after])
}

#[test]
fn what_is_held_of_a_market_is_what_nobody_has_taken_yet() {
    let (mut lane, now, of) = (lane(LIMITS), Instant::now(), (Venue::Binance, Market::Spot));
    let held = |lane: &Lane| {
        let ids = |(subject, runs): (DurableSubject, &[Run])| {
            runs.iter().map(|run| (subject.kind, run.ids.unwrap())).collect::<Vec<_>>()
        };
        lane.held(of).flat_map(ids).collect::<Vec<_>>()
    };
    lane.handle_bus(true, now);
    for id in 1..=2 {
        lane.append(subject(Kind::Trade), run(Kind::Trade, id, id), b"aaaaaaaa", now);
    }
    lane.append(subject(Kind::Gap), run(Kind::Trade, 5, 9), b"gap", now);
    lane.handle_timeout(now);
    let (second, gap) = ((Kind::Trade, (2, 2)), (Kind::Gap, (5, 9)));
    assert_eq!(held(&lane), [(Kind::Trade, (1, 1)), second, gap]);
    assert_eq!(lane.held((Venue::Okx, Market::Spot)).count(), 0);
    let Some(Command::Publish(block)) = lane.next_command() else { panic!("nothing to send") };
    lane.handle_acked(&block.id, now);
    assert_eq!(held(&lane), [second, gap]);
}

#[test]
fn a_partial_block_leaves_when_it_is_old_and_nothing_is_in_flight() {
    check("up | put a | put b | wait 1 | wait 1", expect!["publish 1 a+b"]);
}

#[test]
fn the_bus_sets_the_pace() {
    check(
        "up | put a | wait 2 | put b | wait 9 | put c | acked | wait 2",
        expect!["publish 1 a, publish 2 b+c"],
    );
}

#[test]
fn a_full_block_does_not_wait() {
    check("up | put aaaaaa | put bbbbbb", expect!["publish 1 aaaaaa"]);
}

#[test]
fn blocks_are_larger_while_others_of_their_subject_wait() {
    check_with(
        GROWING,
        "up | put aaaaaa | put bbbbbb | put cccccc | put dddddd | put e | put ffffff | acked \
         | acked | wait 2 | acked | put gggggg | put hhhhhh",
        expect![
            "publish 1 aaaaaa, publish 2 bbbbbb+cccccc+dddddd, publish 3 e+ffffff, publish 4 gggggg"
        ],
    );
}

#[test]
fn blocks_on_their_way_to_the_spool_are_larger_too() {
    check_with(
        GROWING,
        "put aaaaaa | put bbbbbb | put cccccc | put d | wait 100 | up | acked | acked",
        expect![
            "store aaaaaa+bbbbbb+cccccc, store d, load, publish 1 aaaaaa+bbbbbb+cccccc, release, load, publish 2 d, release, load"
        ],
    );
}

#[test]
fn an_event_larger_than_a_block_is_a_block_of_its_own() {
    check(
        "up | put a | put bbbbbbbbbbbbbbbbbbbb | put c | acked | acked | wait 2",
        expect!["publish 1 a, publish 2 bbbbbbbbbbbbbbbbbbbb, publish 3 c"],
    );
}

#[test]
fn a_failed_block_is_sent_again_before_any_other() {
    check(
        "up | put aaaaaa | put bbbbbb | failed | wait 200 | acked",
        expect![
            "publish 1 aaaaaa, store aaaaaa, store bbbbbb, publish 1 aaaaaa, load, release, load, \
             publish 2 bbbbbb"
        ],
    );
}

#[test]
fn without_the_bus_everything_goes_to_the_spool_in_order() {
    check(
        "put aaaaaa | put bbbbbb | wait 100 | up | acked | acked",
        expect![
            "store aaaaaa, store bbbbbb, load, publish 1 aaaaaa, release, load, \
             publish 2 bbbbbb, release, load"
        ],
    );
}

#[test]
fn a_block_in_flight_when_the_bus_goes_is_stored_first() {
    check(
        "up | put aaaaaa | put bbbbbb | put cccccc | down | failed | up | acked",
        expect![
            "publish 1 aaaaaa, store aaaaaa bbbbbb, publish 1 aaaaaa, load, release, load, \
             publish 2 bbbbbb"
        ],
    );
}

#[test]
fn what_comes_while_the_spool_is_read_goes_behind_it() {
    check(
        "put aaaaaa | wait 100 | up | put bbbbbb | wait 100 | acked | acked | put c | wait 2",
        expect![
            "store aaaaaa, load, publish 1 aaaaaa, store bbbbbb, release, load, publish 2 bbbbbb, \
             release, load, publish 3 c"
        ],
    );
}

#[test]
fn full_memory_spills() {
    check(
        "up | put aaaaaaaaaa | put bbbbbbbbbb | put cccccccccc | put dddddddddd | put eeeeeeeeee \
         | put ffffffffff | put gggggggggg",
        expect![
            "publish 1 aaaaaaaaaa, store aaaaaaaaaa bbbbbbbbbb cccccccccc dddddddddd eeeeeeeeee \
             ffffffffff gggggggggg"
        ],
    );
}

#[test]
fn when_the_spool_refuses_as_well_the_oldest_is_lost() {
    check(
        "disk full | put aaaaaaaaaa | put bbbbbbbbbb | put cccccccccc | put dddddddddd \
         | put eeeeeeeeee | put ffffffffff | put gggggggggg | disk ok | wait 1000",
        expect![[r#"
            store aaaaaaaaaa, lost aaaaaaaaaa, store bbbbbbbbbb cccccccccc dddddddddd eeeeeeeeee ffffffffff gggggggggg"#]],
    );
}

#[test]
fn a_block_in_flight_outlives_its_copy_in_the_spool() {
    check(
        "up | put aaaaaa | put bbbbbb | put cccccc | down | drop | drop | failed | up | acked \
         | wait 2",
        expect![
            "publish 1 aaaaaa, store aaaaaa bbbbbb, kept aaaaaa, gone bbbbbb, publish 1 aaaaaa, \
             load, publish 3 cccccc"
        ],
    );
}

#[test]
fn the_copy_of_a_block_that_was_taken_is_no_loss() {
    check(
        "up | put aaaaaa | put bbbbbb | put cccccc | down | acked | drop | drop",
        expect![["publish 1 aaaaaa, store aaaaaa bbbbbb, kept aaaaaa, gone bbbbbb"]],
    );
}

#[test]
fn what_only_the_flight_has_at_the_end_is_not_saved() {
    let unsaved = |drops: bool| {
        let (mut lane, now, subject) = (lane(LIMITS), Instant::now(), subject(Kind::Trade));
        lane.handle_bus(true, now);
        lane.append(subject, run(Kind::Trade, 1, 1), b"aaaaaaaaaa", now);
        lane.handle_timeout(now);
        lane.handle_stop(now);
        let mut commands = std::iter::from_fn(|| lane.next_command());
        let Some(Command::Publish(block)) = commands.next() else { panic!("it is in flight") };
        assert!(matches!(commands.next(), Some(Command::Store(..))));
        lane.handle_stored(subject, 1, false, now);
        assert!(!(drops && lane.handle_dropped(&block.id)));
        lane.unsaved()
    };
    assert_eq!((unsaved(false), unsaved(true)), (0, 10));
}

#[test]
fn a_refused_block_is_lost_and_the_next_one_follows() {
    check(
        "up | put aaaaaa | put bbbbbb | refused | wait 2",
        expect!["publish 1 aaaaaa, lost aaaaaa, publish 2 bbbbbb"],
    );
}

#[test]
fn at_the_end_all_that_is_in_memory_goes_to_the_spool() {
    check("up | put aaaaaa | put bbbbbb | stop", expect!["publish 1 aaaaaa, store aaaaaa bbbbbb"]);
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Wait(u64),
    Bus(bool),
    Disk(bool),
    /// The spool drops the oldest that it has not handed out.
    Drop,
    /// The oldest outstanding publish: whether the server stores it, and whether we hear of it.
    Answer(bool, bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..9_usize).prop_map(Step::Append),
        4 => (0..150_u64).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Bus),
        1 => any::<bool>().prop_map(Step::Disk),
        1 => Just(Step::Drop),
        6 => (any::<bool>(), any::<bool>()).prop_map(|(stored, heard)| Step::Answer(stored, heard)),
        1 => Just(Step::Restart),
    ]
}

/// One subject's world: a server that knows a resend by its id, a spool, and events that count up.
struct World {
    lane: Lane,
    now: Instant,
    rng: SmallRng,
    epoch: u64,
    appended: u64,
    server: Vec<u64>,
    known: BTreeSet<String>,
    disk: Vec<Arc<Block>>,
    read: usize,
    disk_ok: bool,
    outstanding: VecDeque<Arc<Block>>,
    lost: BTreeSet<u64>,
}

impl World {
    fn new() -> Self {
        Self {
            lane: lane(GROWING),
            now: Instant::now(),
            rng: SmallRng::seed_from_u64(3),
            epoch: 7,
            appended: 0,
            server: Vec::new(),
            known: BTreeSet::new(),
            disk: Vec::new(),
            read: 0,
            disk_ok: true,
            outstanding: VecDeque::new(),
            lost: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(len) => {
                self.appended += 1;
                let event = format!("{:0len$}", self.appended);
                let run = run(Kind::Trade, self.appended, self.appended);
                self.lane.append(subject(Kind::Trade), run, event.as_bytes(), self.now);
                self.lane.handle_timeout(self.now);
            }
            Step::Wait(millis) => {
                self.now += Duration::from_millis(millis);
                self.lane.handle_timeout(self.now);
            }
            Step::Bus(up) => self.lane.handle_bus(up, self.now),
            Step::Disk(ok) => self.disk_ok = ok,
            Step::Drop => self.drop_oldest(),
            Step::Answer(stored, heard) => self.answer(stored, heard),
            Step::Restart => self.restart(),
        }
        self.obey();
    }

    fn answer(&mut self, stored: bool, heard: bool) {
        let Some(block) = self.outstanding.pop_front() else { return };
        if stored && self.known.insert(block.id.msg_id()) {
            self.server.extend(ids(&block));
        }
        if stored && heard {
            self.lane.handle_acked(&block.id, self.now);
        } else {
            self.lane.handle_failed(&block.id, self.now, &mut self.rng);
        }
    }

    fn drop_oldest(&mut self) {
        if self.read == self.disk.len() {
            return;
        }
        let block = self.disk.remove(self.read);
        // What an earlier run had published is found out from the server.
        let is_known = block.id.epoch < self.epoch && self.known.contains(&block.id.msg_id());
        if self.lane.handle_dropped(&block.id) && !is_known {
            self.lost.extend(ids(&block));
        }
    }

    /// A kill: memory is gone, the spool stays, and records read but not released come again.
    fn restart(&mut self) {
        self.epoch += 1;
        self.outstanding.clear();
        let kept: BTreeSet<u64> = self.disk.iter().flat_map(|block| ids(block)).collect();
        let stored: BTreeSet<u64> = self.server.iter().copied().collect();
        self.lost.extend(
            (1..=self.appended).filter(|event| !kept.contains(event) && !stored.contains(event)),
        );
        self.read = 0;
        self.lane = Lane::new(Arc::from("collector"), self.epoch, GROWING);
        if !self.disk.is_empty() {
            self.lane.resume(subject(Kind::Trade), self.now);
        }
    }

    fn obey(&mut self) {
        while let Some(command) = self.lane.next_command() {
            match command {
                Command::Publish(block) => self.outstanding.push_back(block),
                Command::Store(subject, blocks) => {
                    let stored = if self.disk_ok { blocks.len() } else { blocks.len() / 2 };
                    self.disk.extend(blocks.into_iter().take(stored));
                    self.lane.handle_stored(subject, stored, !self.disk_ok, self.now);
                }
                Command::Load(subject) => {
                    let loaded = self.disk.get(self.read).map(Arc::clone);
                    self.read += usize::from(loaded.is_some());
                    let at = position(self.read.min(255));
                    self.lane.handle_loaded(subject, loaded.map(|block| (block, at)), self.now);
                }
                Command::Release(..) => {
                    self.disk.remove(0);
                    self.read -= 1;
                }
                Command::Lost(block) => self.lost.extend(ids(&block)),
            }
        }
    }
}

fn ids(block: &Block) -> Vec<u64> {
    wire::events(&block.payload)
        .map(|event| std::str::from_utf8(event).unwrap().parse().unwrap())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever acknowledgements, timeouts, outages and crashes happen: what the server has is in
    /// order and without repetition, memory is bounded, and once everything works again, all that
    /// was appended is there, except what was reported as lost or was in memory at a crash.
    #[test]
    fn what_is_appended_comes_out_in_order(steps in vec(step(), 0..200)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            prop_assert!(world.lane.memory() <= GROWING.memory_bytes + 2 * GROWING.backlog_block_bytes);
        }
        world.disk_ok = true;
        world.step(Step::Bus(true));
        for _ in 0..1000 {
            world.step(Step::Wait(1000));
            while !world.outstanding.is_empty() {
                world.step(Step::Answer(true, true));
            }
            if world.lane.is_idle() {
                break;
            }
        }
        prop_assert!(world.lane.is_idle());
        prop_assert!(world.disk.is_empty());
        prop_assert!(world.server.is_sorted_by(|a, b| a < b), "{:?}", world.server);
        let stored: BTreeSet<u64> = world.server.iter().copied().collect();
        let expected: BTreeSet<u64> =
            (1..=world.appended).filter(|event| !world.lost.contains(event)).collect();
        prop_assert!(stored.is_superset(&expected), "missing {:?}", &expected - &stored);
        let allowed: BTreeSet<u64> = (1..=world.appended).collect();
        prop_assert!(stored.is_subset(&allowed));
        let untrue = stored.intersection(&world.lost);
        prop_assert_eq!(untrue.count(), 0, "{:?} of {:?}", world.lost, stored);
    }
}
