//! [`NameQuestions`]: what this node's resolver asks the control plane, over the connection that orders come by.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_protocol::names::{DnsMessage, NameAnswerMessage, NameQuestionMessage};
use tokio::sync::{mpsc, oneshot};

/// Questions that wait to be sent; more are not asked.
const QUEUE: usize = 256;
/// Questions that wait for an answer; more are not asked. The resolver has as many at most.
const WAITING_MAXIMUM: usize = 1024;

/// What a node's resolver asks the control plane. A handle: cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct NameQuestions(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<NameAnswerMessage>>,
    /// To the connection, while there is one.
    connection: Option<mpsc::Sender<NameQuestionMessage>>,
}

impl NameQuestions {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks what a name leads to for who is in the VPC of `asker`; `question` is a DNS message. `None` where the control plane is
    /// away. Whoever waits no longer drops the future.
    pub async fn ask(&self, asker: IpAddr, question: Vec<u8>) -> Option<NameAnswerMessage> {
        let (answered, answer) = oneshot::channel();
        let id = {
            let mut state = self.state();
            state.waiting.retain(|_, waiting| !waiting.is_closed());
            if state.waiting.len() >= WAITING_MAXIMUM {
                return None;
            }
            state.last += 1;
            let id = state.last;
            let question = NameQuestionMessage {
                question_id: id,
                asker: asker.to_string(),
                message: DnsMessage(question),
            };
            state.connection.as_ref()?.try_send(question).ok()?;
            state.waiting.insert(id, answered);
            id
        };
        let answer = answer.await.ok();
        self.state().waiting.remove(&id);
        answer
    }

    /// A connection is there: it sends what comes out here.
    pub(crate) fn connected(&self) -> mpsc::Receiver<NameQuestionMessage> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.state().connection = Some(sender);
        receiver
    }

    /// It is gone, and with it whoever could answer.
    pub(crate) fn disconnected(&self) {
        let mut state = self.state();
        state.connection = None;
        state.waiting.clear();
    }

    /// An answer came.
    pub(crate) fn answered(&self, answer: NameAnswerMessage) {
        if let Some(waiting) = self.state().waiting.remove(&answer.question_id) {
            let _ = waiting.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn questions_are_answered_by_number_and_by_nobody_once_the_connection_is_gone() {
        let questions = NameQuestions::default();
        let ask = |asker: &str| {
            let (questions, asker) = (questions.clone(), asker.parse().unwrap());
            tokio::spawn(async move { questions.ask(asker, vec![1]).await })
        };
        assert_eq!(ask("10.0.0.1").await.unwrap(), None, "nobody is there");
        let mut connection = questions.connected();
        let (first, second) = (ask("10.0.0.1"), ask("10.0.0.2"));
        let asked = [connection.recv().await.unwrap(), connection.recv().await.unwrap()];
        for question in asked.iter().rev() {
            let message = Some(DnsMessage(question.asker.clone().into_bytes()));
            let answer = NameAnswerMessage { question_id: question.question_id, message, elsewhere: false };
            questions.answered(answer.clone());
            questions.answered(answer);
        }
        let said = |answer: Option<NameAnswerMessage>| answer.unwrap().message.unwrap().0;
        assert_eq!(said(first.await.unwrap()), b"10.0.0.1");
        assert_eq!(said(second.await.unwrap()), b"10.0.0.2");
        let late = ask("10.0.0.3");
        connection.recv().await.unwrap();
        questions.disconnected();
        assert_eq!(late.await.unwrap(), None);
        assert!(questions.state().waiting.is_empty());
    }
}
