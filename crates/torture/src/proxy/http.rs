//! Just enough HTTP/1.1 to refuse a request in the way that is easily taken for success.

use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// More headers than any client of ours sends.
const HEAD_MAX: usize = 64 * 1024;

/// Reads a whole request, then answers 200 with the exception's code in a header.
pub(super) async fn refuse(mut client: TcpStream, code: u32) -> io::Result<()> {
    let mut text = Vec::new();
    let end = loop {
        if let Some(at) = find(&text, b"\r\n\r\n") {
            break at + 4;
        }
        if text.len() > HEAD_MAX || client.read_buf(&mut text).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
    let mut body = text.split_off(end);
    let header = |name: &str| {
        let value = head.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.strip_prefix(':')).map(str::trim)
    };
    let length: Option<usize> = header("content-length").and_then(|value| value.parse().ok());
    let chunked = header("transfer-encoding") == Some("chunked");
    let complete = |body: &[u8]| match length {
        Some(length) => body.len() >= length,
        None => !chunked || body.ends_with(b"0\r\n\r\n"),
    };
    while !complete(&body) {
        if client.read_buf(&mut body).await? == 0 {
            return Ok(());
        }
    }
    let text = format!("Code: {code}. DB::Exception: refused by the fault proxy\n");
    let answer = format!(
        "HTTP/1.1 200 OK\r\nX-ClickHouse-Exception-Code: {code}\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
