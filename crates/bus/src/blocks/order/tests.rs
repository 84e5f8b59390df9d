//! The rules by example, and against a server that loses deliveries and a reader that dies.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn delivery(seq: u64, stored: i64) -> Delivery {
    Delivery { seq, stored, reply: Some(format!("{seq}@{stored}")) }
}

fn standing(first: u64, last: u64, floor: u64) -> Standing {
    Standing { created: "a".to_owned(), first, last, floor }
}

fn place(seq: u64, stored: i64) -> Place {
    Place { stream_seq: seq, stored_at: stored }
}

fn drain(order: &mut Order<()>) -> Vec<u64> {
    std::iter::from_fn(|| order.pop().map(|(seq, ())| seq)).collect()
}

fn wanted(order: &Order<()>, delivered: u64) -> Vec<u64> {
    order.wanted(delivered).collect()
}

fn bound(first: u64, last: u64, floor: u64) -> Order<()> {
    let mut order = Order::new();
    assert_eq!(order.bind(&standing(first, last, floor)), 0);
    order
}

#[test]
fn a_block_behind_a_hole_waits_until_it_is_filled() {
    let mut order = bound(1, 9, 0);
    order.arrive(delivery(1, 1), ());
    order.arrive(delivery(3, 3), ());
    assert_eq!(drain(&mut order), [1]);
    assert_eq!(wanted(&order, 0), [2]);
    order.arrive(delivery(2, 2), ());
    assert_eq!(drain(&mut order), [2, 3]);
    assert_eq!(wanted(&order, 0), [] as [u64; 0]);
}

#[test]
fn a_block_that_is_gone_is_not_waited_for() {
    let mut order = bound(1, 9, 0);
    order.arrive(delivery(4, 4), ());
    order.gone(2);
    assert_eq!(wanted(&order, 5), [1, 3, 5]);
    order.arrive(delivery(1, 1), ());
    order.gone(3);
    assert_eq!(drain(&mut order), [1, 4]);
}

#[test]
fn a_redelivered_block_in_hand_only_changes_its_address() {
    let mut order = bound(1, 9, 0);
    order.arrive(delivery(1, 1), ());
    assert_eq!(drain(&mut order), [1]);
    let again = Delivery { reply: Some("newer".to_owned()), ..delivery(1, 1) };
    assert_eq!(order.arrive(again, ()), Arrival::Known);
    assert_eq!(drain(&mut order), [] as [u64; 0]);
    assert_eq!(order.in_hand(place(1, 1)).unwrap().reply.as_deref(), Some("newer"));
    let fetched = Delivery { reply: None, ..delivery(1, 1) };
    assert_eq!(order.arrive(fetched, ()), Arrival::Known);
    assert_eq!(order.in_hand(place(1, 1)).unwrap().reply.as_deref(), Some("newer"));
}

#[test]
fn a_sequence_used_again_for_another_block_is_handed_out_again() {
    let mut order = bound(1, 9, 0);
    order.arrive(delivery(1, 1), ());
    assert_eq!(drain(&mut order), [1]);
    assert_eq!(order.arrive(delivery(1, 77), ()), Arrival::New);
    assert!(order.in_hand(place(1, 1)).is_some());
    assert_eq!(drain(&mut order), [1]);
    assert!(order.in_hand(place(1, 77)).is_some());
    assert!(order.in_hand(place(1, 1)).is_none(), "what is there now is not what was stored");
}

#[test]
fn after_sequences_were_used_again_everything_in_hand_is_handed_out_anew() {
    let mut order = bound(1, 9, 0);
    assert_eq!(order.newest(), None);
    for seq in [1, 2, 3, 5] {
        order.arrive(delivery(seq, 1), ());
    }
    assert_eq!(drain(&mut order), [1, 2, 3]);
    assert_eq!(order.newest(), Some(place(5, 1)), "what waits behind a hole is here, too");
    order.acknowledged(1);
    order.bind(&standing(1, 4, 1));
    assert_eq!(order.newest(), Some(place(3, 1)), "the end of the stream is lost");
    order.start_anew(&standing(1, 4, 1));
    assert_eq!(wanted(&order, 4), [2, 3, 4]);
    assert!(order.in_hand(place(3, 1)).is_none());
}

#[test]
fn what_is_in_hand_is_trusted_on_the_connection_on_which_it_was_compared() {
    let mut order = bound(1, 9, 0);
    assert!(!order.is_trusted(1));
    order.trust(1);
    assert!(order.is_trusted(1) && !order.is_trusted(2));
    order.distrust();
    assert!(!order.is_trusted(1));
}

#[test]
fn a_new_connection_goes_on_after_what_is_in_hand() {
    let mut order = bound(1, 9, 0);
    for seq in 1..=3 {
        order.arrive(delivery(seq, 1), ());
    }
    assert_eq!(drain(&mut order), [1, 2, 3]);
    order.acknowledged(1);
    assert_eq!(order.bind(&standing(1, 9, 1)), 0);
    assert_eq!(wanted(&order, 5), [4, 5]);
}

#[test]
fn a_lost_acknowledgement_brings_the_blocks_back() {
    let mut order = bound(1, 9, 0);
    for seq in 1..=3 {
        order.arrive(delivery(seq, 1), ());
    }
    drain(&mut order);
    order.acknowledged(3);
    order.bind(&standing(1, 9, 1));
    assert_eq!(wanted(&order, 3), [2, 3]);
}

#[test]
fn a_stream_made_anew_starts_anew() {
    let mut order = bound(1, 9, 0);
    order.arrive(delivery(1, 1), ());
    order.arrive(delivery(5, 1), ());
    drain(&mut order);
    let anew = Standing { created: "b".to_owned(), ..standing(1, 2, 0) };
    assert_eq!(order.bind(&anew), 0);
    assert_eq!(wanted(&order, 2), [1, 2]);
}

#[test]
fn blocks_trimmed_before_the_first_reader_are_not_missing_but_later_ones_are() {
    let mut order = bound(100, 120, 0);
    assert_eq!(wanted(&order, 100), [100]);
    assert_eq!(order.bind(&standing(110, 120, 99)), 10);
    assert_eq!(wanted(&order, 110), [110]);
}

#[test]
fn a_server_owes_what_it_has_unless_too_much_is_in_hand() {
    let mut order = bound(1, 2, 0);
    assert!(order.is_owed(2, 1));
    order.arrive(delivery(1, 1), ());
    drain(&mut order);
    assert!(!order.is_owed(2, 1), "the one that may be out is in hand");
    assert!(order.is_owed(2, 2));
    assert!(!order.is_owed(1, 2), "there is no more");
}

/// What may happen between server and reader.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// The server delivers the next block it owes; `true` if it arrives.
    Deliver(bool),
    /// The acknowledgement wait is over for all.
    Expire,
    /// The stream is trimmed, and the server forgets what it has delivered.
    Forget,
    /// The connection is made anew.
    Reconnect,
    /// The reader fetches what it misses.
    Fetch,
    /// The reader acknowledges all it has.
    Ack,
    /// The reader dies; another takes over.
    Die,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Deliver(true)),
        2 => Just(Act::Deliver(false)),
        1 => Just(Act::Expire),
        1 => Just(Act::Forget),
        1 => Just(Act::Reconnect),
        2 => Just(Act::Fetch),
        2 => Just(Act::Ack),
        1 => Just(Act::Die),
    ]
}

/// A server with one consumer that acknowledges "up to here", and its reader.
struct World {
    last: u64,
    floor: u64,
    delivered: u64,
    pending: BTreeSet<u64>,
    again: VecDeque<u64>,
    /// What the reader was told of `delivered`.
    known_delivered: u64,
    order: Order<()>,
    /// Handed to the present reader.
    in_hand: BTreeSet<u64>,
    /// Handed to a reader that acknowledged.
    durable: BTreeSet<u64>,
}

impl World {
    fn new(last: u64) -> Self {
        Self {
            last,
            floor: 0,
            delivered: 0,
            pending: BTreeSet::new(),
            known_delivered: 0,
            again: VecDeque::new(),
            order: bound(1, last, 0),
            in_hand: BTreeSet::new(),
            durable: BTreeSet::new(),
        }
    }

    fn perform(&mut self, act: Act) {
        match act {
            Act::Deliver(arrives) => {
                let seq = self.again.pop_front().unwrap_or(self.delivered + 1);
                if seq > self.last {
                    return;
                }
                self.delivered = self.delivered.max(seq);
                self.pending.insert(seq);
                if arrives && seq > self.floor {
                    self.order.arrive(delivery(seq, 1), ());
                }
            }
            Act::Expire => self.again = self.pending.iter().copied().collect(),
            Act::Forget => {
                self.pending.clear();
                self.again.clear();
            }
            Act::Reconnect => {
                self.order.bind(&standing(1, self.last, self.floor));
                self.known_delivered = self.delivered;
            }
            Act::Fetch => {
                let wanted: Vec<u64> = self.order.wanted(self.known_delivered).collect();
                for seq in wanted {
                    self.order.arrive(delivery(seq, 1), ());
                }
            }
            Act::Ack => self.ack(),
            Act::Die => {
                self.in_hand.clear();
                self.order = bound(1, self.last, self.floor);
                self.known_delivered = self.delivered;
            }
        }
        let taken = drain(&mut self.order);
        assert!(taken.is_sorted(), "out of order: {taken:?}");
        for seq in taken {
            assert!(self.in_hand.insert(seq), "{seq} was handed out twice");
        }
    }

    fn ack(&mut self) {
        let Some(last) = self.in_hand.last().copied() else { return };
        if self.order.in_hand(place(last, 1)).is_none() {
            return;
        }
        self.durable.extend(&self.in_hand);
        for seq in 1..=last {
            assert!(self.durable.contains(&seq), "{seq} is acknowledged and was never handed out");
        }
        self.order.acknowledged(last);
        self.floor = self.floor.max(last);
        self.pending = self.pending.split_off(&(self.floor + 1));
    }
}

proptest! {
    #[test]
    fn nothing_is_acknowledged_that_was_not_handed_out_and_all_arrives_in_the_end(
        last in 1_u64..40,
        acts in prop::collection::vec(act(), 0..200),
    ) {
        let mut world = World::new(last);
        for act in acts {
            world.perform(act);
        }
        world.perform(Act::Reconnect);
        world.perform(Act::Fetch);
        for _ in 0..=2 * last {
            world.perform(Act::Deliver(true));
        }
        world.perform(Act::Ack);
        prop_assert_eq!(world.floor, last);
    }
}
