//! ImportKeyPair: keeps the public half of a key pair that was made elsewhere. Source: Amazon EC2 API reference, "ImportKeyPair".
//!
//! Differs from AWS: keys in DER are refused; those of OpenSSH and of RFC 4716 are taken.

use api::ec2::operations::ImportKeyPair;
use api::ec2::{ImportKeyPairRequest, ImportKeyPairResult};
use wire::{Call, Fault, Operation, Permission};

use domain::KeyPair;
use store::Transaction;

use crate::Ec2;
use crate::resources::tag::{self, TaggedKind};
use crate::resources::{key_pair, resource_arn};

impl Operation<ImportKeyPair> for Ec2 {
    fn permissions(&self, call: &Call, input: &ImportKeyPairRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:ImportKeyPair", resource_arn(call, "key-pair", input.key_name.as_deref()))]
    }

    async fn handle(&self, call: &Call, input: ImportKeyPairRequest) -> Result<ImportKeyPairResult, Fault> {
        let name = input.key_name.unwrap_or_default();
        let tags = tag::of_specifications(input.tag_specifications, TaggedKind::KeyPair)?;
        let public = key_pair::imported(&input.public_key_material.unwrap_or_default().0)?;
        let made = self
            .change(call, input.dry_run, |snapshot| {
                key_pair::check_name(snapshot, &call.scope, &name)?;
                let made = KeyPair {
                    scope: call.scope.clone(),
                    id: format!("key-{}", self.ids.hex(17)),
                    name: name.clone(),
                    key_type: public.key_type,
                    fingerprint: public.fingerprint.clone(),
                    public_key: public.line.clone(),
                    created_at: call.now,
                    tags: tags.clone(),
                };
                let mut transaction = Transaction::new();
                transaction.insert(made.clone());
                Ok((transaction, made))
            })
            .await?;
        Ok(ImportKeyPairResult {
            key_fingerprint: Some(made.fingerprint),
            key_name: Some(made.name),
            key_pair_id: Some(made.id),
            tags: tag::describe(&made.tags),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_key_is_imported_and_goes() {
        let server = Server::new();
        // "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAA… c", base64 again, as the SDKs send it.
        let line = format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{} c", "A".repeat(43));
        let material = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, line);
        let import =
            format!("Action=ImportKeyPair&KeyName=mine&PublicKeyMaterial={}", material.replace('+', "%2B"));
        let answer = server.ask(&import).await;
        assert!(answer.starts_with("200"), "{answer}");
        assert_eq!(server.ask_for("keyType", "Action=DescribeKeyPairs&KeyName.1=mine").await, ["ed25519"]);
        assert!(server.fault(&import).await.starts_with("400 InvalidKeyPair.Duplicate: "));
        let bad = server.fault("Action=ImportKeyPair&KeyName=bad&PublicKeyMaterial=eHh4").await;
        assert_eq!(bad, "400 InvalidKey.Format: Key is not in valid OpenSSH public key format");
        server.done("Action=DeleteKeyPair&KeyName=mine").await;
        assert_eq!(server.ask_for("keyType", "Action=DescribeKeyPairs").await, [""; 0]);
    }
}
