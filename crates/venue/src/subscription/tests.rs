//! Ring 1: venues that answer in each of the ways that there are.

use super::*;

fn request(id: u64, joins: &[&str]) -> Request {
    let joins = joins.iter().map(|stream| (*stream).to_owned()).collect();
    Request { frame: String::new(), id: Some(id), joins }
}

fn verdicts(subscription: &mut Subscription) -> Vec<Verdict> {
    std::iter::from_fn(|| subscription.next_verdict()).collect()
}

fn owned(streams: &[&str]) -> Vec<String> {
    streams.iter().map(|stream| (*stream).to_owned()).collect()
}

fn aside(stream: &str, reason: &str) -> Verdict {
    Verdict::SetAside { stream: stream.to_owned(), reason: Arc::from(reason) }
}

const fn at(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A venue that refuses a whole request if any of its streams is bad.
fn answer_strictly(subscription: &mut Subscription, joins: &[&str], bad: &[&str]) -> Vec<String> {
    let (mut id, mut set_aside, mut now) = (1, Vec::new(), 0);
    let mut open = vec![(id, owned(joins))];
    subscription.ask(&request(id, joins));
    while let Some((asked, streams)) = open.pop() {
        now += 10;
        if streams.iter().any(|stream| bad.contains(&stream.as_str())) {
            subscription.handle_refused(Some(asked), &Arc::from("no"), at(now));
            assert_eq!(subscription.poll_timeout(), Some(at(now + 1)));
        } else {
            subscription.handle_granted(Some(asked), Granted::All);
        }
        subscription.handle_timeout(at(now + 1));
        for verdict in verdicts(subscription) {
            match verdict {
                Verdict::Ask(streams) => {
                    id += 1;
                    let joins: Vec<&str> = streams.iter().map(String::as_str).collect();
                    subscription.ask(&request(id, &joins));
                    open.push((id, streams));
                }
                Verdict::SetAside { stream, reason } => {
                    assert_eq!(&*reason, "no");
                    set_aside.push(stream);
                }
            }
        }
    }
    set_aside.sort();
    set_aside
}

#[test]
fn exactly_the_streams_that_a_venue_refuses_are_found_by_halving() {
    let all = ["a", "b", "c", "d", "e", "f", "g"];
    for bad in [&["d"][..], &["a", "g"], &[], &all] {
        let mut subscription = Subscription::default();
        assert_eq!(answer_strictly(&mut subscription, &all, bad), bad);
        assert!(subscription.is_settled());
    }
}

#[test]
fn a_venue_that_answers_for_each_stream_leaves_only_the_bad_one() {
    let mut subscription = Subscription::default();
    subscription.ask(&request(7, &["a", "b", "c"]));
    assert!(subscription.is_asking("b"));
    subscription.handle_granted(Some(7), Granted::One("a".to_owned()));
    subscription.handle_refused(Some(7), &Arc::from("no b"), at(5));
    subscription.handle_timeout(at(5));
    assert_eq!(verdicts(&mut subscription), [], "the answer for c is on its way");
    subscription.handle_granted(Some(7), Granted::One("c".to_owned()));
    subscription.handle_timeout(at(6));
    assert_eq!(verdicts(&mut subscription), [aside("b", "no b")]);
    assert!(subscription.is_settled() && !subscription.is_asking("b"));
}

#[test]
fn what_is_left_out_of_a_complete_answer_is_set_aside_at_once() {
    let mut subscription = Subscription::default();
    subscription.ask(&request(3, &["a", "b"]));
    subscription.handle_granted(Some(3), Granted::Only(owned(&["b"])));
    let reason = "the venue accepted the others and not this one";
    assert_eq!(verdicts(&mut subscription), [aside("a", reason)]);
    assert!(subscription.is_settled());
}

#[test]
fn an_answer_without_a_number_finds_its_request() {
    let mut subscription = Subscription::default();
    subscription.ask(&request(1, &["a"]));
    subscription.ask(&request(2, &["b", "c"]));
    subscription.handle_granted(None, Granted::One("c".to_owned()));
    subscription.handle_granted(None, Granted::All);
    assert!(!subscription.is_asking("a") && subscription.is_asking("b"));
    subscription.handle_refused(None, &Arc::from("no"), at(1));
    subscription.handle_timeout(at(2));
    assert_eq!(verdicts(&mut subscription), [aside("b", "no")]);
}

#[test]
fn a_request_that_joins_nothing_is_answered_by_anything() {
    let mut subscription = Subscription::default();
    for (id, granted) in
        [(1, Granted::All), (2, Granted::Only(owned(&["a"]))), (3, Granted::One("a".to_owned()))]
    {
        subscription.ask(&request(id, &[]));
        subscription.handle_granted(Some(id), granted);
        assert!(subscription.is_settled());
    }
    subscription.ask(&request(4, &[]));
    subscription.handle_refused(Some(4), &Arc::from("no"), at(1));
    subscription.handle_timeout(at(2));
    assert_eq!(verdicts(&mut subscription), []);
    assert!(subscription.is_settled());
    // Whoever asks for no answer waits for none.
    subscription.ask(&Request { frame: String::new(), id: None, joins: Vec::new() });
    assert!(subscription.is_settled());
}
