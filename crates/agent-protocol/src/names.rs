//! What the names of the control plane lead to, asked by a node's resolver. Messages of our own, which the stock agent neither sends
//! nor takes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The type of a question in the frame.
pub const NAME_QUESTION: &str = "RoadsteadNameQuestion";
/// The type of an answer in the frame.
pub const NAME_ANSWER: &str = "RoadsteadNameAnswer";

/// A node asks what the rows say about a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NameQuestionMessage {
    /// Chosen by the node, repeated by the answer.
    pub question_id: u64,
    /// An address of the VPC that the asker is in; any other stands for the machine itself.
    pub asker: String,
    /// A DNS message.
    pub message: DnsMessage,
}

/// What they say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NameAnswerMessage {
    /// The question's.
    pub question_id: u64,
    /// A DNS message; absent: nothing is said to this asker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<DnsMessage>,
    /// Whether its records lead to a name that the rows say nothing about, which the node asks upstream.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub elsewhere: bool,
}

/// The bytes of a DNS message (RFC 1035, section 4); base64 in the frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsMessage(pub Vec<u8>);

impl Serialize for DnsMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for DnsMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}
