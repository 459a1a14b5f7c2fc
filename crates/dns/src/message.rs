//! Questions read from bytes, and replies written to them. Sources: RFC 1035, section 4; RFC 6891 (EDNS).

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};

use crate::limits::{DATAGRAM_BYTES_MAXIMUM, DATAGRAM_BYTES_PLAIN};

/// Bytes of a message's head.
const HEAD_BYTES: usize = 12;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    id: u16,
    /// As it was asked, with its capitals: askers compare them with what comes back.
    pub name: Name,
    /// What is asked for.
    pub record_type: RecordType,
    /// Whether the asker wants others to be asked.
    pub recursion_desired: bool,
    /// Whether the asker checks signatures itself.
    pub checking_disabled: bool,
    /// Whether the asker wants signatures.
    pub wants_signatures: bool,
    /// Bytes of a datagram that the asker takes; `None`: it does not say.
    payload_bytes: Option<u16>,
}

/// What is no question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It gets no reply: it is too short, or a reply itself.
    Ignored,
    /// It gets this reply.
    Refused(Vec<u8>),
}

/// What goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub code: ResponseCode,
    pub authoritative: bool,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
}

impl Reply {
    /// A reply without records.
    pub fn of(code: ResponseCode) -> Self {
        Self { code, authoritative: false, answers: Vec::new(), authorities: Vec::new() }
    }
}

/// Reads a message.
pub fn read_question(bytes: &[u8]) -> Result<Question, Unreadable> {
    const IS_REPLY: u8 = 0b1000_0000;
    if bytes.len() < HEAD_BYTES || bytes[2] & IS_REPLY != 0 {
        return Err(Unreadable::Ignored);
    }
    let id = u16::from_be_bytes([bytes[0], bytes[1]]);
    let refused =
        |code, query: Option<&Query>, has_edns| Err(Unreadable::Refused(refusal(id, code, query, has_edns)));
    let Ok(message) = Message::from_vec(bytes) else { return refused(ResponseCode::FormErr, None, false) };
    let edns = message.edns.as_ref();
    if message.metadata.op_code != OpCode::Query {
        return refused(ResponseCode::NotImp, None, edns.is_some());
    }
    let [query] = &message.queries[..] else {
        return refused(ResponseCode::FormErr, None, edns.is_some());
    };
    if edns.is_some_and(|edns| edns.version() > 0) {
        return refused(ResponseCode::BADVERS, Some(query), true);
    }
    let is_transfer = matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR);
    if query.query_class() != DNSClass::IN || is_transfer {
        return refused(ResponseCode::Refused, Some(query), edns.is_some());
    }
    Ok(Question {
        id,
        name: query.name().clone(),
        record_type: query.query_type(),
        recursion_desired: message.metadata.recursion_desired,
        checking_disabled: message.metadata.checking_disabled,
        wants_signatures: edns.is_some_and(|edns| edns.flags().dnssec_ok),
        payload_bytes: edns.map(|edns| edns.max_payload()),
    })
}

fn refusal(id: u16, code: ResponseCode, query: Option<&Query>, has_edns: bool) -> Vec<u8> {
    let mut message = Message::error_msg(id, OpCode::Query, code);
    message.queries.extend(query.cloned());
    if has_edns {
        message.set_edns(own_edns());
    }
    message.to_vec().unwrap_or_default()
}

fn own_edns() -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(DATAGRAM_BYTES_MAXIMUM);
    edns
}

impl Question {
    /// A question, for tests and upstream.
    pub fn new(id: u16, name: Name, record_type: RecordType) -> Self {
        Self {
            id,
            name,
            record_type,
            recursion_desired: true,
            checking_disabled: false,
            wants_signatures: false,
            payload_bytes: Some(DATAGRAM_BYTES_MAXIMUM),
        }
    }

    /// Bytes of a datagram that answers it.
    pub(crate) fn datagram_bytes(&self) -> u16 {
        let offered = self.payload_bytes.unwrap_or(DATAGRAM_BYTES_PLAIN);
        offered.clamp(DATAGRAM_BYTES_PLAIN, DATAGRAM_BYTES_MAXIMUM)
    }

    /// The reply's bytes, at most `bytes_maximum`: one that is too long goes without records and says so, and the asker
    /// comes back over TCP.
    pub(crate) fn write(&self, reply: Reply, bytes_maximum: u16) -> Vec<u8> {
        let mut message = Message::new(self.id, MessageType::Response, OpCode::Query);
        message.metadata.response_code = reply.code;
        message.metadata.authoritative = reply.authoritative;
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.checking_disabled = self.checking_disabled;
        message.add_query(Query::query(self.name.clone(), self.record_type));
        if self.payload_bytes.is_some() {
            let mut edns = own_edns();
            edns.set_dnssec_ok(self.wants_signatures);
            message.set_edns(edns);
        }
        message.answers = reply.answers;
        message.authorities = reply.authorities;
        match message.to_vec() {
            Ok(bytes) if bytes.len() <= usize::from(bytes_maximum) => bytes,
            Ok(_) => message.truncate().to_vec().unwrap_or_default(),
            Err(error) => {
                tracing::debug!(%error, "a reply cannot be written");
                refusal(self.id, ResponseCode::ServFail, None, self.payload_bytes.is_some())
            }
        }
    }

    /// The question's bytes, as they go upstream.
    pub(crate) fn write_question(&self) -> Option<Vec<u8>> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.metadata.checking_disabled = self.checking_disabled;
        message.add_query(Query::query(self.name.clone(), self.record_type));
        let mut edns = own_edns();
        edns.set_dnssec_ok(self.wants_signatures);
        message.set_edns(edns);
        message.to_vec().ok()
    }

    /// The reply in these bytes, where it is one to this question.
    pub(crate) fn read_reply(&self, bytes: &[u8]) -> Option<Message> {
        let message = Message::from_vec(bytes).ok()?;
        let is_reply =
            message.metadata.message_type == MessageType::Response && message.metadata.id == self.id;
        let [query] = &message.queries[..] else { return None };
        let is_same = query.name() == &self.name
            && query.query_type() == self.record_type
            && query.query_class() == DNSClass::IN;
        (is_reply && is_same).then_some(message)
    }

    /// The same question with another number and name.
    pub(crate) fn about(&self, id: u16, name: Name) -> Self {
        Self { id, name, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::RData;
    use hickory_proto::rr::rdata::A;

    fn question(name: &str) -> Question {
        Question::new(7, Name::from_ascii(name).unwrap(), RecordType::A)
    }

    #[test]
    fn questions_come_back_as_they_were_asked() {
        let asked = question("wWw.eXample.");
        let read = read_question(&asked.write_question().unwrap()).unwrap();
        assert_eq!(read, asked);
        let bytes = read.write(Reply::of(ResponseCode::NoError), 512);
        assert!(bytes.windows(12).any(|window| window == b"\x03wWw\x07eXample"), "the capitals are kept");
    }

    #[test]
    fn what_is_no_question_is_refused_or_ignored() {
        assert_eq!(read_question(b"short"), Err(Unreadable::Ignored));
        let asked = question("a.");
        let reply = asked.write(Reply::of(ResponseCode::NoError), 512);
        assert_eq!(read_question(&reply), Err(Unreadable::Ignored));
        let code = |bytes: &[u8]| match read_question(bytes) {
            Err(Unreadable::Refused(reply)) => Message::from_vec(&reply).unwrap().metadata.response_code,
            other => panic!("{other:?}"),
        };
        let good = asked.write_question().unwrap();
        assert_eq!(code(&good[..20]), ResponseCode::FormErr);
        let mut update = good.clone();
        update[2] |= 5 << 3;
        assert_eq!(code(&update), ResponseCode::NotImp);
        let transfer = Question::new(1, Name::from_ascii("a.").unwrap(), RecordType::AXFR);
        assert_eq!(code(&transfer.write_question().unwrap()), ResponseCode::Refused);
        let mut version = good.clone();
        let opt = version.len() - 11;
        version[opt + 6] = 1;
        // On the wire 16 is BADSIG as well.
        assert_eq!(u16::from(code(&version)), u16::from(ResponseCode::BADVERS));
    }

    #[test]
    fn a_reply_that_is_too_long_is_cut_to_nothing_and_says_so() {
        let asked = question("a.");
        let record = |n| Record::from_rdata(asked.name.clone(), 60, RData::A(A([10, 0, 0, n].into())));
        let reply = Reply { answers: (0..100).map(record).collect(), ..Reply::of(ResponseCode::NoError) };
        let short = asked.write(reply.clone(), asked.datagram_bytes());
        let read = Message::from_vec(&short).unwrap();
        assert!(short.len() <= 1232 && read.metadata.truncation && read.answers.is_empty());
        assert!(read.edns.is_some());
        let long = Message::from_vec(&asked.write(reply, u16::MAX)).unwrap();
        assert_eq!((long.answers.len(), long.metadata.truncation), (100, false));
    }
}
