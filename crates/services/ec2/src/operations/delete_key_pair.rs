//! DeleteKeyPair: forgets a key pair. One that is not there is no fault, as on AWS. Source: Amazon EC2 API reference, "DeleteKeyPair".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DeleteKeyPair;
use api::ec2::{DeleteKeyPairRequest, DeleteKeyPairResult};
use wire::{Call, Fault, Operation, Permission};

use domain::KeyPair;
use store::{Key, Transaction};

use crate::resources::resource_arn;
use crate::{Ec2, faults};

impl Operation<DeleteKeyPair> for Ec2 {
    fn permissions(&self, call: &Call, input: &DeleteKeyPairRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DeleteKeyPair", resource_arn(call, "key-pair", input.key_name.as_deref()))]
    }

    async fn handle(&self, call: &Call, input: DeleteKeyPairRequest) -> Result<DeleteKeyPairResult, Fault> {
        let (name, id) = (input.key_name, input.key_pair_id);
        if name.is_none() && id.is_none() {
            return Err(faults::missing("KeyName"));
        }
        let deleted = self
            .change(call, input.dry_run, |snapshot| {
                let mut all = snapshot.scan::<KeyPair>(Key::prefix(&call.scope, &[]), None);
                let is_it =
                    |known: &KeyPair| Some(&known.name) == name.as_ref() || Some(&known.id) == id.as_ref();
                let found = all.find(|known| is_it(known));
                let mut transaction = Transaction::new();
                if let Some(found) = &found {
                    transaction.remove(found);
                }
                Ok((transaction, found.map(|found| found.id.clone())))
            })
            .await?;
        Ok(DeleteKeyPairResult { key_pair_id: deleted.or(id), return_: Some(true) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_key_pair_goes_by_name_or_id() {
        let server = Server::new();
        for name in ["one", "other"] {
            server.done(&format!("Action=CreateKeyPair&KeyType=ed25519&KeyName={name}")).await;
        }
        let by_name = "Action=DeleteKeyPair&KeyName=one";
        assert_eq!(server.ask_for("return", by_name).await, ["true"]);
        assert_eq!(server.ask_for("return", by_name).await, ["true"], "not there, and no fault");
        let id = server.ask_for("keyPairId", "Action=DescribeKeyPairs").await.concat();
        server.done(&format!("Action=DeleteKeyPair&KeyPairId={id}")).await;
        assert_eq!(server.ask_for("keyName", "Action=DescribeKeyPairs").await, [""; 0]);
        assert!(server.fault("Action=DeleteKeyPair").await.starts_with("400 MissingParameter: "));
    }
}
