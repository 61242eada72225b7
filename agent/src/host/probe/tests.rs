//! Probes against tiny servers that behave badly.

use super::*;
use crate::host::samples;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

struct Server {
    _folder: tempfile::TempDir,
    address: Address,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server that treats each connection (numbered from 0) in its way, after it has read the request.
fn server<F: Future<Output = ()> + Send>(treat: impl Fn(usize, UnixStream) -> F + Send + 'static) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    let task = tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            treat(number, stream).await;
        }
    });
    Server { _folder: folder, address: Address::Unix(path), task }
}

fn says(text: &'static str) -> Server {
    server(move |_, mut stream| async move { drop(stream.write_all(text.as_bytes()).await) })
}

async fn ask_with(server: &Server, change: impl FnOnce(&mut HttpCheck)) -> Result<(), ProbeError> {
    let mut check = samples::check("/healthz/");
    check.timeout = roadstead_model::Millis(500);
    change(&mut check);
    ask(&server.address, &Question { check: &check, any_answer: false }).await
}

struct Always;

#[async_trait]
impl Alive for Always {
    type Dead = ();
    async fn look(&mut self) -> Result<(), ()> {
        Ok(())
    }
}

struct Died;

#[async_trait]
impl Alive for Died {
    type Dead = &'static str;
    async fn look(&mut self) -> Result<(), &'static str> {
        Err("died")
    }
}

#[tokio::test]
async fn a_good_answer_passes() {
    let good = says("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"ok\":1");
    assert_eq!(ask_with(&good, |_| {}).await, Ok(()));
    assert_eq!(ask_with(&good, |check| check.contains = Some("ok".into())).await, Ok(()));
    let error = ask_with(&good, |check| check.contains = Some("database".into())).await.unwrap_err();
    assert_eq!(error.to_string(), "its body does not contain \"database\"; it answered 200 with \"{\\\"ok\\\":1\"");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = says("HTTP/1.1 302 Found\r\nLocation: /healthz/\r\nContent-Length: 0\r\n\r\n");
    let error = ask_with(&server, |_| {}).await.unwrap_err();
    assert_eq!(error.to_string(), "status 200 was expected; it answered 302 with \"\"");
    assert_eq!(ask_with(&server, |check| check.status = 302).await, Ok(()));
}

#[tokio::test]
async fn one_who_never_answers_is_slow() {
    let server = server(|_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    assert_eq!(ask_with(&server, |_| {}).await, Err(ProbeError::Slow(Duration::from_millis(500))));
}

#[tokio::test]
async fn one_who_drips_is_slow() {
    let server = server(|_, mut stream| async move {
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".iter().cycle() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if stream.write_u8(*byte).await.is_err() {
                return;
            }
        }
    });
    assert_eq!(ask_with(&server, |_| {}).await, Err(ProbeError::Slow(Duration::from_millis(500))));
}

#[tokio::test]
async fn an_endless_body_is_read_no_further_than_the_limit() {
    let server = server(|_, mut stream| async move {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n").await);
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    assert_eq!(ask_with(&server, |_| {}).await, Ok(()));
    let error = ask_with(&server, |check| check.contains = Some("end".into())).await.unwrap_err();
    assert!(matches!(error, ProbeError::Wrong { status: 200, .. }), "{error}");
}

#[tokio::test]
async fn an_endless_head_breaks_off() {
    let server = server(|_, mut stream| async move {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n").await);
        while stream.write_all(b"X-More: and more and more\r\n").await.is_ok() {}
    });
    let error = ask_with(&server, |_| {}).await.unwrap_err();
    assert!(matches!(error, ProbeError::Broken(_)), "{error}");
}

#[tokio::test]
async fn what_is_not_http_breaks_off() {
    for text in ["SSH-2.0-OpenSSH\r\n", "", "HTTP/1.1 200"] {
        let error = ask_with(&says(text), |_| {}).await.unwrap_err();
        assert!(matches!(error, ProbeError::Broken(_)), "{text}: {error}");
    }
}

#[tokio::test]
async fn successes_must_come_in_a_row() {
    // Good, bad, good, good: two in a row come with the fourth.
    let server = server(|number, mut stream| async move {
        let status = if number == 1 { "503 No" } else { "200 OK" };
        drop(stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await);
    });
    let mut check = samples::check("/");
    check.successes = 2;
    let question = Question { check: &check, any_answer: false };
    let passed = until_passed(&server.address, &question, Duration::from_secs(30), Always).await;
    assert_eq!(passed, Ok(Ok(4)));
}

#[tokio::test]
async fn waiting_ends_with_the_last_answer_or_with_the_unit() {
    let server = says("HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nTraceback");
    let check = samples::check("/");
    let question = Question { check: &check, any_answer: true };
    let ended = until_passed(&server.address, &question, Duration::from_millis(200), Always).await;
    assert!(matches!(ended, Ok(Err(ProbeError::Wrong { status: 500, ref shown, .. })) if shown == "Traceback"), "{ended:?}");
    let died = until_passed(&server.address, &question, Duration::from_secs(30), Died).await;
    assert_eq!(died, Err("died"));
    let nobody = Address::Unix("/nowhere/sock".into());
    let ended = until_passed(&nobody, &question, Duration::ZERO, Always).await;
    assert!(matches!(ended, Ok(Err(ProbeError::Connect(_)))), "{ended:?}");
}
