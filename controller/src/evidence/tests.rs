//! Against small servers on this machine, some of which mean no good.

use super::*;
use roadstead_model::HostName;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A server that answers every request with these bytes; also what it is asked.
async fn server(answer: impl Into<Vec<u8>>) -> (String, mpsc::UnboundedReceiver<String>) {
    let (listener, answer) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), answer.into());
    let (heard, asked) = mpsc::unbounded_channel();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 16 * 1024];
            let mut length = 0;
            // A form comes behind the head, perhaps a little later.
            let whole =
                |text: &str| text.starts_with('\x16') || text.ends_with("\r\n\r\n") && text.starts_with("GET") || text.contains("query=");
            while !whole(&String::from_utf8_lossy(&request[..length])) {
                match stream.read(&mut request[length..]).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => length += read,
                }
            }
            drop(heard.send(String::from_utf8_lossy(&request[..length]).into_owned()));
            drop(stream.write_all(&answer).await);
            drop(stream.shutdown().await);
        }
    });
    (address, asked)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn question(url: &str, contains: Option<&str>) -> Question {
    let host = HostName::parse("web-1").unwrap();
    Question { host, url: url.to_owned(), status: 200, contains: contains.map(str::to_owned) }
}

async fn asked(answer: impl Into<Vec<u8>>, contains: Option<&str>) -> Answer {
    let (address, _heard) = server(answer).await;
    Evidence::new().ask(&question(&format!("{address}/healthz"), contains)).await
}

async fn queried(answer: impl Into<Vec<u8>>) -> Result<f64, String> {
    let (address, _heard) = server(answer).await;
    Evidence::new().query(&address, "up").await
}

#[tokio::test]
async fn a_query_goes_to_the_documented_place() {
    let body = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0.5"]}]}}"#;
    let (address, mut heard) = server(answer("200 OK", body)).await;
    assert_eq!(Evidence::new().query(&format!("{address}/prometheus/"), "sum(up{a=\"b c\"})").await, Ok(0.5));
    let request = heard.recv().await.unwrap();
    assert!(request.starts_with("POST /prometheus/api/v1/query HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("query=sum%28up%7Ba%3D%22b%20c%22%7D%29"), "{request}");
    assert!(
        request.contains(&format!("host: {}\r\n", &address[7..])) || request.contains(&format!("Host: {}\r\n", &address[7..])),
        "{request}"
    );
}

#[tokio::test]
async fn a_metrics_server_that_fails_gives_no_number() {
    let error = r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
    assert_eq!(
        queried(answer("400 Bad Request", error)).await.unwrap_err(),
        "the metrics server refuses the query (bad_data): parse error"
    );
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    assert!(queried(moved).await.unwrap_err().contains("answers 302 with something"), "nobody is followed");
    assert!(queried("not HTTP at all\r\n\r\n").await.unwrap_err().contains("no HTTP"));
    assert!(queried("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"status\"").await.unwrap_err().contains("breaks off"));
    let huge = answer("200 OK", &format!("{{\"status\":\"{}\"}}", "a".repeat(limits::QUERY_ANSWER_BYTES_MAX)));
    assert!(queried(huge).await.unwrap_err().contains("larger than 256 KiB"));
    let heads = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(1_000));
    assert!(queried(heads).await.is_err(), "an endless head ends");
    let evidence = Evidence::new();
    let unreachable = evidence.query("http://127.0.0.1:1", "up").await.unwrap_err();
    assert!(unreachable.starts_with("the metrics server 127.0.0.1:1: cannot connect to 127.0.0.1:1: "), "{unreachable}");
    let unknown = evidence.query("http://prometheus.invalid:9090", "up").await.unwrap_err();
    assert!(unknown.contains("does not know the name prometheus.invalid"), "{unknown}");
    let (address, _heard) = server(answer("200 OK", "")).await;
    assert!(evidence.query(&address.replace("http://", "https://"), "up").await.is_err(), "no TLS is spoken there");
}

#[tokio::test]
async fn a_slow_drip_is_dropped_by_whoever_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let dripping = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        // Until nobody is there any more.
        while stream.write_all(b"1\r\n \r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let evidence = Evidence::new();
    assert!(timeout(Duration::from_millis(100), evidence.query(&address, "up")).await.is_err(), "it never ends");
    timeout(Duration::from_secs(30), dripping).await.expect("the connection went with the question").unwrap();
}

#[tokio::test]
async fn an_answer_is_compared_with_what_is_wanted() {
    assert_eq!(asked(answer("200 OK", "all is ok"), Some("is ok")).await, Answer::Good);
    assert_eq!(asked(answer("200 OK", ""), None).await, Answer::Good);
    let wrong = |why: &str| Answer::Wrong(why.to_owned());
    assert_eq!(
        asked(answer("503 Busy", "<h1>the\r\n\x1b[31mdatabase  is away"), None).await,
        wrong("answers 503, not 200: <h1>the [31mdatabase is away")
    );
    assert_eq!(
        asked(answer("200 OK", "version 1.0"), Some("version 1.1")).await,
        wrong("answers 200 without \"version 1.1\": version 1.0")
    );
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(asked(moved, None).await, wrong("answers 302, not 200"), "nobody is followed");
    let late = format!("{}ok", " ".repeat(limits::HEALTH_BODY_BYTES_MAX));
    assert!(matches!(asked(answer("200 OK", &late), Some("ok")).await, Answer::Wrong(_)), "only the beginning is read");
    assert_eq!(asked(answer("200 OK", &late), None).await, Answer::Good);
}

#[tokio::test]
async fn what_is_no_answer_says_nothing_of_the_release() {
    let silent = |answer: Answer| if let Answer::Silent(why) = answer { why } else { panic!("{answer:?}") };
    assert!(silent(asked("", None).await).starts_with("does not answer: "));
    assert!(silent(asked("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", Some("later")).await).contains("breaks off"));
    let evidence = Evidence::new();
    assert!(silent(evidence.ask(&question("http://127.0.0.1:1/", None)).await).contains("cannot connect"));
    assert!(silent(evidence.ask(&question("http://web-1.invalid/", None)).await).contains("does not know the name web-1.invalid"));
    assert!(silent(evidence.ask(&question("web-1", None)).await).starts_with("cannot be asked: "));
}
