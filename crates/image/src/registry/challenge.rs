//! `WWW-Authenticate`: what a registry wants (RFC 9110, "Authentication"; RFC 6750).

/// A challenge that can be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from this server.
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// The best challenge of a header's value: a token rather than a password with every request. The scope that a
    /// registry asks for is not read: a pull needs the right to pull from its repository and no other.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let mut basic = None;
        for (scheme, parameters) in split(header)? {
            if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Self::Basic);
            } else if scheme.eq_ignore_ascii_case("bearer") {
                let value = |wanted: &str| {
                    parameters
                        .iter()
                        .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                        .map(|(_, value)| value.clone())
                };
                if let Some(realm) = value("realm") {
                    return Some(Self::Bearer { realm, service: value("service") });
                }
            }
        }
        basic
    }
}

type Parameters = Vec<(String, String)>;

/// Schemes with their parameters; `None` where the grammar is broken.
fn split(header: &str) -> Option<Vec<(String, Parameters)>> {
    let mut challenges: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (token, after) = token(rest)?;
        let after_space = after.trim_start_matches([' ', '\t']);
        if let Some(value) = after_space.strip_prefix('=') {
            // A parameter of the scheme before it.
            let (value, after) = value_of(value.trim_start_matches([' ', '\t']))?;
            challenges.last_mut()?.1.push((token.to_owned(), value));
            rest = after;
        } else {
            challenges.push((token.to_owned(), Vec::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    Some(challenges)
}

fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c);
    let end = text.find(|c: char| !is_token(c)).unwrap_or(text.len());
    if end == 0 { None } else { text.split_at_checked(end) }
}

fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(value, rest)| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(index + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.map(str::to_owned) })
        };
        for (header, expected) in [
            (
                r#"Bearer realm="https://a/token",service="r",scope="repository:x:pull""#,
                bearer("https://a/token", Some("r")),
            ),
            (r#"bearer  realm = "https://a/t, \"b" , service=r"#, bearer("https://a/t, \"b", Some("r"))),
            (r#"Basic realm="x", Bearer realm="y""#, bearer("y", None)),
            (r#"Basic realm="x""#, Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            ("Bearer service=x", None),
            ("Digest nonce=x", None),
            ("", None),
            (r#"Bearer realm="open"#, None),
            (r#"="x""#, None),
            ("\u{1}", None),
        ] {
            assert_eq!(Challenge::parse(header), expected, "{header}");
        }
    }
}
