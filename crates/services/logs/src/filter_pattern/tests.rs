//! Patterns, the events that they are tried on, and what must come out.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn matching<'a>(pattern: &str, messages: &[&'a str]) -> Vec<&'a str> {
    let pattern = FilterPattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    messages.iter().copied().filter(|message| pattern.matches(message)).collect()
}

#[test]
fn terms_are_included_excluded_and_optional() {
    let messages = [
        "[ERROR 400] BAD REQUEST",
        "[ERROR 401] UNAUTHORIZED REQUEST",
        "[ERROR 419] MISSING ARGUMENTS",
        "[WARN 420] INTERNAL SERVER ERROR",
        "[INFO] say \"hi\"",
    ];
    let count = |pattern| matching(pattern, &messages).len();
    assert_eq!(count(""), 5);
    assert_eq!(count("\" \""), 5);
    assert_eq!(count("ERROR"), 4);
    assert_eq!(count("error"), 0);
    assert_eq!(count("ERROR ARGUMENTS"), 1);
    assert_eq!(count("?ERROR ?INFO"), 5);
    assert_eq!(count("?ARGUMENTS ?INFO"), 2);
    assert_eq!(count("ERROR -ARGUMENTS"), 3);
    assert_eq!(count("-ERROR"), 1);
    assert_eq!(count("\"INTERNAL SERVER ERROR\""), 1);
    assert_eq!(count("ERROR -\"BAD REQUEST\" -ARGUMENTS"), 2);
    assert_eq!(count("ERROR ?INFO"), 4);
    assert_eq!(count(r#""say \"hi\"""#), 1);
    assert_eq!(count("%ERROR 4[01][0-9]%"), 3);
    assert_eq!(count("-%^.ERROR%"), 2);
}

#[test]
fn json_events_are_searched() {
    let event = r#"{"eventType":"UpdateTrail","sourceIPAddress":"111.111.111.111","arrayKey":["value","another value"],
        "objectList":[{"name":"a","id":1},{"name":"b","id":2}],"SomeObject":null,"cluster.name":"c","errorCode":400,
        "time":1.5,"ok":true,"no":false,"nested":{"deep":{"x-y_z":"w"}}}"#;
    for holds in [
        r#"{ $.eventType = "UpdateTrail" }"#,
        "{ $.eventType = UpdateTrail }",
        "{$.eventType=Update*}",
        r#"{ $.eventType = "*Trail" }"#,
        r#"{ $.eventType != "CreateTrail" }"#,
        "{ $.eventType = %Trail$% }",
        "{ $.sourceIPAddress != 123.123.* }",
        "{ $.sourceIPAddress = 111.111.111.* }",
        r#"{ $.arrayKey[0] = "value" }"#,
        r#"{ $.arrayKey[*] = "another*" }"#,
        "{ $.objectList[1].id = 2 }",
        "{ $.objectList[*].id > 1 }",
        "{ $.*.deep.x-y_z = w }",
        "{ $.SomeObject IS NULL }",
        "{ $.SomeOtherObject NOT EXISTS }",
        "{ $.SomeObject EXISTS }",
        r#"{ $.["cluster.name"] = c }"#,
        "{ $['cluster.name'] = c }",
        "{ $.errorCode = 400 }",
        "{ $.errorCode = 4* }",
        "{ $.errorCode = 4e2 && $.errorCode >= 400 && $.errorCode <= 400.0 }",
        "{ $.time < 1.6 }",
        "{ $.ok IS TRUE }",
        "{ $.no is false }",
        "{ ($.errorCode = 1 || $.errorCode > 399) && ($.ok IS TRUE) }",
        "{ $.errorCode = 400 || $.errorCode = 1 && $.errorCode = 2 }",
    ] {
        assert_eq!(matching(holds, &[event]).len(), 1, "{holds}");
    }
    for fails in [
        "{ $.eventType = Trail }",
        "{ $.missing != x }",
        "{ $.arrayKey != value }",
        "{ $.arrayKey[2] = value }",
        "{ $.SomeObject NOT EXISTS }",
        "{ $.ok IS NULL }",
        "{ $.eventType > 5 }",
        "{ $.errorCode > 400 }",
        "{ ($.errorCode = 1 || $.errorCode = 400) && $.ok IS FALSE }",
    ] {
        assert!(matching(fails, &[event]).is_empty(), "{fails}");
    }
    assert!(matching("{ $.a NOT EXISTS }", &["no json", "", "{broken", "5"]).is_empty());
    let deep = "[".repeat(100_000);
    assert!(matching("{ $[0][0] EXISTS }", &[&deep]).is_empty());
}

#[test]
fn space_delimited_events_are_searched() {
    let line = r#"127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;
    for holds in [
        "[ip, user, username, timestamp, request =*.html*, status_code = 4*, bytes]",
        "[ip, user, username, timestamp, request, status_code, bytes]",
        "[..., status_code, bytes > 1000]",
        "[ip = 127.0.0.1, ...]",
        "[ip, user, ..., bytes]",
        "[...]",
        "[..., request =*.html* || request = *.htm, status_code = 4* && status_code != 403, bytes]",
        "[..., status_code = 404, bytes]",
        "[..., status_code = 404.0, bytes]",
        "[ip=%127\\.0\\.0\\.[1-9]%, ...]",
        "[w1, w2=Prod, ..., w7>=5]",
        "[..., (s = 4* || s = 5*) && s < 450, b]",
    ] {
        assert_eq!(matching(holds, &[line]).len(), 1, "{holds}");
    }
    for fails in [
        "[ip, user]",
        "[ip, user, username, timestamp, request, status_code, bytes, more]",
        "[a, b, c, d, e, f, g, h, ...]",
        "[..., status_code = 5*, bytes]",
        "[..., bytes < 1000]",
        "[ip, user > 5, ...]",
        "[]",
    ] {
        assert!(matching(fails, &[line]).is_empty(), "{fails}");
    }
    assert_eq!(matching("[]", &[""]).len(), 1);
}

#[test]
fn what_is_no_pattern_is_refused() {
    for bad in [
        "\"open",
        "-",
        "?",
        "%open",
        "%%",
        "%(a)%",
        "%ä%",
        "%[%",
        "a\"b",
        "{",
        "{}",
        "{ $.a }",
        "{ $.a = }",
        "{ $.a = 1",
        "{ $.a = 1 } x",
        "{ a = 1 }",
        "{ $. = 1 }",
        "{ $.a[ = 1 }",
        "{ $.a[99999999999999999999999] = 1 }",
        "{ $.a > x }",
        "{ $.a IS MAYBE }",
        "{ $.a NOT THERE }",
        "{ $.a = 1 && }",
        "{ ($.a = 1 }",
        "{ $.a = %x% && $.b = %y% && $.c = %z% }",
        "[a",
        "[a,]",
        "[a b]",
        "[..., a, ...]",
        "[a=1 && b=2]",
        "[a=1 || a]",
        "[a && a=1]",
        "[=1]",
    ] {
        assert!(FilterPattern::parse(bad).is_err(), "{bad}");
    }
    let deep = format!("{{ {}$.a = 1{} }}", "(".repeat(500), ")".repeat(500));
    assert_eq!(FilterPattern::parse(&deep).unwrap_err(), PatternError::TooDeep);
    assert_eq!(FilterPattern::parse(&"a".repeat(5000)).unwrap_err(), PatternError::TooLong);
    assert_eq!(FilterPattern::parse("%a{1000}{1000}{1000}%").unwrap_err(), PatternError::Regex);
}

#[test]
fn hostile_events_take_linear_time() {
    let event = format!("[{}", "\" [ a".repeat(200_000));
    let json = format!("{{\"a\":[{}0]}}", "[1,2],".repeat(150_000));
    let start = Instant::now();
    for (pattern, event) in [
        ("[..., x = *a*a*a*a*a*a*a*a*b]", &event),
        ("[x = %(a*)*b%]", &event),
        ("*a*a*a*a*a*b", &event),
        ("%a*a*a*a*a*a*b%", &event),
        ("{ $.*.*.* = 3 || $.*[*].* > 5 }", &json),
    ] {
        if let Ok(pattern) = FilterPattern::parse(pattern) {
            assert!(!pattern.matches(event));
        }
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn any_pattern_is_parsed_or_refused_and_any_event_looked_at(
        pattern in r#"[\[{]?[ a-c$.*"'%()\[\]{}=!<>&|,?0-9\-\\ä]{0,40}[\]}]?"#,
        event in r#"[ a-c{}\[\]":,0-9.\-ä]{0,40}"#,
    ) {
        if let Ok(pattern) = FilterPattern::parse(&pattern) {
            let _ = pattern.matches(&event);
        }
    }

    #[test]
    fn a_json_text_property_is_found_by_itself(name in "[a-z_]{1,8}", text in r"[ !#-)+-\[\]-~]{0,20}") {
        let event = serde_json::json!({ name.clone(): text.clone() }).to_string();
        let equal = FilterPattern::parse(&format!("{{ $.{name} = \"{text}\" }}")).unwrap();
        let differs = FilterPattern::parse(&format!("{{ $.{name} != \"{text}\" }}")).unwrap();
        prop_assert!(equal.matches(&event));
        prop_assert!(!differs.matches(&event));
    }

    #[test]
    fn globs_match_what_they_were_cut_from(parts in proptest::collection::vec("[ab]{0,3}", 1..6), fill in proptest::collection::vec("[abc]{0,3}", 6)) {
        let mut text = String::new();
        for (index, (part, fill)) in parts.iter().zip(&fill).enumerate() {
            if index > 0 {
                text.push_str(fill);
            }
            text.push_str(part);
        }
        let glob = value::Glob::new(&parts.join("*"));
        prop_assert!(glob.matches(&text), "{:?} {}", glob, text);
    }

    #[test]
    fn a_number_compares_as_a_number(left in -1000_i32..1000, right in -1000_i32..1000) {
        let event = format!("{{\"n\":{left}}}");
        for (operator, expected) in [("<", left < right), (">", left > right), ("=", left == right), ("!=", left != right), ("<=", left <= right), (">=", left >= right)] {
            let json = FilterPattern::parse(&format!("{{ $.n {operator} {right} }}")).unwrap();
            prop_assert_eq!(json.matches(&event), expected);
            let delimited = FilterPattern::parse(&format!("[n {operator} {right}]")).unwrap();
            prop_assert_eq!(delimited.matches(&left.to_string()), expected);
        }
    }
}
