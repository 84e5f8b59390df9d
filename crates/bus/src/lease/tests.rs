//! Ring 1: how long a tenure lasts. Ring 3: leases and buckets in a real server.

use super::*;
use crate::tests::connect;
use testkit::nats::NatsServer;

/// Short enough to be waited for, long enough for a busy machine to renew it.
const LENGTH: Duration = Duration::from_secs(2);

/// More than any of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn lease(bus: &Bus, holder: &str) -> Lease {
    Lease::new(bus, "task", holder.to_owned(), LENGTH, 1)
}

/// Asks until the lease is held; what was said on the way.
async fn take(lease: &mut Lease) -> Vec<Holder> {
    let asked = async {
        let mut said = Vec::new();
        loop {
            said.push(lease.round().await.unwrap());
            if said.last() == Some(&Holder::This) {
                return said;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("the lease becomes free")
}

#[test]
fn a_tenure_ends_before_the_server_forgets_it() {
    let asked = Instant::now();
    let mut tenure = Tenure::default();
    assert!(!tenure.holds(asked));
    tenure.granted(7, asked, Duration::from_secs(8));
    assert!(tenure.holds(asked + Duration::from_millis(5_999)));
    assert!(!tenure.holds(asked + Duration::from_secs(6)));
    tenure.lost();
    assert!(!tenure.holds(asked));
}

#[tokio::test]
async fn one_of_two_holds_the_lease_and_the_other_takes_it_when_it_is_given_up() {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    let (mut first, mut second) = (lease(&bus, "first"), lease(&bus, "second"));
    assert_eq!(first.round().await.unwrap(), Holder::This);
    assert_eq!(second.round().await.unwrap(), Holder::Other("first".to_owned()));
    assert_eq!(first.round().await.unwrap(), Holder::This);
    assert!(first.tenure().holds(Instant::now()) && !second.tenure().holds(Instant::now()));
    first.release().await.unwrap();
    assert_eq!(second.round().await.unwrap(), Holder::This);
}

#[tokio::test]
async fn a_holder_that_says_nothing_more_is_followed_after_its_tenure() {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    let (mut first, mut second) = (lease(&bus, "first"), lease(&bus, "second"));
    assert_eq!(first.round().await.unwrap(), Holder::This);
    let said = take(&mut second).await;
    assert_eq!(said[0], Holder::Other("first".to_owned()));
    assert!(!first.tenure().holds(Instant::now()), "two hold it at once");
    assert_eq!(first.round().await.unwrap(), Holder::Other("second".to_owned()));
}

#[tokio::test]
async fn of_many_that_ask_at_once_one_gets_it() {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    bus.ensure_bucket(&lease(&bus, "").spec).await.unwrap();
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..20 {
        let mut lease = lease(&bus, &format!("number {number}"));
        asking.spawn(async move { lease.round().await.unwrap() });
    }
    let said = asking.join_all().await;
    let holders = said.iter().filter(|&holder| *holder == Holder::This).count();
    assert_eq!(holders, 1, "{said:?}");
}

#[tokio::test]
async fn a_tenure_ends_while_the_server_is_away_and_is_taken_up_after_it() {
    let mut server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    let mut first = lease(&bus, "first");
    assert_eq!(first.round().await.unwrap(), Holder::This);
    server.kill();
    let over = async {
        while first.tenure().holds(Instant::now()) {
            drop(first.round().await.unwrap_err());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, over).await.unwrap();
    server.restart().unwrap();
    let back = async {
        while first.round().await.ok() != Some(Holder::This) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.unwrap();
}

#[tokio::test]
async fn a_value_is_written_only_over_the_one_that_was_seen() {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    let spec = BucketSpec { name: "values", age_max: None, bytes_max: 1 << 20, replicas: 1 };
    assert_eq!(bus.ensure_bucket(&spec).await.unwrap(), None);
    assert_eq!(bus.ensure_bucket(&spec).await.unwrap(), None);
    let bucket = bus.bucket("values");
    assert_eq!(bucket.entry("a").await.unwrap(), None);
    let first = bucket.write("a", Bytes::from_static(b"1"), 0).await.unwrap().unwrap();
    assert_eq!(bucket.write("a", Bytes::from_static(b"2"), 0).await.unwrap(), None);
    let second = bucket.write("a", Bytes::from_static(b"3"), first).await.unwrap().unwrap();
    let entry = bucket.entry("a").await.unwrap().unwrap();
    assert_eq!((entry.revision, &entry.value[..]), (second, &b"3"[..]));
    assert_eq!(bucket.write("a", Bytes::from_static(b"4"), first).await.unwrap(), None);
}

#[tokio::test]
async fn a_bucket_that_forgets_nothing_is_no_place_for_leases() {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    let mut first = lease(&bus, "first");
    let endless = BucketSpec { age_max: None, ..first.spec.clone() };
    bus.ensure_bucket(&endless).await.unwrap();
    assert!(matches!(first.round().await, Err(LeaseError::Endless)));
}
