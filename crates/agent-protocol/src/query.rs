//! The query strings of the two web sockets' URLs. Keys are sorted and form-encoded, as the stock agent does.

use std::fmt::Write as _;

/// The most bytes of a query that is read. Ours: the stock agent's has about 400.
pub const QUERY_BYTES_MAXIMUM: usize = 8 * 1024;
/// The most pairs that are read.
const PAIRS_MAXIMUM: usize = 64;

/// Query of the ACS web socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcsQuery {
    /// Short git hash.
    pub agent_hash: String,
    /// Such as `1.105.1`.
    pub agent_version: String,
    /// The configured cluster: a name or an ARN.
    pub cluster: String,
    /// ARN.
    pub container_instance_arn: String,
    /// `DockerVersion: 20.10.24`.
    pub docker_version: String,
    /// 2: the server may close when heartbeat answers are missing.
    pub protocol_version: i64,
    /// Whether credentials of all live tasks are wanted: true until the process first connected.
    pub send_credentials: bool,
    /// Always 1.
    pub seq_num: i64,
}

impl AcsQuery {
    /// Reads it; absent members are empty, unknown ones ignored. `None` when it is too long or wrongly encoded.
    pub fn parse(query: &str) -> Option<Self> {
        let mut result = Self { protocol_version: 1, ..Self::default() };
        for (key, value) in pairs(query)? {
            match key.as_str() {
                "agentHash" => result.agent_hash = value,
                "agentVersion" => result.agent_version = value,
                "clusterArn" => result.cluster = value,
                "containerInstanceArn" => result.container_instance_arn = value,
                "dockerVersion" => result.docker_version = value,
                "protocolVersion" => result.protocol_version = value.parse().ok()?,
                "sendCredentials" => result.send_credentials = value == "true",
                "seqNum" => result.seq_num = value.parse().ok()?,
                _ => {}
            }
        }
        Some(result)
    }

    /// Writes it, without the question mark.
    pub fn to_query(&self) -> String {
        encode(&[
            ("agentHash", &self.agent_hash),
            ("agentVersion", &self.agent_version),
            ("clusterArn", &self.cluster),
            ("containerInstanceArn", &self.container_instance_arn),
            ("dockerVersion", &self.docker_version),
            ("protocolVersion", &self.protocol_version.to_string()),
            ("sendCredentials", if self.send_credentials { "true" } else { "false" }),
            ("seqNum", &self.seq_num.to_string()),
        ])
    }
}

/// Query of the TCS web socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcsQuery {
    /// Short git hash.
    pub agent_hash: String,
    /// Such as `1.105.1`.
    pub agent_version: String,
    /// The configured cluster: a name or an ARN.
    pub cluster: String,
    /// ARN.
    pub container_instance: String,
    /// Bare, such as `20.10.24`.
    pub docker_version: String,
}

impl TcsQuery {
    /// Reads it; absent members are empty, unknown ones ignored. `None` when it is too long or wrongly encoded.
    pub fn parse(query: &str) -> Option<Self> {
        let mut result = Self::default();
        for (key, value) in pairs(query)? {
            match key.as_str() {
                "agentHash" => result.agent_hash = value,
                "agentVersion" => result.agent_version = value,
                "cluster" => result.cluster = value,
                "containerInstance" => result.container_instance = value,
                "dockerVersion" => result.docker_version = value,
                _ => {}
            }
        }
        Some(result)
    }

    /// Writes it, without the question mark.
    pub fn to_query(&self) -> String {
        encode(&[
            ("agentHash", &self.agent_hash),
            ("agentVersion", &self.agent_version),
            ("cluster", &self.cluster),
            ("containerInstance", &self.container_instance),
            ("dockerVersion", &self.docker_version),
        ])
    }
}

fn encode(pairs: &[(&str, &str)]) -> String {
    let mut query = String::with_capacity(512);
    for (key, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(key);
        query.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    query.push(char::from(byte));
                }
                // `%20` and not `+`: both are form encoding to a reader, but a signature is computed over the text.
                _ => {
                    let _ = write!(query, "%{byte:02X}");
                }
            }
        }
    }
    query
}

fn pairs(query: &str) -> Option<Vec<(String, String)>> {
    if query.len() > QUERY_BYTES_MAXIMUM {
        return None;
    }
    let pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    if pairs.len() > PAIRS_MAXIMUM {
        return None;
    }
    pairs
        .into_iter()
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(key)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_stock_agents_query_is_read_and_written_back() {
        let text = "agentHash=a1b2c3d&agentVersion=1.105.1&clusterArn=default&containerInstanceArn=arn%3Aaws%3Aecs%3Aus-east-1%3A000000000000%3Acontainer-instance%2Fdefault%2F0123&dockerVersion=DockerVersion%3A+20.10.24&protocolVersion=2&sendCredentials=true&seqNum=1";
        let query = AcsQuery::parse(text).unwrap();
        assert_eq!(query.cluster, "default");
        assert_eq!(query.docker_version, "DockerVersion: 20.10.24");
        assert_eq!((query.protocol_version, query.send_credentials, query.seq_num), (2, true, 1));
        assert_eq!(query.to_query(), text.replace('+', "%20"));
        assert_eq!(AcsQuery::parse(&query.to_query()).unwrap(), query);

        let text = "agentHash=a1b2c3d&agentVersion=1.105.1&cluster=default&containerInstance=arn%3Ax&dockerVersion=20.10.24";
        assert_eq!(TcsQuery::parse(text).unwrap().to_query(), text);
    }

    #[test]
    fn odd_queries_are_refused() {
        for bad in ["clusterArn=%", "clusterArn=%zz", "clusterArn=%ff", "protocolVersion=x"] {
            assert_eq!(AcsQuery::parse(bad), None, "{bad}");
        }
        assert_eq!(AcsQuery::parse(&"a=b&".repeat(100)), None);
        assert_eq!(AcsQuery::parse(&"a".repeat(QUERY_BYTES_MAXIMUM + 1)), None);
        assert!(AcsQuery::parse("").is_some());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_any_value_survives(text in ".*", value in ".*") {
            let _ = AcsQuery::parse(&text);
            let query = TcsQuery { cluster: value, ..TcsQuery::default() };
            prop_assert_eq!(TcsQuery::parse(&query.to_query()), Some(query));
        }
    }
}
