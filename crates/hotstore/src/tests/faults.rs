//! What goes wrong with Redis, and that it is over by itself. Fault matrix, row 10.

use super::*;

/// What a storage does: marks, and gives what is marked when there is room.
struct Market {
    backlog: Backlog,
    newest: i64,
}

impl Market {
    const SYMBOLS: [&str; 4] = ["A", "B", "C", "D"];

    const fn new() -> Self {
        Self { backlog: Backlog::new(), newest: 0 }
    }

    /// Something happens in every symbol, a second later than the last time.
    fn moves(&mut self) {
        self.newest += 1;
        for symbol in Self::SYMBOLS {
            let mark = Mark { from: 0, since: std::time::Instant::now() };
            self.backlog.mark(&key(symbol), Slot::Latest(Kind::Bbo), mark);
        }
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::new();
        let (id, recv_time) = (u64::try_from(self.newest).unwrap(), START + self.newest * SECOND);
        while let Some((key, ..)) = self.backlog.take() {
            batch.latest(Kind::Bbo, &key, stored(recv_time), &json(self.newest, id));
        }
        batch
    }

    /// Moves for a while, giving only what the writer has room for, and says how long the backlog
    /// became.
    async fn moves_for(&mut self, rig: &mut Rig, during: Duration) -> usize {
        let (until, mut longest) = (Instant::now() + during, 0);
        while Instant::now() < until {
            self.moves();
            longest = longest.max(self.backlog.len());
            if let Ok(room) = rig.batches.clone().try_reserve_owned() {
                room.send(self.batch());
                rig.sent += 1;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        longest
    }

    /// Gives the rest, and checks that Redis has the present state.
    async fn settles(&mut self, rig: &mut Rig, server: &RedisServer) {
        let batch = self.batch();
        rig.write(batch).await;
        for symbol in Self::SYMBOLS {
            assert_eq!(bbo_at(server, symbol), u64::try_from(self.newest).ok(), "{symbol}");
        }
    }
}

#[tokio::test]
async fn after_a_kill_the_present_state_is_written_and_everything_asked_for_again() {
    let mut server = RedisServer::start().unwrap();
    let (mut rig, mut market) = (Rig::start(&server), Market::new());
    market.moves();
    market.settles(&mut rig, &server).await;
    assert_eq!(rig.status.borrow().fills, 1, "an empty server at first");
    server.kill();
    let longest = market.moves_for(&mut rig, Duration::from_secs(1)).await;
    rig.down("cannot be reached").await;
    assert_eq!(longest, Market::SYMBOLS.len(), "a queue of keys, not of changes");
    server.restart().unwrap();
    market.settles(&mut rig, &server).await;
    rig.until(|status| status.state == State::Up && status.fills == 2).await;
}

#[tokio::test]
async fn a_silent_server_is_noticed_and_gets_the_present_state_when_it_wakes() {
    let server = RedisServer::start().unwrap();
    let (mut rig, mut market) = (Rig::start(&server), Market::new());
    market.moves();
    market.settles(&mut rig, &server).await;
    server.freeze().unwrap();
    let longest = market.moves_for(&mut rig, Duration::from_secs(3)).await;
    rig.down("does not answer within 300ms").await;
    assert_eq!(longest, Market::SYMBOLS.len());
    server.thaw().unwrap();
    market.settles(&mut rig, &server).await;
    let status = rig.until(|status| status.state == State::Up).await;
    assert_eq!(status.fills, 1, "it has lost nothing, so nothing is asked for again");
}

#[tokio::test]
async fn a_server_that_is_not_there_at_the_start_is_found_when_it_comes() {
    let mut server = RedisServer::start().unwrap();
    server.kill();
    let mut rig = Rig::start(&server);
    let reason = rig.down("cannot be reached").await;
    assert!(reason.contains("Connection refused"), "{reason}");
    server.restart().unwrap();
    rig.up().await;
    assert_eq!(rig.status.borrow().fills, 1);
}

#[tokio::test]
async fn a_flushed_server_asks_for_everything_even_if_nothing_is_written() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server);
    rig.write(bbo("A", 1, 1)).await;
    assert_eq!(rig.status.borrow().fills, 1);
    server.query(&["FLUSHALL"]).unwrap();
    rig.until(|status| status.fills == 2).await;
    rig.write(bbo("A", 1, 1)).await;
    assert_eq!((bbo_at(&server, "A"), rig.status.borrow().fills), (Some(1), 2));
}

#[tokio::test]
async fn scripts_that_are_lost_are_loaded_again_within_the_same_write() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server);
    rig.write(bbo("A", 1, 1)).await;
    rig.status.mark_unchanged();
    server.query(&["SCRIPT", "FLUSH"]).unwrap();
    rig.write(bbo("A", 2, 2)).await;
    assert_eq!(bbo_at(&server, "A"), Some(2));
    assert!(!rig.status.has_changed().unwrap(), "it was up all the time");
}

#[tokio::test]
async fn a_full_server_is_called_full_and_gets_the_rest_when_it_has_room() {
    let server = RedisServer::start_with("maxmemory-policy noeviction").unwrap();
    let (mut rig, mut market) = (Rig::start(&server), Market::new());
    market.moves();
    market.settles(&mut rig, &server).await;
    server.query(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    let longest = market.moves_for(&mut rig, Duration::from_millis(500)).await;
    let reason = rig.down("its memory is full").await;
    assert!(reason.contains("OOM"), "the server's words are in it: {reason}");
    assert_eq!(longest, Market::SYMBOLS.len());
    server.query(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    market.settles(&mut rig, &server).await;
    rig.up().await;
}

#[tokio::test]
async fn a_wrong_password_is_called_so_and_a_corrected_one_is_taken() {
    let server = RedisServer::start_with("requirepass right").unwrap();
    let ttl = Duration::from_hours(24);
    let mut without = Rig::start_with(&server.url(), None, ttl);
    let reason = without.down("refuses the password").await;
    assert!(reason.contains("NOAUTH"), "{reason}");
    let mut wrong = Rig::start_with(&server.url(), Some("wrong"), ttl);
    let reason = wrong.down("refuses the password").await;
    assert!(reason.contains("WRONGPASS"), "{reason}");
    let mut right = Rig::start_with(&server.url(), Some("right"), ttl);
    right.write(bbo("A", 1, 1)).await;
    right.up().await;

    change_password(&server, "right", "wrong").await;
    wrong.up().await;
    wrong.write(bbo("A", 2, 2)).await;
}

/// Gives the server the password that the writer has, without a restart of either.
async fn change_password(server: &RedisServer, old: &str, new: &str) {
    let client = redis::Client::open(format!("redis://:{old}@{}", server.address())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("requirepass").arg(new).exec_async(&mut connection).await.unwrap();
}

#[tokio::test]
async fn a_user_without_the_right_to_write_is_told_which_right_it_lacks() {
    let server = RedisServer::start().unwrap();
    let rights = ["on", ">secret", "~marketprism:*", "+@connection", "+@read"];
    let user = ["ACL", "SETUSER", "reader"];
    server.query(&[&user[..], &rights[..]].concat()).unwrap();
    let url = format!("redis://reader@{}", server.address());
    let mut rig = Rig::start_with(&url, Some("secret"), Duration::from_hours(24));
    let reason = rig.down("refuses to write").await;
    assert!(reason.contains("NOPERM"), "{reason}");
    server.query(&["ACL", "SETUSER", "reader", "+@write", "+@scripting"]).unwrap();
    rig.up().await;
    rig.write(bbo("A", 1, 1)).await;
    assert_eq!(bbo_at(&server, "A"), Some(1));
}
