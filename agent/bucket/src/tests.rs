#![allow(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::time::Duration;

use crate::client::{Object, Page};
use crate::fault::{BucketError, Fault, Section, told};
use crate::transfer::part_of;

const MIB: u64 = 1024 * 1024;
const SECTION: Section = Section { name: "[backup.APP.bucket]", page: "docs/backups.md" };

#[test]
fn no_file_has_more_parts_than_s3_takes() {
    for (bytes, part) in [(17 * MIB, 16 * MIB), (160_000 * MIB, 16 * MIB), (160_000 * MIB + 1, 17 * MIB), (5 << 40, 525 * MIB)] {
        assert_eq!(part_of(bytes), part);
        assert!(bytes.div_ceil(part_of(bytes)) <= 10_000);
    }
}

#[test]
fn a_page_says_what_is_there_and_where_it_goes_on() {
    let page = Page::read(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>\
         <IsTruncated>true</IsTruncated><NextContinuationToken>1ueG/x==</NextContinuationToken><Contents><Key>erp/a</Key>\
         <LastModified>2026-11-27T19:00:00.000Z</LastModified><ETag>&quot;x&quot;</ETag><Size>12</Size></Contents></ListBucketResult>",
    );
    let object = Object { key: "erp/a".into(), bytes: 12, modified: "2026-11-27T19:00:00.000Z".into(), tag: "x".into() };
    assert_eq!(page.unwrap(), Page { objects: vec![object], next: Some("1ueG/x==".into()) });
    let last = Page::read("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>").unwrap();
    assert_eq!(last, Page { objects: vec![], next: None });
    for bad in [
        "<html>welcome</html>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
    ] {
        assert!(matches!(Page::read(bad).unwrap_err(), Fault::Malformed(_)), "{bad}");
    }
}

#[test]
fn when_an_object_came_is_compared() {
    let is_before =
        |modified: &str, seconds| Object { key: String::new(), bytes: 0, modified: modified.into(), tag: String::new() }.is_before(seconds);
    // 2024-02-29T23:59:59Z
    let at = 1_709_251_199;
    for (modified, before) in [
        ("2024-02-29T23:59:58.999Z", true),
        ("2024-02-29T23:59:59.000Z", false),
        ("2024-03-01T00:00:00Z", false),
        ("2023-12-31T23:59:59Z", true),
        ("", false),
        ("yesterday, it was", false),
        ("1x23-12-31T23:59:59Z", false),
    ] {
        assert_eq!(is_before(modified, at), before, "{modified}");
    }
}

fn refused(status: u16, code: &str, message: &str) -> Fault {
    Fault::Refused { status, code: code.into(), message: told(message) }
}

/// What people read when it does not work.
#[test]
fn errors_say_what_where_why_and_what_next() {
    let connect = roadstead_http::Fault::Connect { address: "10.0.0.9:443".into(), why: "Connection refused (os error 111)".into() };
    let name = roadstead_http::Fault::Name { name: "s3.example.org".into(), why: "none is known".into() };
    let faults = [
        Fault::Connection(connect),
        Fault::Connection(name),
        Fault::Connection(roadstead_http::Fault::Tls("invalid peer certificate: UnknownIssuer".into())),
        Fault::Connection(roadstead_http::Fault::Idle(Duration::from_secs(60))),
        Fault::TooLong(60),
        refused(404, "NoSuchBucket", "The specified bucket does not exist"),
        refused(403, "SignatureDoesNotMatch", "The request signature we calculated does not match"),
        refused(403, "AccessDenied", "Access Denied"),
        refused(403, "RequestTimeTooSkewed", "The difference is too large"),
        refused(400, "ExpiredToken", "The provided token has expired."),
        refused(301, "PermanentRedirect", "The bucket must be addressed using the specified endpoint"),
        refused(503, "SlowDown", "Please reduce your request rate."),
        refused(418, "", "\u{1b}[31m a   page\nof a proxy"),
        refused(507, "XMinioStorageFull", &"no room ".repeat(100)),
        Fault::Malformed("it is no list"),
        Fault::Size { there: 1000, expected: 70_001 },
        Fault::CalledOff,
    ];
    let doing = "put s3://backups/erp/x.dump.age at s3.example.org";
    let lines = faults.into_iter().map(|fault| {
        let (again, error) = (fault.is_transient(), BucketError { doing: doing.into(), fault });
        format!("{error}\n  {}\n  tried again: {again}\n", error.hint(SECTION))
    });
    insta::assert_snapshot!(lines.collect::<String>());
}
