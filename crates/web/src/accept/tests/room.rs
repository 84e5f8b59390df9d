//! All places are taken.

use super::*;

#[tokio::test]
async fn when_all_places_are_taken_the_connection_that_rests_longest_makes_room() {
    // Nobody is cut off for the length of its rest.
    let server = start(Limits { connections_max: 3, idle_timeout: SOON * 10, ..limits() }).await;
    let mut resting = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        answer(&mut stream).await;
        resting.push(stream);
    }
    server.good_client_is_fine().await;
    assert_eq!(to_end(&mut resting.remove(0)).await, "");
    for mut stream in resting {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        answer(&mut stream).await;
    }
}

#[tokio::test]
async fn a_connection_whose_request_is_under_way_makes_room_after_its_answer_only() {
    let server = start(Limits { connections_max: 1, idle_timeout: SOON * 10, ..limits() }).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    server.good_client_is_fine().await;
    assert!(to_end(&mut busy).await.starts_with("HTTP/1.1 200 "));
}
