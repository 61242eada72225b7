//! Against a socket that says what a test tells it to say.

use super::*;
use tokio::net::UnixListener;

/// What comes back, and whether the connection is closed behind it.
#[derive(Clone, Copy)]
enum Answer {
    Says(&'static [u8]),
    SaysAndStays(&'static [u8]),
    Endless,
}

struct Fake {
    _folder: tempfile::TempDir,
    client: Client,
}

fn fake(answer: Answer) -> Fake {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut command = vec![0; 256];
            let read = stream.read(&mut command).await.unwrap();
            assert!(command[..read].ends_with(b"\n"));
            match answer {
                Answer::Says(bytes) => stream.write_all(bytes).await.unwrap(),
                Answer::SaysAndStays(bytes) => {
                    stream.write_all(bytes).await.unwrap();
                    kept.push(stream);
                }
                Answer::Endless => while stream.write_all(&[b'x'; 65_536]).await.is_ok() {},
            }
        }
    });
    Fake { client: Client::new(path), _folder: folder }
}

async fn tell(answer: Answer) -> Result<(), HaProxyError> {
    fake(answer).client.tell("set server erp/w1 state drain").await
}

async fn table(answer: Answer) -> Result<String, HaProxyError> {
    fake(answer).client.table("show stat erp 4 -1").await
}

#[tokio::test]
async fn nothing_is_yes_and_anything_else_is_no() {
    tell(Answer::Says(b"\n")).await.unwrap();
    let refused = tell(Answer::Says(b"No such server.\n\n")).await.unwrap_err();
    assert_eq!(refused.to_string(), "HAProxy does not take 'set server erp/w1 state drain': No such server.");
    assert!(refused.failure().hint.contains("`servers`"));
    let refused = tell(Answer::Says(b"Permission denied\n\n")).await.unwrap_err().failure();
    assert!(refused.hint.contains("level admin"), "{refused:?}");
    let refused = tell(Answer::Says(b"No such backend.\n\n")).await.unwrap_err().failure();
    assert!(refused.hint.contains("`backend`"), "{refused:?}");
    let refused = tell(Answer::Says(b"\x1b[2J\xff\x00 rubbish\n")).await.unwrap_err().to_string();
    assert!(refused.ends_with("[2J\u{fffd} rubbish"), "{refused:?}");
}

#[tokio::test]
async fn a_table_is_whole_or_none() {
    assert_eq!(table(Answer::Says(b"# pxname,svname\nerp,w1\n\n")).await.unwrap(), "# pxname,svname\nerp,w1\n\n");
    assert!(matches!(table(Answer::Says(b"# pxname,svname\nerp,w1\n")).await, Err(HaProxyError::Cut { .. })));
    assert!(matches!(table(Answer::Says(b"# pxname,svna")).await, Err(HaProxyError::Cut { .. })));
    assert!(matches!(table(Answer::Says(b"")).await, Err(HaProxyError::Refused { .. })));
    assert!(matches!(tell(Answer::Says(b"")).await, Err(HaProxyError::Cut { .. })), "it went away before it answered");
    let refused = table(Answer::Says(b"No such proxy.\n\n")).await.unwrap_err().failure();
    assert!(refused.hint.contains("`backend`"), "{refused:?}");
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    assert!(matches!(tell(Answer::Endless).await, Err(HaProxyError::Huge { .. })));
}

#[tokio::test(start_paused = true)]
async fn silence_is_waited_out_for_a_while() {
    for answer in [Answer::SaysAndStays(b""), Answer::SaysAndStays(b"# pxname,svname\n")] {
        let error = table(answer).await.unwrap_err();
        assert!(matches!(error, HaProxyError::Silent { .. }), "{error}");
        assert_eq!(error.failure().kind, FailureKind::Deadline);
    }
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.sock");
    let failure = Client::new(path.clone()).ask("show stat").await.unwrap_err().failure();
    assert!(failure.summary.contains("none.sock") && failure.hint.contains("stats socket"), "{failure:?}");
    // Left behind by one that died.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(matches!(Client::new(path).ask("show stat").await, Err(HaProxyError::Unreachable { .. })));
}
