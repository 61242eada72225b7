//! What an analysis may be, and how its texts are filled in.

use super::*;

fn number(value: f64) -> Option<Number> {
    Some(Number::new(value).unwrap())
}

fn query() -> Query {
    Query {
        name: "errors".to_owned(),
        query: r#"sum(rate(errors_total{instance=~"$hosts:.*",path=~"/api.*$"}[1m]))"#.to_owned(),
        at_most: number(0.01),
        at_least: None,
        at_most_baseline: None,
        failures: 1,
        inconclusive: 5,
    }
}

fn front_page() -> Check {
    Check {
        name: "front page".to_owned(),
        url: "http://$host:8080/healthz?by=$host".to_owned(),
        status: 200,
        contains: Some("version $version, 5 $".to_owned()),
        failures: 1,
        inconclusive: 5,
    }
}

fn analysis() -> Analysis {
    Analysis {
        prometheus: Some("http://prometheus:9090".to_owned()),
        every: Millis::from_secs(15),
        queries: vec![query()],
        checks: vec![front_page()],
    }
}

#[test]
fn what_stands_for_something_is_filled_in_and_nothing_else() {
    assert_eq!(analysis().check(), Ok(()));
    assert_eq!(
        query().about(["web-1", "web-2.example.org"].into_iter()),
        r#"sum(rate(errors_total{instance=~"(web-1|web-2[.]example[.]org):.*",path=~"/api.*$"}[1m]))"#
    );
    assert_eq!(front_page().url_of("web-1"), "http://web-1:8080/healthz?by=web-1");
    assert_eq!(front_page().text_of("1.2.0").unwrap(), "version 1.2.0, 5 $");
    assert_eq!(filled("$hosts $host $$host $1 $", "host", "x"), "$hosts x $x $1 $");
}

#[test]
fn bounds_are_told_in_words() {
    let all = Query { at_least: number(0.0), at_most_baseline: number(1.5), ..query() };
    assert_eq!(all.to_string(), "at least 0 and at most 0.01 and at most 1.5 × the baseline");
    assert_eq!(front_page().to_string(), "200 with \"version $version, 5 $\" from http://$host:8080/healthz?by=$host");
}

#[test]
fn what_could_not_judge_is_refused() {
    let told = |analysis: Analysis| analysis.check().unwrap_err().to_string();
    let of = |query: Query| told(Analysis { queries: vec![query], ..analysis() });
    let by = |check: Check| told(Analysis { checks: vec![check], ..analysis() });
    let none = Analysis { prometheus: None, queries: vec![], checks: vec![], ..analysis() };
    assert_eq!(told(none.clone()), "analysis without queries and checks judges nothing: leave the section out");
    assert!(told(Analysis { prometheus: None, ..analysis() }).contains("prometheus = "));
    assert_eq!(told(Analysis { queries: vec![], ..analysis() }), "prometheus is never asked: there are no queries");
    assert_eq!(Analysis { checks: vec![front_page()], ..none }.check(), Ok(()), "checks need no server");
    assert!(told(Analysis { prometheus: Some("prometheus:9090".into()), ..analysis() }).starts_with("prometheus: \"prometheus:9090\" is"));
    let secret = told(Analysis { prometheus: Some("https://ada:secret@prometheus".into()), ..analysis() });
    assert!(secret.contains("must not carry a user") && !secret.contains("secret"), "{secret}");
    for every in [Millis(0), Millis(999), Millis(limits::SPAN_MAX.0 + 1)] {
        assert!(told(Analysis { every, ..analysis() }).starts_with("every = "));
    }
    assert_eq!(
        told(Analysis { queries: vec![query(); limits::ANALYSIS_MAX + 1], ..analysis() }),
        "queries are more than an analysis has of them (20)"
    );
    assert!(told(Analysis { queries: vec![query(), query()], ..analysis() }).contains("\"errors\" is the name of two"));
    assert!(by(Check { name: "errors".into(), ..front_page() }).contains("the name of two"));
    for name in ["", " errors", "a\nb", &"a".repeat(61)] {
        assert!(of(Query { name: name.into(), ..query() }).contains("is no name"), "{name:?}");
    }
    assert!(of(Query { at_most: None, ..query() }).starts_with("errors: nothing says what its value may be"));
    assert_eq!(of(Query { at_least: number(0.02), ..query() }), "errors: no value is at least 0.02 and at most 0.01");
    assert!(of(Query { at_most_baseline: number(0.0), ..query() }).contains("more than 0"));
    assert!(of(Query { query: "up".into(), ..query() }).contains("does not name $hosts"));
    assert_eq!(of(Query { query: "up{a=~\"$hosts|$host\"}".into(), ..query() }), "errors: $host stands for nothing here: known is $hosts");
    assert!(of(Query { query: String::new(), ..query() }).contains("1 to 4096 bytes"));
    assert!(of(Query { failures: 0, ..query() }).contains("failures = 0"));
    assert!(of(Query { inconclusive: 0, ..query() }).contains("inconclusive = 0"));
    assert!(by(Check { inconclusive: limits::IN_A_ROW_MAX + 1, ..front_page() }).contains("inconclusive = 1001"));
    assert!(by(Check { url: "http://web-1/".into(), ..front_page() }).contains("does not name $host"));
    for elsewhere in ["http://169.254.169.254/?$host", "http://db.$host/", "http://127.0.0.1:9200/$host"] {
        assert!(by(Check { url: elsewhere.into(), ..front_page() }).contains("does not name $host as who is asked"), "{elsewhere}");
    }
    assert!(by(Check { url: "ftp://$host/".into(), ..front_page() }).contains("no address to ask"));
    assert!(by(Check { url: "http://a:b@$host/".into(), ..front_page() }).contains("must not carry a user"));
    assert!(by(Check { url: "http://$host/$path".into(), ..front_page() }).contains("$path stands for nothing here"));
    assert!(by(Check { status: 99, ..front_page() }).contains("status = 99"));
    assert!(by(Check { contains: Some(String::new()), ..front_page() }).contains("1 to 1024 bytes"));
    assert!(by(Check { contains: Some("$release".into()), ..front_page() }).contains("known is $version"));
}

#[test]
fn what_was_written_down_is_read_as_the_same() {
    let stored = serde_json::to_string(&analysis()).unwrap();
    assert_eq!(serde_json::from_str::<Analysis>(&stored).unwrap(), analysis());
    assert!(serde_json::from_str::<Analysis>(r#"{"querys":[]}"#).is_err());
}
