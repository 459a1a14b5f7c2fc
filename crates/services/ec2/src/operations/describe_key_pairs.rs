//! DescribeKeyPairs: tells the key pairs of the account and region. Source: Amazon EC2 API reference, "DescribeKeyPairs".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeKeyPairs;
use api::ec2::{DescribeKeyPairsRequest, DescribeKeyPairsResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::key_pair::{self, KIND};

impl Operation<DescribeKeyPairs> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeKeyPairsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeKeyPairs", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeKeyPairsRequest,
    ) -> Result<DescribeKeyPairsResult, Fault> {
        let mut rows = key_pair::all(&self.snapshot(call).await?, &call.scope);
        let names = input.key_names.unwrap_or_default();
        if let Some(unknown) = names.iter().find(|name| !rows.iter().any(|known| known.name == **name)) {
            return Err(key_pair::no_such_name(unknown));
        }
        rows.retain(|known| names.is_empty() || names.contains(&known.name));
        let question = Question {
            dry_run: input.dry_run,
            ids: input.key_pair_ids,
            filters: input.filters,
            max_results: None,
            next_token: None,
        };
        let page = KIND.answer(question, rows)?;
        let with_public_key = input.include_public_key == Some(true);
        let told = page.rows.iter().map(|known| key_pair::describe(known, with_public_key)).collect();
        Ok(DescribeKeyPairsResult { key_pairs: Some(told) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn key_pairs_are_told_and_picked() {
        let server = Server::new();
        for name in ["one", "other"] {
            server.done(&format!("Action=CreateKeyPair&KeyType=ed25519&KeyName={name}")).await;
        }
        for (query, count) in [
            ("", 2),
            ("&KeyName.1=one", 1),
            ("&Filter.1.Name=key-name&Filter.1.Value.1=o*", 2),
            ("&Filter.1.Name=fingerprint&Filter.1.Value.1=x", 0),
        ] {
            let query = format!("Action=DescribeKeyPairs{query}");
            assert_eq!(server.ask_for("keyName", &query).await.len(), count, "{query}");
        }
        let answer = server.ask("Action=DescribeKeyPairs").await;
        assert!(!answer.contains("<publicKey>"), "{answer}");
        for (query, fault) in [
            ("KeyName.1=x", "400 InvalidKeyPair.NotFound: The key pair 'x' does not exist"),
            ("KeyPairId.1=key-0", "400 InvalidKeyPair.NotFound: The key pair ID 'key-0' does not exist"),
        ] {
            assert_eq!(server.fault(&format!("Action=DescribeKeyPairs&{query}")).await, fault);
        }
    }
}
