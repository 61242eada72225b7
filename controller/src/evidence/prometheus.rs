//! Prometheus' HTTP API, as far as a query needs it: one instant query, one number.

use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write as _;

/// Words of a server that are told.
const TOLD_CHARACTERS: usize = 300;

/// A query as a form.
pub(super) fn form(query: &str) -> String {
    let mut form = String::from("query=");
    for byte in query.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => form.push(char::from(byte)),
            _ => {
                let _infallible = write!(form, "%{byte:02X}");
            }
        }
    }
    form
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    #[serde(rename = "errorType", default)]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: Value,
}

/// A series of an answer: a number, or a histogram.
#[derive(Deserialize)]
struct Series {
    value: Option<Sample>,
}

/// When, and how much.
#[derive(Deserialize)]
struct Sample(#[expect(dead_code, reason = "the server's clock is not asked")] f64, String);

/// The one number in an answer; or why there is none. An answer with warnings may hold a part of the data only: that is no number.
pub(super) fn number(status: u16, body: &[u8]) -> Result<f64, String> {
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        return Err(format!("the metrics server answers {status} with something that is not Prometheus' API"));
    };
    let Answer { status: word, data, error_type, error, warnings } = answer;
    if word != "success" {
        return Err(told(&format!("the metrics server refuses the query ({error_type}): {error}")));
    }
    if let Some(first) = warnings.first() {
        return Err(told(&format!("the metrics server warns: {first}")));
    }
    let Some(Data { kind, result }) = data else { return Err("the metrics server answers without data".to_owned()) };
    match kind.as_str() {
        "scalar" => serde_json::from_value(result).map_err(|_| malformed()).and_then(value),
        "vector" => one(serde_json::from_value(result).map_err(|_| malformed())?),
        kind => Err(told(&format!("the query gives a {kind}, not a number"))),
    }
}

fn one(series: Vec<Series>) -> Result<f64, String> {
    let count = series.len();
    match <[Series; 1]>::try_from(series) {
        Ok([Series { value: Some(sample) }]) => value(sample),
        Ok([Series { value: None }]) => Err("the query gives a histogram, not a number".to_owned()),
        Err(_) if count == 0 => Err("the query finds nothing".to_owned()),
        Err(_) => Err(format!("the query gives {count} series, not one number: aggregate it, such as with sum()")),
    }
}

fn value(Sample(_, text): Sample) -> Result<f64, String> {
    text.parse().map_err(|_| malformed())
}

fn malformed() -> String {
    "the metrics server's answer is not as Prometheus' API has it".to_owned()
}

fn told(text: &str) -> String {
    text.chars().take(TOLD_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, proptest};
    use serde_json::json;

    fn of(answer: &Value) -> Result<f64, String> {
        number(200, answer.to_string().as_bytes())
    }

    fn vector(result: &Value) -> Value {
        json!({ "status": "success", "data": { "resultType": "vector", "result": result } })
    }

    #[test]
    fn a_query_is_sent_as_it_is() {
        assert_eq!(
            form("sum(rate(a{b=~\"x|y\"}[1m])) + 1 > ä"),
            "query=sum%28rate%28a%7Bb%3D~%22x%7Cy%22%7D%5B1m%5D%29%29%20%2B%201%20%3E%20%C3%A4"
        );
    }

    #[test]
    fn one_number_is_read() {
        let series = |value: &str| vector(&json!([{ "metric": { "job": "erp" }, "value": [1_435_781_451.781_f64, value] }]));
        assert_eq!(of(&series("0.0512")), Ok(0.0512));
        assert_eq!(of(&series("1e-3")), Ok(0.001));
        assert!(of(&series("NaN")).unwrap().is_nan() && of(&series("+Inf")).unwrap().is_infinite(), "what they mean is judged elsewhere");
        assert_eq!(of(&json!({ "status": "success", "data": { "resultType": "scalar", "result": [1, "3"] } })), Ok(3.0));
    }

    #[test]
    fn everything_else_is_no_number_and_says_why() {
        assert_eq!(of(&vector(&json!([]))).unwrap_err(), "the query finds nothing");
        let two = json!([{ "metric": {}, "value": [1, "1"] }, { "metric": {}, "value": [1, "2"] }]);
        assert_eq!(of(&vector(&two)).unwrap_err(), "the query gives 2 series, not one number: aggregate it, such as with sum()");
        assert!(of(&vector(&json!([{ "metric": {}, "histogram": [1, {}] }]))).unwrap_err().contains("a histogram"));
        let matrix = json!({ "status": "success", "data": { "resultType": "matrix", "result": [] } });
        assert_eq!(of(&matrix).unwrap_err(), "the query gives a matrix, not a number");
        let error = json!({ "status": "error", "errorType": "bad_data", "error": "1:5: parse error: unexpected end of input" });
        assert_eq!(
            number(400, error.to_string().as_bytes()).unwrap_err(),
            "the metrics server refuses the query (bad_data): 1:5: parse error: unexpected end of input"
        );
        let mut warned = vector(&json!([{ "metric": {}, "value": [1, "1"] }]));
        warned["warnings"] = json!(["store eu-2 is away"]);
        assert_eq!(of(&warned).unwrap_err(), "the metrics server warns: store eu-2 is away");
        warned["warnings"] = json!([]);
        warned["infos"] = json!(["PromQL info: metric might not be a counter"]);
        assert_eq!(of(&warned), Ok(1.0));
        assert_eq!(
            number(502, b"<html>bad gateway").unwrap_err(),
            "the metrics server answers 502 with something that is not Prometheus' API"
        );
        assert_eq!(of(&json!({ "status": "success" })).unwrap_err(), "the metrics server answers without data");
        for strange in [json!("1"), json!([{ "value": [1, 2] }]), json!([{ "value": ["x", "1"] }]), json!([{ "value": [1, "one"] }])] {
            assert_eq!(of(&vector(&strange)).unwrap_err(), malformed(), "{strange}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_number_or_a_reason(status in any::<u16>(), body in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Err(why) = number(status, &body) {
                assert!(!why.is_empty() && why.chars().count() <= TOLD_CHARACTERS);
            }
        }
    }
}
