//! URI templates of the REST protocols: `/clusters/{name}/tasks/{path+}?list`.

use super::form;

/// Matches a request's path and query against `template`; gives a weight (more literal text wins) and the labels.
pub fn matches(template: &str, path: &str, query: &str) -> Option<(usize, Vec<(String, String)>)> {
    let (template_path, template_query) = template.split_once('?').unwrap_or((template, ""));
    let mut weight = 0;
    for pair in template_query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let given = form::first(query.as_bytes(), key)?;
        if !value.is_empty() && given != value {
            return None;
        }
        weight += pair.len() + 1;
    }
    let (literal, labels) = match_path(template_path, path)?;
    Some((weight + literal, labels))
}

fn match_path(template: &str, path: &str) -> Option<(usize, Vec<(String, String)>)> {
    let mut wanted = template.trim_start_matches('/').split('/').peekable();
    let mut rest = path.strip_prefix('/').unwrap_or(path);
    let (mut weight, mut labels, mut ended) = (0, Vec::new(), false);
    while let Some(segment) = wanted.next() {
        if ended {
            return None;
        }
        let label = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
        if let Some(name) = label.and_then(|label| label.strip_suffix('+')) {
            // A greedy label takes all but as many segments as the template still has behind it.
            let behind = wanted.clone().count();
            let cut =
                rest.rmatch_indices('/').nth(behind.checked_sub(1).unwrap_or(usize::MAX)).map(|(at, _)| at);
            let (taken, left) = match (behind, cut) {
                (0, _) => (rest, None),
                (_, Some(at)) => (&rest[..at], rest.get(at + 1..)),
                (_, None) => return None,
            };
            if taken.is_empty() {
                return None;
            }
            labels.push((name.to_owned(), decode(taken)?));
            ended = left.is_none();
            rest = left.unwrap_or_default();
            continue;
        }
        let (here, left) = match rest.split_once('/') {
            Some((here, left)) => (here, Some(left)),
            None => (rest, None),
        };
        match label {
            Some(_) if here.is_empty() => return None,
            Some(name) => labels.push((name.to_owned(), decode(here)?)),
            None if here == segment => weight += segment.len() + 1,
            None => return None,
        }
        ended = left.is_none();
        rest = left.unwrap_or_default();
    }
    // A trailing slash is let pass.
    (ended || rest.is_empty()).then_some((weight, labels))
}

/// Percent-decodes a part of a path, where a plus is a plus.
fn decode(text: &str) -> Option<String> {
    form::decode(text.replace('+', "%2B").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_match_as_wholes() {
        let labels = |template, path, query| matches(template, path, query).map(|(_, labels)| labels);
        assert_eq!(labels("/", "/", ""), Some(vec![]));
        assert_eq!(labels("/a", "/a/", ""), Some(vec![]));
        assert_eq!(labels("/a", "/a/b", ""), None);
        assert_eq!(labels("/a/b", "/a", ""), None);
        assert_eq!(labels("/{x}/b", "/a%2Fq+/b", ""), Some(vec![("x".to_owned(), "a/q+".to_owned())]));
        assert_eq!(labels("/{x}", "/", ""), None);
        assert_eq!(labels("/k/{x+}", "/k/a/b%20", ""), Some(vec![("x".to_owned(), "a/b ".to_owned())]));
        assert_eq!(labels("/k/{x+}/end", "/k/a/b/end", ""), Some(vec![("x".to_owned(), "a/b".to_owned())]));
        assert_eq!(labels("/a?x=1&y", "/a", "y=&x=1"), Some(vec![]));
        assert_eq!(labels("/a?x=1", "/a", "x=2"), None);
        assert_eq!(labels("/{x}", "/%ff", ""), None);
        assert!(matches("/a/{x}", "/a/b", "").unwrap().0 > matches("/{y}/{x}", "/a/b", "").unwrap().0);
    }
}
