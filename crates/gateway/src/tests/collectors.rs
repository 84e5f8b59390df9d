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
