//! What a real S3 server does with what we ask.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at its first surprise")]

mod server;

use roadstead_bucket::{BucketError, Fault, Labels, Place, Section};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use server::{SECRET, Server};

const MIB: usize = 1024 * 1024;
const SECTION: Section = Section { name: "[backup.APP.bucket]", page: "docs/backups.md" };

/// A file whose every piece is another.
fn file(server: &Server, bytes: usize) -> (PathBuf, Vec<u8>) {
    let content: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|n| (n as u64).to_be_bytes()).take(bytes).collect();
    let path = server.folder.path().join("file");
    fs::write(&path, &content).unwrap();
    (path, content)
}

fn told(error: &BucketError) -> String {
    let told = format!("{error} {error:?} {}", error.hint(SECTION));
    assert!(!told.contains("canary"), "{told}");
    told
}

#[tokio::test]
async fn objects_come_and_go() {
    let server = Server::start();
    let bucket = server.bucket();
    bucket.look("erp/").await.unwrap();
    let (path, content) = file(&server, 70_001);
    let mut last = 0;
    bucket.put("erp/a b+c.age", &path, &mut |bytes| last = bytes).await.unwrap();
    assert_eq!((last, bucket.head("erp/a b+c.age").await.unwrap()), (70_001, Some(70_001)));
    let to = server.folder.path().join("back");
    bucket.get("erp/a b+c.age", &to, 70_001, &mut |bytes| last = bytes).await.unwrap();
    assert!(fs::read(&to).unwrap() == content && last == 70_001);
    assert_eq!(bucket.read("erp/a b+c.age", 70_001).await.unwrap().unwrap(), content);
    assert!(told(&bucket.read("erp/a b+c.age", 70_000).await.unwrap_err()).contains("larger than 70000 bytes"));
    let listed = bucket.list("erp/").await.unwrap();
    assert_eq!(listed.iter().map(|object| (object.key.as_str(), object.bytes)).collect::<Vec<_>>(), [("erp/a b+c.age", 70_001)]);
    assert!(listed[0].modified.starts_with("20"), "{listed:?}");
    bucket.delete("erp/a b+c.age").await.unwrap();
    bucket.delete("erp/a b+c.age").await.unwrap();
    assert_eq!(bucket.head("erp/a b+c.age").await.unwrap(), None);
    assert_eq!(bucket.read("erp/a b+c.age", 10).await.unwrap(), None);
    fs::write(&path, "").unwrap();
    bucket.put("erp/empty", &path, &mut |_| {}).await.unwrap();
    assert_eq!(bucket.read("erp/empty", 10).await.unwrap().unwrap(), b"");
    bucket.delete("erp/empty").await.unwrap();
}

#[tokio::test]
async fn a_list_goes_on_over_its_pages() {
    let server = Server::start();
    fs::create_dir(server.root().join("erp")).unwrap();
    for number in 0..2345 {
        fs::write(server.root().join(format!("erp/{number:04}")), "x").unwrap();
    }
    fs::write(server.root().join("other"), "x").unwrap();
    let mut keys: Vec<_> = server.bucket().list("erp/").await.unwrap().into_iter().map(|object| object.key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), keys[2344].as_str()), (2345, "erp/2344"));
}

#[tokio::test]
async fn a_large_file_goes_up_in_parts_and_comes_back_whole() {
    let server = Server::start();
    let (path, content) = file(&server, 50 * MIB + 17);
    let bucket = server.bucket();
    bucket.put("large", &path, &mut |_| {}).await.unwrap();
    assert_eq!(server.kept(), ["large"]);
    let to = server.folder.path().join("back");
    bucket.get("large", &to, content.len() as u64, &mut |_| {}).await.unwrap();
    assert!(fs::read(&to).unwrap() == content);
}

#[tokio::test]
async fn an_upload_that_is_called_off_leaves_nothing() {
    let server = Server::start();
    let (path, _) = file(&server, 80 * MIB);
    let cancelled = CancellationToken::new();
    let bucket = server.with(server.place(), SECRET, &cancelled);
    let error = bucket
        .put("large", &path, &mut |bytes| {
            if bytes > 20 * MIB as u64 {
                cancelled.cancel();
            }
        })
        .await
        .unwrap_err();
    assert!(matches!(error.fault, Fault::CalledOff), "{error}");
    assert_eq!(server.kept(), [""; 0]);
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back_is_gone_on_with() {
    let mut server = Server::start();
    let (path, content) = file(&server, 80 * MIB);
    let bucket = server.bucket();
    let mut restarted = false;
    bucket
        .put("large", &path, &mut |bytes| {
            if bytes > 20 * MIB as u64 && !restarted {
                restarted = true;
                server.kill();
                server.again();
            }
        })
        .await
        .unwrap();
    assert!(restarted);
    let to = server.folder.path().join("back");
    let (mut restarted, mut backwards, mut last) = (false, false, 0);
    bucket
        .get("large", &to, content.len() as u64, &mut |bytes| {
            backwards |= bytes < last;
            last = bytes;
            if bytes > 20 * MIB as u64 && !restarted {
                restarted = true;
                server.kill();
                server.again();
            }
        })
        .await
        .unwrap();
    assert!(restarted && !backwards, "what has come is not fetched again");
    assert!(fs::read(&to).unwrap() == content);
}

#[tokio::test]
async fn a_server_that_stays_away_is_told_in_time() {
    let mut server = Server::start();
    let (path, content) = file(&server, 80 * MIB);
    let bucket = server.bucket();
    let began = Instant::now();
    let mut kill = |bytes| {
        if bytes > 20 * MIB as u64 {
            server.kill();
        }
    };
    let said = told(&bucket.put("large", &path, &mut kill).await.unwrap_err());
    assert!(said.contains("cannot put s3://backups/large at localhost:") && said.contains("see whether the server runs"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(120));
    server.again();
    let bucket = server.bucket();
    let to = server.folder.path().join("back");
    fs::write(server.root().join("large"), &content).unwrap();
    let mut kill = |bytes| {
        if bytes > 20 * MIB as u64 {
            server.kill();
        }
    };
    told(&bucket.get("large", &to, content.len() as u64, &mut kill).await.unwrap_err());
    assert!(!to.exists(), "what is cut off does not stay");
}

#[tokio::test]
async fn an_object_of_another_size_is_refused() {
    let server = Server::start();
    fs::write(server.root().join("short"), vec![7; 1000]).unwrap();
    let (bucket, to) = (server.bucket(), server.folder.path().join("back"));
    for expected in [999, 1001] {
        let error = bucket.get("short", &to, expected, &mut |_| {}).await.unwrap_err();
        assert!(matches!(error.fault, Fault::Size { .. }) && !to.exists(), "{error}");
    }
}

#[tokio::test]
async fn what_is_refused_says_what_next() {
    let server = Server::start();
    let (path, _) = file(&server, 10);
    let stranger = server.with(server.place(), "canary-another", &CancellationToken::new());
    for error in [stranger.look("erp/").await.unwrap_err(), stranger.put("x", &path, &mut |_| {}).await.unwrap_err()] {
        let said = told(&error);
        assert!(said.contains("403 SignatureDoesNotMatch") && said.contains("`access-key` and `secret-key`"), "{said}");
    }
    let nowhere = server.with(Place { bucket: "nowhere".into(), ..server.place() }, SECRET, &CancellationToken::new());
    let said = told(&nowhere.look("erp/").await.unwrap_err());
    assert!(said.contains("NoSuchBucket") && said.contains("make the bucket"), "{said}");
    assert_eq!(server.kept(), [""; 0]);
}

fn labels() -> Labels {
    Labels::new("text/css; charset=utf-8", "public, max-age=31536000, immutable")
}

/// What the server notes beside an object.
fn noted(server: &Server) -> String {
    let all = fs::read_dir(server.folder.path().join("root")).unwrap().chain(fs::read_dir(server.root()).unwrap());
    let notes = all.map(|entry| entry.unwrap().path()).filter(|path| path.display().to_string().contains("metadata"));
    notes.map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[tokio::test]
async fn a_file_is_handed_out_as_it_was_said() {
    let server = Server::start();
    let bucket = server.bucket();
    for bytes in [0, 70_001, 17 * MIB] {
        let (path, content) = file(&server, bytes);
        let open = || fs::File::open(&path).unwrap();
        let mut last = 0;
        bucket.put_labelled("static/a b.css", open(), &path, &labels(), &mut |bytes| last = bytes).await.unwrap();
        assert_eq!((last, bucket.head("static/a b.css").await.unwrap()), (bytes as u64, Some(bytes as u64)));
        let noted = noted(&server);
        assert!(noted.contains("text/css; charset=utf-8") && noted.contains("public, max-age=31536000, immutable"), "{noted}");
        let to = server.folder.path().join("back");
        bucket.get("static/a b.css", &to, bytes as u64, &mut |_| {}).await.unwrap();
        assert!(fs::read(&to).unwrap() == content);
        // That of a large one is no sum of its contents; what came with it is.
        let tag = bucket.list("static/").await.unwrap().remove(0).tag;
        assert!(bucket.is_same("static/a b.css", &tag, open(), &path).await.unwrap());
        assert!(bucket.is_same("static/a b.css", "", open(), &path).await.unwrap());
        fs::write(&path, vec![1; bytes + 1]).unwrap();
        assert!(!bucket.is_same("static/a b.css", &tag, open(), &path).await.unwrap());
        assert!(!bucket.is_same("static/none", "", open(), &path).await.unwrap());
        bucket.delete("static/a b.css").await.unwrap();
    }
}

#[tokio::test]
async fn a_list_that_is_too_long_is_told() {
    let server = Server::start();
    fs::create_dir(server.root().join("erp")).unwrap();
    for number in 0..1001 {
        fs::write(server.root().join(format!("erp/{number:04}")), "x").unwrap();
    }
    let mut count = 0;
    server.bucket().visit("erp/", 2, &mut |_| count += 1).await.unwrap();
    assert_eq!(count, 1001);
    let said = told(&server.bucket().visit("erp/", 1, &mut |_| {}).await.unwrap_err());
    assert!(said.contains("more than 1000 objects"), "{said}");
}
