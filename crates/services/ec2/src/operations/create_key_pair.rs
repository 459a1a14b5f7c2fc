//! CreateKeyPair: makes an Ed25519 key pair, keeps its public half, and tells the private one this once. Source: Amazon EC2 API reference, "CreateKeyPair".
//!
//! Differs from AWS: RSA keys, which AWS makes unless told otherwise, are not made, and the format is OpenSSH's PEM alone.

use api::ec2::CreateKeyPairRequest;
use api::ec2::operations::CreateKeyPair;
use wire::{Call, Fault, Operation, Permission};

use domain::KeyPair;
use store::Transaction;

use crate::resources::tag::{self, TaggedKind};
use crate::resources::{key_pair, resource_arn};
use crate::{Ec2, faults};

impl Operation<CreateKeyPair> for Ec2 {
    fn permissions(&self, call: &Call, input: &CreateKeyPairRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:CreateKeyPair", resource_arn(call, "key-pair", input.key_name.as_deref()))]
    }

    async fn handle(&self, call: &Call, input: CreateKeyPairRequest) -> Result<api::ec2::KeyPair, Fault> {
        let name = input.key_name.unwrap_or_default();
        if input.key_type.as_deref() != Some("ed25519") {
            return Err(faults::unsupported(
                "RSA keys are not made here: ask for the key type ed25519, or import a key with ImportKeyPair.",
            ));
        }
        if input.key_format.as_deref() == Some("ppk") {
            return Err(faults::unsupported(
                "Keys are told in the format pem: puttygen converts them to ppk.",
            ));
        }
        let tags = tag::of_specifications(input.tag_specifications, TaggedKind::KeyPair)?;
        let (public, private) = key_pair::new_ed25519(&*self.ids, &name)?;
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
        Ok(api::ec2::KeyPair {
            key_fingerprint: Some(made.fingerprint),
            key_material: Some(private.0),
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
    async fn the_private_key_is_told_once() {
        let server = Server::new();
        let create = "Action=CreateKeyPair&KeyName=mine&KeyType=ed25519";
        let answer = server.ask(create).await;
        assert!(answer.contains("-----BEGIN OPENSSH PRIVATE KEY-----"), "{answer}");
        let fingerprint = crate::testing::texts(&answer, "keyFingerprint");
        let described = server.ask("Action=DescribeKeyPairs&IncludePublicKey=true").await;
        assert_eq!(crate::testing::texts(&described, "keyFingerprint"), fingerprint);
        assert!(
            !described.contains("PRIVATE") && described.contains("<publicKey>ssh-ed25519 "),
            "{described}"
        );
        assert_eq!(server.fault(create).await, "400 InvalidKeyPair.Duplicate: The keypair already exists");
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        for (query, fault) in [
            ("KeyName=mine", "400 UnsupportedOperation: RSA keys are not made here"),
            ("KeyName=mine&KeyType=ed25519&KeyFormat=ppk", "400 UnsupportedOperation: "),
            ("KeyName=%C3%A9&KeyType=ed25519", "400 InvalidParameterValue: "),
            ("KeyType=ed25519", "400 MissingParameter: "),
            ("KeyName=mine&KeyType=ed25519&DryRun=true", "412 DryRunOperation: "),
        ] {
            let found = server.fault(&format!("Action=CreateKeyPair&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
        assert_eq!(server.ask_for("keyName", "Action=DescribeKeyPairs").await, [""; 0]);
    }
}
