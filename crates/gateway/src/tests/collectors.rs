//! A book is wherever one of the collectors has it.

use super::*;

const BOOK: &str = "/api/v1/orderbook/binance/spot/BTC-USDT";
const UNKNOWN: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nfirst";
const UNSYNCED: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 6\r\n\r\nsecond";

/// Asks for a path where the first collector and one further answer so.
async fn ask(path: &str, first: &'static str, second: &'static str) -> (Answer, usize) {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, first).await;
    let (further, asked) = canned(&mut tasks, second).await;
    let configure = |section: &mut Section| {
        section.backends.collectors = vec![format!("http://{further}").parse().unwrap()];
    };
    let house = House::with(address, Patience::default(), configure).await;
    let key = bearer(&house.key(&[Scope::Read]));
    let answer = house.ask("GET", path, &[&key]).await;
    let count = asked.lock().unwrap().len();
    (answer, count)
}

#[tokio::test]
async fn a_book_that_the_first_does_not_have_is_asked_for_at_the_others() {
    for first in [UNKNOWN, UNSYNCED] {
        let (answer, asked) = ask(BOOK, first, OK).await;
        assert_eq!((answer.status(), asked), (200, 1), "{first}");
    }
}

#[tokio::test]
async fn what_the_first_has_is_asked_for_nowhere_else() {
    let (answer, asked) = ask(BOOK, OK, OK).await;
    assert_eq!((answer.status(), asked), (200, 0));
    // Nor is anything that is no book.
    let (answer, asked) = ask("/api/v1/collector/status", UNKNOWN, OK).await;
    assert_eq!((answer.status(), asked), (404, 0));
}

#[tokio::test]
async fn the_answer_of_the_first_stands_if_nobody_has_the_book() {
    let (answer, asked) = ask(BOOK, UNKNOWN, UNSYNCED).await;
    assert_eq!((answer.status(), answer.body(), asked), (404, "first", 1));
}

#[tokio::test]
async fn a_first_collector_that_is_away_is_no_obstacle() {
    let mut tasks = JoinSet::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (further, _) = canned(&mut tasks, OK).await;
    let configure = |section: &mut Section| {
        section.backends.collectors = vec![format!("http://{further}").parse().unwrap()];
    };
    let house = House::with(nobody, Patience::default(), configure).await;
    let key = bearer(&house.key(&[Scope::Read]));
    assert_eq!(house.ask("GET", BOOK, &[&key]).await.status(), 200);
}

#[tokio::test]
async fn a_further_collector_is_checked_and_left_alone_like_every_backend() {
    const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 6\r\n\r\nbroken";
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, UNKNOWN).await;
    let (further, asked) = canned(&mut tasks, BROKEN).await;
    let configure = |section: &mut Section| {
        section.backends.collectors = vec![format!("http://{further}").parse().unwrap()];
        section.breaker.requests_min = 4;
        section.breaker.pause = LONG;
    };
    let house = House::with(address, Patience::default(), configure).await;
    let key = bearer(&house.key(&[Scope::Read]));
    for _ in 0..10 {
        assert_eq!(house.ask("GET", BOOK, &[&key]).await.status(), 404, "the first one's answer");
    }
    assert_eq!(asked.lock().unwrap().len(), 4, "then it is left alone");
    let gate = &house.gate;
    let (routing, before) = (gate.routing.load_full(), gate.seen.borrow().clone());
    let seen = checks::round(&gate.proxy, &routing.bases, None, before, gate::now).await;
    gate.seen.send_replace(seen);
    let services = house.ask("GET", "/_gateway/services", &[]).await.json();
    let last = &services["services"][5];
    assert_eq!((&last["name"], &last["state"]), (&"collectors[0]".into(), &"failed".into()));
    assert_eq!(last["url"], format!("http://{further}"));
    let breaker = &last["breaker"];
    assert_eq!((&breaker["backend"], &breaker["state"]), (&last["name"], &"open".into()));
    assert_eq!(services["services"][0]["breaker"]["state"], "closed", "the first has its own");
}

#[test]
fn what_is_known_of_a_collector_goes_with_its_place_in_the_configuration() {
    let mut section = Section::default();
    section.backends.collectors =
        vec!["http://10.0.0.2:8081".parse().unwrap(), "http://10.0.0.3:8081".parse().unwrap()];
    let both = Routing::of(&section).unwrap();
    let (then, now) = (Timestamp::UNIX_EPOCH, gate::now());
    let before = checks::known(&both.bases, &[], then);
    let names: Vec<&str> = before.iter().skip(5).map(|seen| seen.name).collect();
    assert_eq!(names, ["collectors[0]", "collectors[1]"]);
    section.backends.collectors.pop();
    let one = checks::known(&Routing::of(&section).unwrap().bases, &before, now);
    assert_eq!((one.len(), one[5].since), (6, then));
    let again = checks::known(&both.bases, &one, now);
    assert_eq!((again.len(), again[5].since, again[6].since), (7, then, now));
}
