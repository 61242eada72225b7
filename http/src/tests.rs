#![allow(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use super::*;
use http_body_util::{Full, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A server that answers one connection with these bytes, once it has seen the end of a request's head; then it ends it, or keeps quiet.
async fn server(answer: &'static [u8], stays: bool) -> HttpUrl {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = HttpUrl::parse(&format!("http://{}/x", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).await.unwrap();
            seen.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(answer).await.unwrap();
        if stays {
            std::future::pending::<()>().await;
        }
    });
    url
}

fn get(url: &HttpUrl) -> Request<Full<Bytes>> {
    Request::get(url.path.as_str()).header("Host", url.authority()).body(Full::default()).unwrap()
}

async fn ask(url: &HttpUrl) -> Result<Answer, Fault> {
    send(Err("none"), url, get(url), Some(Duration::from_millis(300))).await
}

#[tokio::test]
async fn an_answer_comes_in_pieces_and_is_bounded() {
    let url = server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: x\r\n\r\nhello", false).await;
    let answer = ask(&url).await.unwrap();
    assert_eq!((answer.status(), answer.headers().get("etag").unwrap().as_bytes()), (200, &b"x"[..]));
    assert_eq!(answer.beginning(100).await.unwrap(), (Bytes::from_static(b"hello"), false));
    let url = server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", true).await;
    assert_eq!(ask(&url).await.unwrap().beginning(4).await.unwrap(), (Bytes::from_static(b"hell"), true));
}

#[tokio::test]
async fn what_breaks_off_is_told_apart_from_what_is_no_answer() {
    let cut = server(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", false).await;
    let mut answer = ask(&cut).await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "hello");
    assert_eq!(answer.next().await.unwrap_err(), Fault::Broken);
    let other = server(b"SSH-2.0-canary\r\n\r\n", false).await;
    let fault = ask(&other).await.unwrap_err();
    assert!(fault == Fault::NoHttp && !fault.to_string().contains("canary"), "{fault}");
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nobody = HttpUrl::parse(&format!("http://{nobody}/")).unwrap();
    assert!(matches!(ask(&nobody).await.unwrap_err(), Fault::Connect { .. }));
    let secure = HttpUrl { tls: true, ..server(b"", false).await };
    assert_eq!(ask(&secure).await.unwrap_err(), Fault::Tls("none".into()));
}

#[tokio::test]
async fn a_connection_on_which_nothing_moves_has_ended() {
    let silent = server(b"", true).await;
    assert_eq!(ask(&silent).await.unwrap_err(), Fault::Idle(Duration::from_millis(300)));
    let begun = server(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", true).await;
    let mut answer = ask(&begun).await.unwrap();
    answer.next().await.unwrap();
    assert_eq!(answer.next().await.unwrap_err(), Fault::Idle(Duration::from_millis(300)));
}

#[tokio::test]
async fn a_body_that_fails_is_told_as_such() {
    let url = server(b"", true).await;
    let frames = [Ok(hyper::body::Frame::data(Bytes::from_static(b"a"))), Err(io::Error::other("the disk"))];
    let body = StreamBody::new(tokio_stream::iter(frames));
    let request = Request::put("/x").header("Content-Length", 2).body(body).unwrap();
    assert_eq!(send(Err("none"), &url, request, None).await.unwrap_err(), Fault::Source("the disk".into()));
    let empty = Request::get("/x").body(http_body_util::Empty::<Bytes>::new()).unwrap();
    assert!(send(Err("none"), &HttpUrl { port: 9, ..url }, empty, None).await.unwrap_err().is_transient());
}
