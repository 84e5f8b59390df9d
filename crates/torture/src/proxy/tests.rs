use super::*;
use tokio::time::timeout;

/// Longer than anything on loopback takes, shorter than a test may.
const LIMIT: Duration = Duration::from_secs(10);

/// A server that sends back what it gets.
async fn echo(tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut from, mut to) = stream.split();
                drop(tokio::io::copy(&mut from, &mut to).await);
            });
        }
    });
    address
}

struct Bench {
    proxy: Proxy,
    client: TcpStream,
    _tasks: JoinSet<()>,
}

impl Bench {
    /// An open connection that has carried something.
    async fn new() -> Self {
        let mut tasks = JoinSet::new();
        let upstream = echo(&mut tasks).await;
        let proxy = Proxy::open(upstream, &mut tasks).await.unwrap();
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        let mut bench = Self { proxy, client, _tasks: tasks };
        assert_eq!(bench.exchange(b"hello").await.unwrap(), b"hello");
        assert_eq!(bench.proxy.struck(), 0);
        bench
    }

    /// Sends something and reads so many bytes, or what comes before the end.
    async fn exchange(&mut self, text: &[u8]) -> std::io::Result<Vec<u8>> {
        self.client.write_all(text).await?;
        let mut answer = Vec::new();
        while answer.len() < text.len() {
            let read = timeout(LIMIT, self.client.read_buf(&mut answer)).await;
            if read.expect("within the limit")? == 0 {
                break;
            }
        }
        Ok(answer)
    }
}

#[tokio::test]
async fn latency_delays_both_ways_and_loses_nothing() {
    let mut bench = Bench::new().await;
    let delay = Duration::from_millis(60);
    bench.proxy.set(Mode::Latency(delay));
    let began = Instant::now();
    assert_eq!(bench.exchange(b"slow").await.unwrap(), b"slow");
    assert!(began.elapsed() >= 2 * delay, "{:?}", began.elapsed());
    assert_eq!(bench.proxy.struck(), 1);
}

#[tokio::test]
async fn what_comes_after_a_latency_does_not_overtake_what_was_delayed() {
    let mut bench = Bench::new().await;
    for round in 1..=5 {
        bench.proxy.set(Mode::Latency(Duration::from_millis(20)));
        bench.client.write_all(b"late").await.unwrap();
        let delayed = async {
            while bench.proxy.struck() < round {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, delayed).await.unwrap();
        bench.proxy.set(Mode::Pass);
        bench.client.write_all(b"early").await.unwrap();
        let mut answer = [0; 9];
        timeout(LIMIT, bench.client.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"lateearly");
    }
}

#[tokio::test]
async fn a_half_open_connection_says_nothing_and_stays_so() {
    let mut bench = Bench::new().await;
    bench.proxy.set(Mode::HalfOpen);
    bench.client.write_all(b"anybody?").await.unwrap();
    let mut byte = [0];
    let silence = timeout(Duration::from_millis(200), bench.client.read(&mut byte)).await;
    assert!(silence.is_err(), "neither data nor an end: {silence:?}");
    bench.proxy.set(Mode::Pass);
    let silence = timeout(Duration::from_millis(200), bench.client.read(&mut byte)).await;
    assert!(silence.is_err(), "the peer is gone for good: {silence:?}");
    bench.client = TcpStream::connect(bench.proxy.address()).await.unwrap();
    assert_eq!(bench.exchange(b"again").await.unwrap(), b"again");
}

#[tokio::test]
async fn a_cut_ends_the_connection_in_the_middle_of_a_message() {
    let mut bench = Bench::new().await;
    bench.proxy.set(Mode::CutAfter(3));
    assert_eq!(bench.exchange(b"message").await.unwrap(), b"mes");
    let mut bench = Bench::new().await;
    bench.proxy.set(Mode::CutAfter(0));
    assert_eq!(bench.exchange(b"request").await.unwrap(), b"", "it arrives, its answer does not");
}

#[tokio::test]
async fn a_connection_that_carried_nothing_is_cut_when_the_mode_ends() {
    let mut bench = Bench::new().await;
    bench.proxy.set(Mode::CutAfter(1_000));
    assert_eq!(bench.exchange(b"short").await.unwrap(), b"short");
    bench.proxy.set(Mode::Pass);
    let mut byte = [0];
    let end = timeout(LIMIT, bench.client.read(&mut byte)).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    assert!(bench.proxy.struck() >= 1);
}

#[tokio::test]
async fn a_connection_is_counted_for_every_mode_that_strikes_it() {
    let mut bench = Bench::new().await;
    for times in 1..=3 {
        bench.proxy.set(Mode::Latency(Duration::from_millis(1)));
        bench.exchange(b"a").await.unwrap();
        bench.exchange(b"b").await.unwrap();
        assert_eq!(bench.proxy.struck(), times);
        bench.proxy.set(Mode::Pass);
    }
}

#[tokio::test]
async fn a_reset_is_no_farewell_and_new_connections_get_one_too() {
    let mut bench = Bench::new().await;
    bench.proxy.set(Mode::Reset);
    for _ in 0..2 {
        let mut byte = [0];
        let read = timeout(LIMIT, bench.client.read(&mut byte)).await.unwrap();
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        bench.client = TcpStream::connect(bench.proxy.address()).await.unwrap();
    }
    bench.proxy.set(Mode::Pass);
    bench.client = TcpStream::connect(bench.proxy.address()).await.unwrap();
    assert_eq!(bench.exchange(b"again").await.unwrap(), b"again");
}

#[tokio::test]
async fn a_request_is_answered_with_200_and_an_exception() {
    let bench = Bench::new().await;
    bench.proxy.set(Mode::Exception(209));
    for body in [
        "Content-Length: 4\r\n\r\nrows",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nrows\r\n0\r\n\r\n",
    ] {
        let mut client = TcpStream::connect(bench.proxy.address()).await.unwrap();
        let request = format!("POST /?query=INSERT HTTP/1.1\r\nHost: x\r\n{body}");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(LIMIT, client.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("X-ClickHouse-Exception-Code: 209\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn what_is_large_passes_unchanged() {
    let mut bench = Bench::new().await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let (mut from, mut to) = bench.client.split();
    let mut answer = vec![0; sent.len()];
    let (read, written) = tokio::join!(from.read_exact(&mut answer), to.write_all(&sent));
    read.unwrap();
    written.unwrap();
    assert_eq!(answer, sent);
}
