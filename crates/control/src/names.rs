//! What a node's resolver is told about our own names. A node asks for those that it is trusted with: askers in the VPCs that its
//! tasks have interfaces in, and itself, which is in the default VPC of its account and region as an EC2 instance would be.

use std::net::IpAddr;

use agent_protocol::names::{DnsMessage, NameAnswerMessage, NameQuestionMessage};
use base::Scope;
use dns::Asker;
use store::Snapshot;

/// The answer to a question of a node in `scope`; `has_vpc` says which VPCs it has tasks in.
pub(crate) fn answer(
    snapshot: &Snapshot,
    scope: &Scope,
    has_vpc: impl Fn(&str) -> bool,
    question: &NameQuestionMessage,
) -> NameAnswerMessage {
    let nothing = NameAnswerMessage { question_id: question.question_id, ..NameAnswerMessage::default() };
    let Ok(source) = question.asker.parse::<IpAddr>() else { return nothing };
    let asker = match dns::asker_of(snapshot, scope, source) {
        Asker::Vpc { vpc, .. } if !has_vpc(&vpc) => return nothing,
        Asker::Host { scope, vpc } => Asker::Vpc { scope, vpc: vpc.unwrap_or_default() },
        asker @ Asker::Vpc { .. } => asker,
    };
    match dns::answer_node(snapshot, &asker, question.question_id, &question.message.0) {
        Some(answer) => NameAnswerMessage {
            message: Some(DnsMessage(answer.message)),
            elsewhere: answer.elsewhere,
            ..nothing
        },
        None => nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::rows_vpc::VpcCidrUse;
    use store::{Options, Store, Transaction, rows};

    /// `A` of `vpc.example.` with the id 7, written by hand (RFC 1035, section 4).
    const QUESTION: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03vpc\x07example\0\0\x01\0\x01";

    #[tokio::test]
    async fn a_node_is_told_for_the_vpcs_of_its_tasks_and_for_itself() {
        let store = Store::ephemeral(rows::register(Options::ephemeral()));
        let scope = Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap());
        let mut transaction = Transaction::new();
        for (vpc, cidr) in [("vpc-1", "10.1.0.0/16"), ("vpc-2", "10.2.0.0/16")] {
            let cidr = cidr.parse().unwrap();
            transaction.put(VpcCidrUse { cidr, scope: scope.clone(), vpc: vpc.to_owned() });
        }
        store.transact(transaction).await.unwrap();
        let told = |asker: &str, message: &[u8]| {
            let question = NameQuestionMessage {
                question_id: 5,
                asker: asker.to_owned(),
                message: DnsMessage(message.to_vec()),
            };
            let answer = answer(&store.snapshot(), &scope, |vpc| vpc == "vpc-1", &question);
            assert_eq!(answer.question_id, 5);
            answer.message.map(|_| answer.elsewhere)
        };
        assert_eq!(told("10.1.0.0", QUESTION), Some(true), "nothing is known of the name");
        assert_eq!(told("127.0.0.1", QUESTION), Some(true), "the machine itself");
        assert_eq!(told("10.2.0.0", QUESTION), None, "none of its tasks is there");
        assert_eq!(told("nobody", QUESTION), None);
        assert_eq!(told("10.1.0.0", b"no question"), None);
    }
}
