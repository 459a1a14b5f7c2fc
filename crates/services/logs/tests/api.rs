//! The service through the gateway: awsJson in, awsJson out.

use std::sync::Arc;

use base::{ManualClock, Scope, SeededIds, SystemClock, Timestamp};
use bytes::Bytes;
use logs::Logs;
use logs::storage::Sync;
use serde_json::{Value, json};
use store::{Options, Store};
use wire::{Authentication, Gateway, GatewaySettings, RootAndNodes};

const NOW: i64 = 1_790_000_000_000;
const DAY: i64 = 24 * 3600 * 1000;

struct Service {
    gateway: Gateway,
    logs: Arc<Logs>,
    clock: Arc<ManualClock>,
    _directory: tempfile::TempDir,
}

impl Service {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::ephemeral(store::rows::register(Options::ephemeral()));
        let logs = Logs::open(store, directory.path(), Sync::default(), Arc::new(SeededIds::new(1))).unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(NOW)));
        let gateway = Gateway::new(GatewaySettings {
            tables: vec![logs.table()],
            authentication: Authentication::Any,
            authorizer: Arc::new(RootAndNodes),
            clock: clock.clone(),
            ids: Arc::new(SeededIds::new(2)),
            default_scope: Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap()),
            endpoint: "http://127.0.0.1:4566".into(),
        });
        Self { gateway, logs, clock, _directory: directory }
    }

    async fn try_call(&self, operation: &str, input: Value) -> Result<Value, (String, String)> {
        let request = http::Request::post("http://127.0.0.1:4566/")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Logs_20140328.{operation}"))
            .body(Bytes::from(input.to_string()))
            .unwrap();
        let response = self.gateway.call(request, None).await;
        let body: Value = match response.body().as_ref() {
            b"" => json!({}),
            bytes => serde_json::from_slice(bytes).unwrap(),
        };
        if response.status() == 200 {
            return Ok(body);
        }
        let code = body["__type"].as_str().unwrap().rsplit('#').next().unwrap().to_owned();
        let message = body["message"].as_str().or(body["Message"].as_str()).unwrap().to_owned();
        Err((code, message))
    }

    async fn call(&self, operation: &str, input: Value) -> Value {
        self.try_call(operation, input).await.unwrap_or_else(|error| panic!("{operation}: {error:?}"))
    }

    async fn refused(&self, operation: &str, input: Value) -> (String, String) {
        self.try_call(operation, input).await.expect_err(operation)
    }

    /// A group `g` with the streams.
    async fn with_streams(streams: &[&str]) -> Self {
        let service = Self::new();
        service.call("CreateLogGroup", json!({"logGroupName": "g"})).await;
        for stream in streams {
            service.call("CreateLogStream", json!({"logGroupName": "g", "logStreamName": stream})).await;
        }
        service
    }

    async fn put(&self, stream: &str, events: &[(i64, &str)]) -> Value {
        let events: Vec<_> =
            events.iter().map(|(at, message)| json!({"timestamp": NOW + at, "message": message})).collect();
        self.call("PutLogEvents", json!({"logGroupName": "g", "logStreamName": stream, "logEvents": events}))
            .await
    }
}

fn messages(answer: &Value) -> Vec<&str> {
    answer["events"].as_array().unwrap().iter().map(|event| event["message"].as_str().unwrap()).collect()
}

fn names<'a>(answer: &'a Value, list: &str, member: &str) -> Vec<&'a str> {
    answer[list].as_array().unwrap().iter().map(|item| item[member].as_str().unwrap()).collect()
}

fn fault(code: &str, message: &str) -> (String, String) {
    (code.to_owned(), message.to_owned())
}

#[tokio::test]
async fn groups_are_made_described_and_deleted() {
    let service = Service::new();
    service
        .call("CreateLogGroup", json!({"logGroupName": "/ecs/a", "tags": {"team": "x"}, "kmsKeyId": "k"}))
        .await;
    let group = &service.call("DescribeLogGroups", json!({})).await["logGroups"][0];
    assert_eq!(
        group,
        &json!({
            "logGroupName": "/ecs/a",
            "creationTime": NOW,
            "metricFilterCount": 0,
            "arn": "arn:aws:logs:us-east-1:000000000000:log-group:/ecs/a:*",
            "logGroupArn": "arn:aws:logs:us-east-1:000000000000:log-group:/ecs/a",
            "storedBytes": 0,
            "kmsKeyId": "k",
            "logGroupClass": "STANDARD",
            "deletionProtectionEnabled": false,
        })
    );
    assert_eq!(
        service.refused("CreateLogGroup", json!({"logGroupName": "/ecs/a"})).await,
        fault("ResourceAlreadyExistsException", "The specified log group already exists")
    );
    service.call("DeleteLogGroup", json!({"logGroupName": "/ecs/a"})).await;
    let missing = fault("ResourceNotFoundException", "The specified log group does not exist.");
    assert_eq!(service.refused("DeleteLogGroup", json!({"logGroupName": "/ecs/a"})).await, missing);
    assert_eq!(
        service.refused("CreateLogStream", json!({"logGroupName": "/ecs/a", "logStreamName": "s"})).await,
        missing
    );
    for bad in [
        json!({}),
        json!({"logGroupName": ""}),
        json!({"logGroupName": "a b"}),
        json!({"logGroupName": "aws/x"}),
    ] {
        assert_eq!(service.refused("CreateLogGroup", bad).await.0, "InvalidParameterException");
    }
    service.call("CreateLogGroup", json!({"logGroupName": "p", "deletionProtectionEnabled": true})).await;
    assert_eq!(
        service.refused("DeleteLogGroup", json!({"logGroupName": "p"})).await.0,
        "ValidationException"
    );
}

#[tokio::test]
async fn groups_are_listed_by_prefix_pattern_and_page() {
    let service = Service::new();
    for index in 0..60 {
        let name = format!("/ecs/{}{index:02}", if index % 2 == 0 { "even" } else { "odd" });
        service.call("CreateLogGroup", json!({"logGroupName": name})).await;
    }
    let first = service.call("DescribeLogGroups", json!({})).await;
    assert_eq!(first["logGroups"].as_array().unwrap().len(), 50);
    let second = service.call("DescribeLogGroups", json!({"nextToken": first["nextToken"]})).await;
    assert_eq!(second["logGroups"].as_array().unwrap().len(), 10);
    assert!(second["nextToken"].is_null());
    let odd = service.call("DescribeLogGroups", json!({"logGroupNamePrefix": "/ecs/odd", "limit": 2})).await;
    assert_eq!(names(&odd, "logGroups", "logGroupName"), ["/ecs/odd01", "/ecs/odd03"]);
    let pattern = service.call("DescribeLogGroups", json!({"logGroupNamePattern": "n1"})).await;
    assert_eq!(names(&pattern, "logGroups", "logGroupName").len(), 5);
    assert_eq!(pattern["logGroups"][0].as_object().unwrap().len(), 3);
    let two = json!({"logGroupIdentifiers": ["/ecs/odd01", "arn:aws:logs:us-east-1:000000000000:log-group:/ecs/even00"]});
    assert_eq!(service.call("DescribeLogGroups", two).await["logGroups"].as_array().unwrap().len(), 2);
    for bad in [
        json!({"logGroupNamePrefix": "a", "logGroupNamePattern": "b"}),
        json!({"nextToken": "nonsense"}),
        json!({"limit": 51}),
    ] {
        assert_eq!(service.refused("DescribeLogGroups", bad).await.0, "InvalidParameterException");
    }
    let elsewhere = http::Request::post("http://127.0.0.1:4566/")
        .header("x-amz-target", "Logs_20140328.DescribeLogGroups")
        .header("authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/logs/aws4_request, SignedHeaders=host, Signature=00")
        .header("x-amz-date", "20260101T000000Z")
        .body(Bytes::from("{}"))
        .unwrap();
    let response = service.gateway.call(elsewhere, None).await;
    assert_eq!(response.body(), r#"{"logGroups":[]}"#, "another region");
}

#[tokio::test]
async fn retention_has_awss_values_and_hides_what_is_older() {
    let service = Service::with_streams(&["s"]).await;
    service.put("s", &[(-3 * DAY, "old"), (-3 * DAY + 1, "old too")]).await;
    service.put("s", &[(0, "new")]).await;
    let odd = json!({"logGroupName": "g", "retentionInDays": 2});
    let (code, message) = service.refused("PutRetentionPolicy", odd).await;
    assert_eq!(code, "InvalidParameterException");
    assert!(
        message.contains(
            "'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: [1, 3, 5,"
        ),
        "{message}"
    );
    service.call("PutRetentionPolicy", json!({"logGroupName": "g", "retentionInDays": 1})).await;
    assert_eq!(service.call("DescribeLogGroups", json!({})).await["logGroups"][0]["retentionInDays"], 1);
    let get = json!({"logGroupName": "g", "logStreamName": "s"});
    assert_eq!(messages(&service.call("GetLogEvents", get.clone()).await), ["new"]);
    assert_eq!(messages(&service.call("FilterLogEvents", json!({"logGroupName": "g"})).await), ["new"]);
    let expired = service.put("s", &[(-2 * DAY, "expired"), (0, "fine")]).await;
    assert_eq!(expired["rejectedLogEventsInfo"], json!({"expiredLogEventEndIndex": 1}));
    service.call("DeleteRetentionPolicy", json!({"logGroupName": "g"})).await;
    assert_eq!(messages(&service.call("GetLogEvents", get.clone()).await), ["old", "old too", "new", "fine"]);
    service.call("PutRetentionPolicy", json!({"logGroupName": "g", "retentionInDays": 7})).await;
    service.clock.advance_millis(5 * DAY);
    service.put("s", &[(5 * DAY, "later")]).await;
    service.logs.expire(Timestamp::from_millis(NOW + 8 * DAY)).await.unwrap();
    service.call("DeleteRetentionPolicy", json!({"logGroupName": "g"})).await;
    assert_eq!(
        messages(&service.call("GetLogEvents", get).await),
        ["later"],
        "the segment of the first day is gone"
    );
}

#[tokio::test]
async fn streams_are_made_listed_and_deleted() {
    let service = Service::with_streams(&["b", "a", "c/1", "c/2"]).await;
    let stream = json!({"logGroupName": "g", "logStreamName": "a"});
    assert_eq!(
        service.refused("CreateLogStream", stream.clone()).await,
        fault("ResourceAlreadyExistsException", "The specified log stream already exists")
    );
    service.put("b", &[(5, "x"), (9, "y")]).await;
    service.put("a", &[(7, "z")]).await;
    let list = |more: Value| {
        let mut input = json!({"logGroupName": "g"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        service.call("DescribeLogStreams", input)
    };
    let all = list(json!({})).await;
    assert_eq!(names(&all, "logStreams", "logStreamName"), ["a", "b", "c/1", "c/2"]);
    let b = &all["logStreams"][1];
    assert_eq!((&b["firstEventTimestamp"], &b["lastEventTimestamp"]), (&json!(NOW + 5), &json!(NOW + 9)));
    assert_eq!(b["lastIngestionTime"], NOW);
    assert_eq!(b["arn"], "arn:aws:logs:us-east-1:000000000000:log-group:g:log-stream:b");
    assert_eq!(b["uploadSequenceToken"].as_str().unwrap().len(), 56);
    assert_eq!(b["storedBytes"], 0);
    assert!(all["logStreams"][2]["firstEventTimestamp"].is_null());
    let prefix = list(json!({"logStreamNamePrefix": "c/", "descending": true})).await;
    assert_eq!(names(&prefix, "logStreams", "logStreamName"), ["c/2", "c/1"]);
    let mut by_time = Vec::new();
    let mut token = Value::Null;
    loop {
        let mut input = json!({"orderBy": "LastEventTime", "descending": true, "limit": 1});
        if !token.is_null() {
            input["nextToken"] = token;
        }
        let page = list(input).await;
        by_time.extend(names(&page, "logStreams", "logStreamName").into_iter().map(str::to_owned));
        token = page["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(by_time, ["b", "a", "c/2", "c/1"]);
    let both = json!({"logGroupName": "g", "orderBy": "LastEventTime", "logStreamNamePrefix": "c"});
    assert_eq!(
        service.refused("DescribeLogStreams", both).await,
        fault("InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix.")
    );
    service.call("DeleteLogStream", json!({"logGroupName": "g", "logStreamName": "b"})).await;
    let missing = fault("ResourceNotFoundException", "The specified log stream does not exist.");
    for operation in ["DeleteLogStream", "GetLogEvents"] {
        assert_eq!(
            service.refused(operation, json!({"logGroupName": "g", "logStreamName": "b"})).await,
            missing
        );
    }
    service.call("CreateLogStream", json!({"logGroupName": "g", "logStreamName": "b"})).await;
    let anew = service.call("GetLogEvents", json!({"logGroupName": "g", "logStreamName": "b"})).await;
    assert!(messages(&anew).is_empty(), "a stream made anew has none of the old events");
}

#[tokio::test]
async fn events_are_paged_in_both_directions_with_awss_tokens() {
    let service = Service::with_streams(&["s"]).await;
    let texts: Vec<_> = (0..10).map(|index| index.to_string()).collect();
    let events: Vec<_> = texts.iter().enumerate().map(|(at, text)| (at as i64, text.as_str())).collect();
    service.put("s", &events).await;
    let get = |more: Value| {
        let mut input = json!({"logGroupName": "g", "logStreamName": "s", "limit": 4});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        service.call("GetLogEvents", input)
    };
    let newest = get(json!({})).await;
    assert_eq!(messages(&newest), ["6", "7", "8", "9"]);
    let token = newest["nextForwardToken"].as_str().unwrap();
    assert!(token.starts_with("f/") && token.ends_with("/s") && token.len() == 60, "{token}");
    let end = get(json!({"nextToken": token})).await;
    assert!(messages(&end).is_empty());
    assert_eq!(end["nextForwardToken"], token, "at the end the same token comes back");
    let turned = get(json!({"nextToken": end["nextBackwardToken"]})).await;
    assert_eq!(messages(&turned), ["6", "7", "8", "9"]);
    service.put("s", &[(9, "more")]).await;
    assert_eq!(messages(&get(json!({"nextToken": token})).await), ["more"], "a poller sees what came since");
    let older = get(json!({"nextToken": newest["nextBackwardToken"]})).await;
    assert_eq!(messages(&older), ["2", "3", "4", "5"]);
    let oldest = get(json!({"nextToken": older["nextBackwardToken"]})).await;
    assert_eq!(messages(&oldest), ["0", "1"]);
    let start = get(json!({"nextToken": oldest["nextBackwardToken"]})).await;
    assert!(messages(&start).is_empty());
    assert_eq!(start["nextBackwardToken"], oldest["nextBackwardToken"]);
    assert_eq!(messages(&get(json!({"nextToken": start["nextForwardToken"]})).await), ["0", "1", "2", "3"]);
    let head = get(json!({"startFromHead": true})).await;
    assert_eq!(messages(&head), ["0", "1", "2", "3"]);
    assert_eq!(
        messages(&get(json!({"nextToken": head["nextForwardToken"], "startFromHead": true})).await),
        ["4", "5", "6", "7"]
    );
    let range = get(json!({"startTime": NOW + 3, "endTime": NOW + 5})).await;
    assert_eq!(messages(&range), ["3", "4"], "the end is not included");
    assert_eq!(range["events"][0], json!({"timestamp": NOW + 3, "message": "3", "ingestionTime": NOW}));
    for token in ["x", "f/1/s", "f/", "b/zzz/s", "é/"] {
        let input = json!({"logGroupName": "g", "logStreamName": "s", "nextToken": token});
        assert_eq!(
            service.refused("GetLogEvents", input).await,
            fault("InvalidParameterException", "The specified nextToken is invalid.")
        );
    }
    let empty = Service::with_streams(&["s"]).await;
    let nothing = empty.call("GetLogEvents", json!({"logGroupName": "g", "logStreamName": "s"})).await;
    empty.put("s", &[(0, "first")]).await;
    let first = json!({"logGroupName": "g", "logStreamName": "s", "nextToken": nothing["nextForwardToken"]});
    assert_eq!(messages(&empty.call("GetLogEvents", first).await), ["first"]);
}

#[tokio::test]
async fn a_put_keeps_awss_limits() {
    let service = Service::with_streams(&["s"]).await;
    let answer = service.put("s", &[(-15 * DAY, "old"), (0, "fine"), (3 * 3600 * 1000, "new")]).await;
    assert_eq!(
        answer["rejectedLogEventsInfo"],
        json!({"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2})
    );
    let get = json!({"logGroupName": "g", "logStreamName": "s"});
    assert_eq!(messages(&service.call("GetLogEvents", get).await), ["fine"]);
    let put = |events: Value| {
        service
            .refused("PutLogEvents", json!({"logGroupName": "g", "logStreamName": "s", "logEvents": events}))
    };
    let event = |at: i64, message: &str| json!({"timestamp": NOW + at, "message": message});
    let order = put(json!([event(1, "a"), event(0, "b")])).await;
    assert_eq!(order.1, "Log events in a single PutLogEvents request must be in chronological order.");
    let span = put(json!([event(-DAY - 1, "a"), event(0, "b")])).await;
    assert_eq!(
        span.1,
        "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
    );
    let large = put(json!([event(0, &"x".repeat(1_048_576))])).await;
    assert!(large.1.starts_with("Log event too large"), "{}", large.1);
    for bad in [
        json!([]),
        json!([{"timestamp": NOW}]),
        json!([{"message": "x"}]),
        json!([event(0, "")]),
        json!([event(-2 * NOW, "x")]),
    ] {
        assert_eq!(put(bad).await.0, "InvalidParameterException");
    }
    let elsewhere = json!({"logGroupName": "g", "logStreamName": "t", "logEvents": [event(0, "x")]});
    assert_eq!(
        service.refused("PutLogEvents", elsewhere).await,
        fault("ResourceNotFoundException", "The specified log stream does not exist.")
    );
    let odd = "\u{1b}[31m\u{0}\n\u{fffd}é\u{1f980}";
    service.put("s", &[(1, odd)]).await;
    let get = json!({"logGroupName": "g", "logStreamName": "s"});
    assert_eq!(messages(&service.call("GetLogEvents", get).await), ["fine", odd], "kept as it came");
}

#[tokio::test]
async fn events_are_filtered_over_streams() {
    let service = Service::with_streams(&["a", "b", "ab"]).await;
    service.put("a", &[(0, "ERROR one"), (2, "fine")]).await;
    service.put("b", &[(1, "ERROR two"), (3, "{\"level\":\"ERROR\",\"n\":7}")]).await;
    service.put("ab", &[(1, "three")]).await;
    let filter = |more: Value| {
        let mut input = json!({"logGroupName": "g"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        service.call("FilterLogEvents", input)
    };
    let all = filter(json!({})).await;
    assert_eq!(messages(&all), ["ERROR one", "ERROR two", "three", "fine", "{\"level\":\"ERROR\",\"n\":7}"]);
    assert_eq!(names(&all, "events", "logStreamName"), ["a", "b", "ab", "a", "b"]);
    assert_eq!(all["searchedLogStreams"], json!([]));
    assert_eq!(all["events"][0]["eventId"].as_str().unwrap().len(), 56);
    assert_eq!(
        messages(&filter(json!({"filterPattern": "ERROR -two"})).await),
        ["ERROR one", "{\"level\":\"ERROR\",\"n\":7}"]
    );
    assert_eq!(messages(&filter(json!({"filterPattern": "{ $.n > 5 }"})).await).len(), 1);
    assert_eq!(
        messages(&filter(json!({"filterPattern": "[level = ERROR, ...]"})).await),
        ["ERROR one", "ERROR two"]
    );
    assert_eq!(messages(&filter(json!({"logStreamNames": ["b", "b"]})).await).len(), 2);
    assert_eq!(messages(&filter(json!({"logStreamNamePrefix": "a"})).await), ["ERROR one", "three", "fine"]);
    let range = filter(json!({"startTime": NOW + 1, "endTime": NOW + 2})).await;
    assert_eq!(messages(&range), ["ERROR two", "three", "fine"], "the end is included");
    let mut paged = Vec::new();
    let mut input = json!({"limit": 2});
    loop {
        let page = filter(input.clone()).await;
        paged.extend(messages(&page).into_iter().map(str::to_owned));
        if page["nextToken"].is_null() {
            break;
        }
        input["nextToken"] = page["nextToken"].clone();
    }
    assert_eq!(paged, messages(&all));
    let backward = filter(json!({"startFromHead": false, "startTime": NOW, "limit": 2})).await;
    assert_eq!(messages(&backward), ["{\"level\":\"ERROR\",\"n\":7}", "fine"]);
    let next = filter(json!({"startTime": NOW, "nextToken": backward["nextToken"]})).await;
    assert_eq!(messages(&next), ["three", "ERROR two", "ERROR one"], "the token knows the direction");
    let arn = json!({"logGroupIdentifier": "arn:aws:logs:us-east-1:000000000000:log-group:g"});
    assert_eq!(messages(&service.call("FilterLogEvents", arn).await).len(), 5);
    for (bad, code) in [
        (json!({"logGroupName": "g", "logGroupIdentifier": "g"}), "InvalidParameterException"),
        (json!({}), "InvalidParameterException"),
        (json!({"logGroupName": "g", "filterPattern": "{ $.a = "}), "InvalidParameterException"),
        (json!({"logGroupName": "g", "nextToken": "x"}), "InvalidParameterException"),
        (json!({"logGroupName": "g", "startFromHead": false}), "InvalidParameterException"),
        (
            json!({"logGroupName": "g", "logStreamNames": ["a"], "logStreamNamePrefix": "a"}),
            "InvalidParameterException",
        ),
        (json!({"logGroupName": "g", "logStreamNames": ["none"]}), "ResourceNotFoundException"),
        (json!({"logGroupName": "none"}), "ResourceNotFoundException"),
    ] {
        assert_eq!(service.refused("FilterLogEvents", bad.clone()).await.0, code, "{bad}");
    }
}

#[tokio::test]
async fn tags_by_name_and_by_arn_are_the_same() {
    let service = Service::with_streams(&[]).await;
    let arn = "arn:aws:logs:us-east-1:000000000000:log-group:g";
    service.call("TagLogGroup", json!({"logGroupName": "g", "tags": {"a": "1", "b": "2"}})).await;
    service.call("TagResource", json!({"resourceArn": arn, "tags": {"b": "3", "c": ""}})).await;
    let expected = json!({"tags": {"a": "1", "b": "3", "c": ""}});
    assert_eq!(service.call("ListTagsForResource", json!({"resourceArn": arn})).await, expected);
    assert_eq!(service.call("ListTagsLogGroup", json!({"logGroupName": "g"})).await, expected);
    service.call("UntagResource", json!({"resourceArn": arn, "tagKeys": ["a", "zz"]})).await;
    service.call("UntagLogGroup", json!({"logGroupName": "g", "tags": ["c"]})).await;
    assert_eq!(
        service.call("ListTagsForResource", json!({"resourceArn": arn})).await,
        json!({"tags": {"b": "3"}})
    );
    let many: serde_json::Map<_, _> = (0..50).map(|index| (format!("k{index}"), json!("v"))).collect();
    assert_eq!(
        service.refused("TagResource", json!({"resourceArn": arn, "tags": many})).await.0,
        "TooManyTagsException"
    );
    let aws = json!({"resourceArn": arn, "tags": {"aws:x": "1"}});
    assert_eq!(service.refused("TagResource", aws).await.0, "InvalidParameterException");
    let missing = json!({"resourceArn": format!("{arn}x")});
    assert_eq!(
        service.refused("ListTagsForResource", missing).await,
        fault("ResourceNotFoundException", "The specified resource does not exist.")
    );
}

#[tokio::test]
async fn what_is_deleted_is_cleared_away_even_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::ephemeral(store::rows::register(Options::ephemeral()));
    let open =
        || Logs::open(store.clone(), directory.path(), Sync::default(), Arc::new(base::RandomIds)).unwrap();
    let call = |logs: &Arc<Logs>, operation: &'static str, input: Value| {
        let gateway = Gateway::new(GatewaySettings {
            tables: vec![logs.table()],
            authentication: Authentication::Any,
            authorizer: Arc::new(RootAndNodes),
            clock: Arc::new(SystemClock),
            ids: Arc::new(base::RandomIds),
            default_scope: Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap()),
            endpoint: "http://127.0.0.1:4566".into(),
        });
        async move {
            let request = http::Request::post("/")
                .header("x-amz-target", format!("Logs_20140328.{operation}"))
                .body(Bytes::from(input.to_string()))
                .unwrap();
            assert_eq!(gateway.call(request, None).await.status(), 200, "{operation}");
        }
    };
    let now = base::Clock::now(&SystemClock).as_millis();
    let streams_on_disk = || {
        let groups = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let groups = groups.filter(|path| path.is_dir());
        groups.map(|group| std::fs::read_dir(group).unwrap().count()).sum::<usize>()
    };
    let logs = open();
    for group in ["kept", "gone"] {
        call(&logs, "CreateLogGroup", json!({"logGroupName": group})).await;
        for stream in ["a", "b"] {
            let mut names = json!({"logGroupName": group, "logStreamName": stream});
            call(&logs, "CreateLogStream", names.clone()).await;
            names["logEvents"] = json!([{"timestamp": now, "message": "x"}]);
            call(&logs, "PutLogEvents", names).await;
        }
    }
    call(&logs, "DeleteLogStream", json!({"logGroupName": "kept", "logStreamName": "a"})).await;
    logs.clear_away_deleted().await.unwrap();
    assert_eq!(streams_on_disk(), 3);
    call(&logs, "DeleteLogGroup", json!({"logGroupName": "gone"})).await;
    call(&logs, "DeleteLogStream", json!({"logGroupName": "kept", "logStreamName": "b"})).await;
    drop(logs);
    let logs = open();
    assert_eq!(streams_on_disk(), 3);
    logs.clear_away_leftovers().await.unwrap();
    assert_eq!(streams_on_disk(), 0);
    assert_eq!(store.snapshot().count::<domain::LogStream>(), 0);
    assert_eq!(store.snapshot().count::<domain::LogGroup>(), 1);
}
