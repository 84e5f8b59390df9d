//! Ring 4: the dashboard in a real browser, before the real gateway and everything behind it.
//!
//! Needs Chromium, its driver, nats-server, and the programs built into the folder this test was
//! built into (`cargo build --workspace --bins`). Screenshots are left in `screenshots` beside that
//! folder.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

mod page;

use std::path::PathBuf;

use jiff::Timestamp;
use keyring::{Error, Scope, Scopes};
use page::Page;
use testkit::suite::Suite;

const USER: &str = "alice";
const PASSWORD: &str = "correct horse battery";

/// Who may do everything.
const OPERATOR: &str = "olga";

/// What the page chooses by itself.
const SYMBOL: &str = "binance/spot/BTC-USDT";

/// The suite with a lively market, a user, and a key.
fn open() -> (Suite, String) {
    let venue = ["--rate", "200", "--symbols", "BTCUSDT,ETHUSDT"];
    let mut suite = Suite::start(&programs(), &["BTC-USDT", "ETH-USDT"], &venue).unwrap();
    let state = suite.state("gateway");
    let scopes = || Scopes::new([Scope::Read]).unwrap();
    keyring::update_users(&state.join("users.json"), |users| {
        for (user, scopes) in [(USER, scopes()), (OPERATOR, Scopes::new([Scope::Admin]).unwrap())] {
            users.set(user.parse().unwrap(), scopes, PASSWORD, Timestamp::UNIX_EPOCH).unwrap();
        }
        Ok::<_, Error>(())
    })
    .unwrap();
    let key = keyring::update(&state.join("keys.json"), |keys| {
        let label = "test".parse().unwrap();
        let minted = keys.mint(label, scopes(), None, Timestamp::UNIX_EPOCH).unwrap();
        Ok::<_, Error>(minted.expose().to_owned())
    })
    .unwrap();
    // It reads them before it answers.
    suite.restart("gateway").unwrap();
    (suite, key)
}

/// The folder that this test, and with it the suite's programs, was built into.
fn programs() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().to_owned()
}

async fn sign_in(page: &Page, password: &str) {
    sign_in_as(page, USER, password).await;
}

async fn sign_in_as(page: &Page, user: &str, password: &str) {
    page.write("user", user).await;
    page.write("password", password).await;
    page.press("user-submit").await;
}

async fn sign_in_with(page: &Page, key: &str) {
    page.write("key", key).await;
    page.press("key-submit").await;
}

/// Waits until trades and book updates come in, one after another.
async fn until_live(page: &Page) {
    page.until("the stream is live", async || page.text("stream-state").await == "live").await;
    for part in ["tape-rows", "bids-rows"] {
        let before = page.text(part).await;
        let moves = async || {
            let now = page.text(part).await;
            !now.is_empty() && now != before
        };
        page.until(part, moves).await;
    }
}

#[tokio::test]
async fn who_signs_in_sees_the_suite_and_a_market_that_moves() {
    let (suite, _) = open();
    let page = Page::open(suite.address("gateway")).await;
    assert!(!page.is_shown("board").await);
    sign_in(&page, "wrong horse battery").await;
    let refused = async || page.text("sign-in-error").await.contains("the password is wrong");
    page.until("the password is refused", refused).await;
    assert!(!page.is_shown("board").await);
    // The browser words the refusal on its console too.
    let refusals = page.complaints().await;
    assert!(refusals.iter().all(|line| line.contains("status of 401")), "{refusals:#?}");

    sign_in(&page, PASSWORD).await;
    page.until("the board is shown", async || page.is_shown("board").await).await;
    assert!(page.text("who").await.ends_with(USER));
    let six = ["gateway", "collector", "storage", "monitoring", "scheduler", "broker"];
    page.until("six services", async || page.heads("services-rows").await == six).await;
    let live = async || page.text("venues-rows").await.contains("live");
    page.until("the venue is live", live).await;
    let fresh = async || {
        // One venue: a kind, its age and its rate.
        let rows = page.text("flows-rows").await;
        let trades = rows.lines().find(|row| row.starts_with("trade"));
        trades.is_some_and(|row| row.ends_with("/s") && !row.contains("–/s"))
    };
    page.until("each kind has an age and a rate", fresh).await;
    assert!(!page.text("flows-rows").await.contains("stale"));
    let stored = async || page.heads("kinds-rows").await.contains(&"trade".to_owned());
    page.until("what is stored is shown", stored).await;
    let days = async || {
        let heads = page.heads("coverage-rows").await;
        heads.contains(&"binance spot trade".to_owned())
            && page.text("coverage-rows").await.contains("pending")
    };
    page.until("the days of each kind are judged", days).await;
    let planned = async || page.heads("tasks-rows").await.contains(&"daily-report".to_owned());
    page.until("the tasks are shown", planned).await;
    assert!(!page.text("tasks-rows").await.contains("Pause"), "who reads changes nothing");
    assert!(!page.is_shown("silence-form").await);
    page.press_in("tasks-rows", "daily-report", "Runs").await;
    page.until("its runs are shown", async || page.is_shown("runs").await).await;
    until_live(&page).await;
    assert_eq!(page.value("symbol").await, SYMBOL);
    assert_eq!(page.heads("bids-rows").await.len(), 12);
    let drawn = async || page.text("candles-words").await.contains("since");
    page.until("a candle is drawn", drawn).await;
    assert!(page.text("last-price").await.starts_with("last "));
    let judged = async || {
        let state = page.text("state").await;
        // Without a system bus the monitoring misses it, and the sentence says so.
        state == "All is well: 6 services, 1 venue live." || state.starts_with("monitoring is")
    };
    page.until("the state is told", judged).await;

    for (name, width, height) in [("desktop", 1440, 900), ("phone", 390, 844)] {
        page.resize(width, height).await;
        until_live(&page).await;
        assert_eq!(page.overflow().await, 0, "{name}: the page is wider than the window");
        page.screenshot(&programs(), name, width).await;
    }
    page.press("sign-out").await;
    assert!(!page.is_shown("board").await && page.is_shown("sign-in").await);
    assert_eq!(page.complaints().await, [] as [String; 0]);
    page.close().await;
}

#[tokio::test]
async fn an_operator_silences_alerts_and_runs_and_pauses_tasks() {
    const MATCHER: &str = r#"alertname="feed-stale""#;
    const TASK: &str = "daily-report";
    let (suite, _) = open();
    let page = Page::open(suite.address("gateway")).await;
    sign_in_as(&page, OPERATOR, PASSWORD).await;
    page.until("silences can be made", async || page.is_shown("silence-form").await).await;
    page.write("silence-matchers", "no matcher").await;
    page.write("silence-comment", "the venue is being moved").await;
    page.press("silence-submit").await;
    let refused = async || page.text("silence-said").await.starts_with("Write matchers");
    page.until("what is no matcher is refused", refused).await;
    page.write("silence-matchers", MATCHER).await;
    page.press("silence-submit").await;
    let made = async || page.heads("silences-rows").await == [MATCHER];
    page.until("the silence is there", made).await;
    let silence = page.text("silences-rows").await;
    let parts = [OPERATOR, "the venue is being moved", "active"];
    assert!(parts.iter().all(|part| silence.contains(part)), "{silence}");
    page.press_in("silences-rows", MATCHER, "End").await;
    page.until("it is over", async || page.heads("silences-rows").await.is_empty()).await;

    let has = async |words: &str| page.row("tasks-rows", TASK).await.contains(words);
    page.until("the task waits", async || has("waiting").await).await;
    page.press_in("tasks-rows", TASK, "Run now").await;
    page.until("it has run", async || has("succeeded").await).await;
    page.press_in("tasks-rows", TASK, "Runs").await;
    let output = async || page.text("runs-rows").await.contains("200 {");
    page.until("what it brought is shown", output).await;
    page.press_in("tasks-rows", TASK, "Pause").await;
    page.until("it is paused", async || has("paused").await).await;
    page.press_in("tasks-rows", TASK, "Resume").await;
    page.until("it waits again", async || has("waiting").await).await;
    page.resize(390, 844).await;
    assert_eq!(page.overflow().await, 0, "the page is wider than the window");
    assert_eq!(page.complaints().await, [] as [String; 0]);
    page.close().await;
}

#[tokio::test]
async fn books_rates_and_numbers_keep_their_rules() {
    let (suite, _) = open();
    let page = Page::open(suite.address("gateway")).await;
    assert_eq!(page.check(include_str!("rules.js")).await, [] as [String; 0]);
    assert_eq!(page.complaints().await, [] as [String; 0]);
    page.close().await;
}

#[tokio::test]
async fn the_page_comes_back_by_itself_after_a_restart_of_the_gateway() {
    let (mut suite, _) = open();
    let page = Page::open(suite.address("gateway")).await;
    sign_in(&page, PASSWORD).await;
    page.until("the board is shown", async || page.is_shown("board").await).await;
    until_live(&page).await;
    assert_eq!(page.complaints().await, [] as [String; 0]);

    suite.stop("gateway").unwrap();
    page.until("it says so", async || page.is_shown("link").await).await;
    assert!(page.text("link-words").await.starts_with("No connection to the gateway"));
    assert!(page.is_stale("services").await, "what is old must look so");
    assert_ne!(page.text("stream-state").await, "live");
    page.screenshot(&programs(), "no-gateway", 1440).await;

    suite.restart("gateway").unwrap();
    page.until("it is back", async || !page.is_shown("link").await).await;
    until_live(&page).await;
    page.until("figures are new", async || !page.is_stale("services").await).await;
    assert!(page.is_shown("board").await, "nobody has to sign in again");
    let complaints = page.complaints().await;
    let own =
        |line: &&String| !line.contains("net::ERR_") && !line.contains("WebSocket connection");
    assert_eq!(complaints.iter().find(own), None, "beside a gateway that was away");
    page.close().await;
}

#[tokio::test]
async fn a_key_opens_the_page_too_and_another_symbol_can_be_chosen() {
    let (suite, key) = open();
    let page = Page::open(suite.address("gateway")).await;
    sign_in_with(&page, "mpk_000000000000_none").await;
    let refused = async || page.text("sign-in-error").await.contains("does not know this API key");
    page.until("the key is refused", refused).await;
    assert!(!page.complaints().await.is_empty());

    sign_in_with(&page, &key).await;
    page.until("the board is shown", async || page.is_shown("board").await).await;
    until_live(&page).await;
    let first = page.text("bids-rows").await;
    page.write("symbol", "binance/spot/ETH-USDT").await;
    page.press("show").await;
    let is_other = async || {
        let bids = page.text("bids-rows").await;
        !bids.is_empty() && bids.split_whitespace().nth(1) != first.split_whitespace().nth(1)
    };
    page.until("the other book is shown", is_other).await;
    until_live(&page).await;
    page.press("hold").await;
    let held = page.text("tape-rows").await;
    page.until("it says that it is held", async || !page.text("market-note").await.is_empty())
        .await;
    assert_eq!(page.text("tape-rows").await, held);
    page.press("hold").await;
    until_live(&page).await;
    assert_eq!(page.complaints().await, [] as [String; 0]);

    // Which scopes a key has is known from the first refusal.
    let can_run = async || page.text("tasks-rows").await.contains("Run now");
    page.until("the tasks are shown", async || can_run().await).await;
    page.press_in("tasks-rows", "daily-report", "Run now").await;
    let refused = async || page.text("tasks-said").await.contains("needs admin");
    page.until("the key may not run it", refused).await;
    assert!(!can_run().await, "it is not offered again");
    let complaints = page.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("status of 403")), "{complaints:#?}");
    page.close().await;
}
