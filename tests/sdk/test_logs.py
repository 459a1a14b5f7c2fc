"""CloudWatch Logs as boto3 and the AWS CLI see it: groups and streams, events in pages, the pattern language, retention, tags."""

import json
import time

import pytest

DAY = 86_400_000
LINES = [
    "INFO start of 10.0.0.1 took 12 ms",
    "ERROR of 10.0.0.2: disk full",
    "WARN of 10.0.0.1: slow",
    "ERROR of 10.0.0.1: timed out",
]


@pytest.fixture
def logs(roadstead):
    return roadstead.client("logs")


def now():
    return int(time.time() * 1000)


def fill(logs, messages, group="/app", stream="one", first=None):
    """Puts messages, a millisecond apart; answers the time of the first."""
    first = first or now() - len(messages) - 1000
    for make, names in (
        (logs.create_log_group, {"logGroupName": group}),
        (logs.create_log_stream, {"logGroupName": group, "logStreamName": stream}),
    ):
        try:
            make(**names)
        except logs.exceptions.ResourceAlreadyExistsException:
            pass
    events = [{"timestamp": first + number, "message": message} for number, message in enumerate(messages)]
    answer = logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    assert "rejectedLogEventsInfo" not in answer
    return first


def messages(events):
    return [event["message"] for event in events]


# ---- Groups and streams


def test_lives_of_groups_and_streams(logs):
    logs.create_log_group(logGroupName="/app/web", tags={"team": "blue"})
    with pytest.raises(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName="/app/web")
    (group,) = logs.describe_log_groups()["logGroups"]
    assert group["arn"] == "arn:aws:logs:us-east-1:000000000000:log-group:/app/web:*"
    assert group["logGroupArn"] == group["arn"].removesuffix(":*")
    assert (group["logGroupClass"], group["storedBytes"]) == ("STANDARD", 0)
    assert abs(group["creationTime"] - now()) < 60_000 and "retentionInDays" not in group

    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.create_log_stream(logGroupName="/app/other", logStreamName="one")
    logs.create_log_stream(logGroupName="/app/web", logStreamName="one")
    with pytest.raises(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_stream(logGroupName="/app/web", logStreamName="one")
    (stream,) = logs.describe_log_streams(logGroupName="/app/web")["logStreams"]
    assert stream["logStreamName"] == "one" and "lastEventTimestamp" not in stream
    first = fill(logs, ["a", "b"], "/app/web")
    (stream,) = logs.describe_log_streams(logGroupName="/app/web")["logStreams"]
    assert (stream["firstEventTimestamp"], stream["lastEventTimestamp"]) == (first, first + 1)

    logs.delete_log_stream(logGroupName="/app/web", logStreamName="one")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.get_log_events(logGroupName="/app/web", logStreamName="one")
    # A new stream of the same name begins empty.
    logs.create_log_stream(logGroupName="/app/web", logStreamName="one")
    assert logs.get_log_events(logGroupName="/app/web", logStreamName="one", startFromHead=True)["events"] == []
    logs.delete_log_group(logGroupName="/app/web")
    assert logs.describe_log_groups()["logGroups"] == []
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.delete_log_group(logGroupName="/app/web")


def test_groups_and_streams_in_pages(logs):
    names = [f"/page/{number:02}" for number in range(7)]
    for name in [*names, "/other"]:
        logs.create_log_group(logGroupName=name)
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix="/page/", PaginationConfig={"PageSize": 3})
    found = [[group["logGroupName"] for group in page["logGroups"]] for page in pages]
    assert found == [names[:3], names[3:6], names[6:]]
    pattern = logs.describe_log_groups(logGroupNamePattern="PAGE/0")["logGroups"]
    assert [group["logGroupName"] for group in pattern] == [], "a pattern minds upper and lower case"
    assert len(logs.describe_log_groups(logGroupNamePattern="age/0")["logGroups"]) == 7

    first = now() - 10_000
    for number, stream in enumerate(["c", "a", "b"]):
        fill(logs, ["x"], "/other", stream, first=first + number)
    streams = logs.get_paginator("describe_log_streams")
    by_name = streams.paginate(logGroupName="/other", PaginationConfig={"PageSize": 2})
    assert [[one["logStreamName"] for one in page["logStreams"]] for page in by_name] == [["a", "b"], ["c"]]
    latest = streams.paginate(logGroupName="/other", orderBy="LastEventTime", descending=True, PaginationConfig={"PageSize": 2})
    assert [one["logStreamName"] for page in latest for one in page["logStreams"]] == ["b", "a", "c"]
    with pytest.raises(logs.exceptions.InvalidParameterException):
        logs.describe_log_streams(logGroupName="/other", orderBy="LastEventTime", logStreamNamePrefix="a")
    with pytest.raises(logs.exceptions.InvalidParameterException):
        logs.describe_log_groups(nextToken="not one of ours")


# ---- Events


def test_events_forward_and_back(logs):
    lines = [f"line {number}" for number in range(10)]
    first = fill(logs, lines)
    stream = {"logGroupName": "/app", "logStreamName": "one"}
    # Forward to the end: then the same token comes back.
    page = logs.get_log_events(**stream, startFromHead=True, limit=4)
    assert messages(page["events"]) == lines[:4]
    assert page["events"][0]["timestamp"] == first and page["events"][0]["ingestionTime"] >= first
    seen = messages(page["events"])
    while True:
        after = logs.get_log_events(**stream, nextToken=page["nextForwardToken"], limit=4)
        if after["nextForwardToken"] == page["nextForwardToken"]:
            break
        seen += messages(after["events"])
        page = after
    assert seen == lines and after["events"] == []
    # Without startFromHead the newest come, in order; and then those before them.
    newest = logs.get_log_events(**stream, limit=3)
    assert messages(newest["events"]) == lines[7:]
    before = logs.get_log_events(**stream, limit=3, nextToken=newest["nextBackwardToken"])
    assert messages(before["events"]) == lines[4:7]
    # From and to: the end is not part of it.
    between = logs.get_log_events(**stream, startFromHead=True, startTime=first + 2, endTime=first + 5)
    assert messages(between["events"]) == lines[2:5]
    # A token goes on where it was when more has come.
    fill(logs, ["late"])
    more = logs.get_log_events(**stream, nextToken=page["nextForwardToken"])
    assert messages(more["events"]) == ["late"]


def test_what_is_put_is_checked(logs):
    fill(logs, ["x"])
    stream = {"logGroupName": "/app", "logStreamName": "one"}

    def put(*events):
        return logs.put_log_events(**stream, logEvents=[{"timestamp": at, "message": text} for at, text in events])

    answer = put((now() - 20 * DAY, "too old"), (now(), "kept"), (now() + 3 * 3_600_000, "too new"))
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2}
    assert messages(logs.get_log_events(**stream, startFromHead=True)["events"]) == ["x", "kept"]
    for events in (
        [(now(), "second"), (now() - 1000, "first")],
        [(now() - 2 * DAY, "a"), (now(), "more than a day later")],
        [(now(), "x" * 1_048_577)],
    ):
        with pytest.raises(logs.exceptions.InvalidParameterException):
            put(*events)
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.put_log_events(logGroupName="/app", logStreamName="two", logEvents=[{"timestamp": now(), "message": "x"}])
    assert len(logs.get_log_events(**stream, startFromHead=True)["events"]) == 2, "what was refused changed nothing"


JSON_LINES = [
    json.dumps({"level": "info", "status": 200, "user": {"name": "ann"}, "tags": ["a", "b"]}),
    json.dumps({"level": "error", "status": 503, "user": {"name": "bob"}, "retry": True}),
    json.dumps({"level": "error", "status": 404, "user": {"name": "ann"}, "retry": False}),
    "no JSON at all",
]
ACCESS = [
    '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534',
    '10.1.2.3 - ann [10/Oct/2000:13:25:16 -0700] "GET /a.png HTTP/1.0" 200 9000',
    '127.0.0.1 - frank [10/Oct/2000:13:25:17 -0700] "POST /x HTTP/1.0" 500 12',
]


@pytest.mark.parametrize(
    "lines, pattern, expected",
    [
        (LINES, "", [0, 1, 2, 3]),
        (LINES, "ERROR", [1, 3]),
        (LINES, "error", []),
        (LINES, "ERROR 10.0.0.1", [3]),
        (LINES, '"timed out"', [3]),
        (LINES, "?INFO ?WARN", [0, 2]),
        (LINES, "ERROR -disk", [3]),
        (LINES, "%10\\.0\\.0\\.[2-9]%", [1]),
        (JSON_LINES, '{ $.level = "error" }', [1, 2]),
        (JSON_LINES, "{ $.status >= 400 && $.status < 500 }", [2]),
        (JSON_LINES, '{ ($.status = 200) || ($.user.name = "b*") }', [0, 1]),
        (JSON_LINES, "{ $.retry IS TRUE }", [1]),
        (JSON_LINES, "{ $.retry NOT EXISTS }", [0]),
        (JSON_LINES, '{ $.tags[1] = "b" }', [0]),
        (ACCESS, "[ip, user, name, time, request, status = 4*, bytes]", [0]),
        (ACCESS, "[ip = 127.0.0.1, ..., status != 4*, bytes]", [2]),
        (ACCESS, "[ip, user, name, time, request, status, bytes > 1000]", [0, 1]),
    ],
)
def test_filter_patterns(logs, lines, pattern, expected):
    fill(logs, lines)
    events = logs.filter_log_events(logGroupName="/app", filterPattern=pattern)["events"]
    assert messages(events) == [lines[index] for index in expected]


def test_filter_over_streams_and_pages(logs):
    first = now() - 60_000
    for number, stream in enumerate(["web/1", "web/2", "db/1"]):
        fill(logs, [f"{stream} {line}" for line in range(4)], stream=stream, first=first + 10 * number)
    found = logs.get_paginator("filter_log_events").paginate(logGroupName="/app", PaginationConfig={"PageSize": 5})
    events = [event for page in found for event in page["events"]]
    assert len(events) == 12 and len({event["eventId"] for event in events}) == 12
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)
    assert {event["logStreamName"] for event in events} == {"web/1", "web/2", "db/1"}
    web = logs.filter_log_events(logGroupName="/app", logStreamNamePrefix="web/", filterPattern="3")["events"]
    assert messages(web) == ["web/1 3", "web/2 3"]
    two = logs.filter_log_events(logGroupName="/app", logStreamNames=["db/1"], startTime=first + 21, endTime=first + 22)
    assert messages(two["events"]) == ["db/1 1", "db/1 2"], "the end is part of it"
    with pytest.raises(logs.exceptions.InvalidParameterException):
        logs.filter_log_events(logGroupName="/app", filterPattern="{ $.a = ")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.filter_log_events(logGroupName="/nothing")
    with pytest.raises(logs.exceptions.InvalidParameterException):
        logs.filter_log_events(logGroupName="/app", logStreamNames=["db/1"], logStreamNamePrefix="web")


# ---- Retention and tags


def test_retention(logs):
    fill(logs, ["old"], first=now() - 3 * DAY)
    fill(logs, ["new"])
    logs.put_retention_policy(logGroupName="/app", retentionInDays=1)
    (group,) = logs.describe_log_groups()["logGroups"]
    assert group["retentionInDays"] == 1
    events = logs.get_log_events(logGroupName="/app", logStreamName="one", startFromHead=True)["events"]
    assert messages(events) == ["new"], "what is too old is not given out"
    # And not taken in.
    answer = logs.put_log_events(
        logGroupName="/app", logStreamName="one", logEvents=[{"timestamp": now() - 2 * DAY, "message": "expired"}]
    )
    assert "rejectedLogEventsInfo" in answer
    for days in (2, 0, 3654):
        with pytest.raises(logs.exceptions.InvalidParameterException):
            logs.put_retention_policy(logGroupName="/app", retentionInDays=days)
    logs.delete_retention_policy(logGroupName="/app")
    assert "retentionInDays" not in logs.describe_log_groups()["logGroups"][0]
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.put_retention_policy(logGroupName="/nothing", retentionInDays=1)


def test_tags(logs):
    logs.create_log_group(logGroupName="/app", tags={"team": "blue", "stage": "test"})
    arn = logs.describe_log_groups()["logGroups"][0]["logGroupArn"]
    logs.tag_resource(resourceArn=arn, tags={"stage": "production", "new": "yes"})
    logs.untag_resource(resourceArn=arn, tagKeys=["team", "never there"])
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"stage": "production", "new": "yes"}
    # The older operations, by name.
    logs.tag_log_group(logGroupName="/app", tags={"older": "1"})
    logs.untag_log_group(logGroupName="/app", tags=["new"])
    assert logs.list_tags_log_group(logGroupName="/app")["tags"] == {"stage": "production", "older": "1"}
    with pytest.raises(logs.exceptions.TooManyTagsException):
        logs.tag_resource(resourceArn=arn, tags={f"key-{number}": "" for number in range(49)})
    assert len(logs.list_tags_for_resource(resourceArn=arn)["tags"]) == 2
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.list_tags_for_resource(resourceArn=arn + "x")


def test_the_cli(roadstead, logs):
    roadstead.aws("logs", "create-log-group", "--log-group-name", "/cli")
    roadstead.aws("logs", "create-log-stream", "--log-group-name", "/cli", "--log-stream-name", "s")
    event = f"timestamp={now()},message=from the CLI"
    roadstead.aws("logs", "put-log-events", "--log-group-name", "/cli", "--log-stream-name", "s", "--log-events", event)
    found = roadstead.aws("logs", "filter-log-events", "--log-group-name", "/cli", "--filter-pattern", "CLI")
    assert messages(found["events"]) == ["from the CLI"]
    gone = roadstead.aws("logs", "get-log-events", "--log-group-name", "/cli", "--log-stream-name", "t", check=False)
    assert gone.returncode != 0 and "The specified log stream does not exist." in gone.stderr


def test_regions_keep_apart(roadstead, logs):
    fill(logs, ["here"])
    other = roadstead.client("logs", region="eu-west-1")
    assert other.describe_log_groups()["logGroups"] == []
    with pytest.raises(other.exceptions.ResourceNotFoundException):
        other.get_log_events(logGroupName="/app", logStreamName="one")
