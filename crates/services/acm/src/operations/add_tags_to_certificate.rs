//! AddTagsToCertificate: adds tags to a certificate, or changes their values. Source: AWS Certificate Manager API reference,
//! "AddTagsToCertificate".
//!
//! Differs from AWS: nothing known.

use api::acm::AddTagsToCertificateRequest;
use api::acm::operations::AddTagsToCertificate;
use domain::Certificate;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::Acm;
use crate::faults::of_update;
use crate::resources::{certificate, tag};

impl Operation<AddTagsToCertificate> for Acm {
    fn permissions(&self, _call: &Call, input: &AddTagsToCertificateRequest) -> Vec<Permission> {
        let arn = input.certificate_arn.as_deref().unwrap_or_default();
        vec![Permission::new("acm:AddTagsToCertificate", arn)]
    }

    async fn handle(&self, call: &Call, input: AddTagsToCertificateRequest) -> Result<Unit, Fault> {
        let arn = input.certificate_arn.unwrap_or_default();
        let tags = tag::parse(input.tags)?;
        let changed = self.store.update(|snapshot| {
            let found = certificate::find(snapshot, &call.scope, &arn)?;
            let mut row = Certificate::clone(&found);
            tag::add(&mut row.tags, &tags)?;
            let mut transaction = Transaction::new();
            transaction.replace(&found, row);
            Ok((transaction, ()))
        });
        changed.await.map_err(of_update)?;
        Ok(Unit::default())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, self_signed};

    #[tokio::test]
    async fn tags_come_change_and_go() {
        let server = Server::new();
        let own = self_signed(&["example.com"]);
        let arn = server.import(&own.certificate, None, &own.private_key).await;
        let body = |tags: &str| format!(r#"{{"CertificateArn":"{arn}","Tags":[{tags}]}}"#);
        server.ok("AddTagsToCertificate", &body(r#"{"Key":"a","Value":"1"},{"Key":"b"}"#)).await;
        server.ok("AddTagsToCertificate", &body(r#"{"Key":"a","Value":"2"}"#)).await;
        let list = format!(r#"{{"CertificateArn":"{arn}"}}"#);
        assert_eq!(
            server.ok("ListTagsForCertificate", &list).await,
            r#"200 {"Tags":[{"Key":"a","Value":"2"},{"Key":"b","Value":""}]}"#
        );
        server.ok("RemoveTagsFromCertificate", &body(r#"{"Key":"a","Value":"1"},{"Key":"b"}"#)).await;
        assert_eq!(
            server.ok("ListTagsForCertificate", &list).await,
            r#"200 {"Tags":[{"Key":"a","Value":"2"}]}"#,
            "a value that is told must be the tag's"
        );
        let many: Vec<_> = (0..50).map(|n| format!(r#"{{"Key":"k{n}"}}"#)).collect();
        assert_eq!(
            server.fault("AddTagsToCertificate", &body(&many.join(","))).await,
            "400 TooManyTagsException: The certificate cannot have more than 50 tags."
        );
        for (tags, fault) in [
            (r#"{"Key":"aws:a"}"#, "InvalidTagException: Tag key 'aws:a' is invalid"),
            (r#"{"Key":"a"},{"Key":"a"}"#, "InvalidTagException: Tag key 'a' is specified more than once."),
        ] {
            let told = server.fault("AddTagsToCertificate", &body(tags)).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{told}");
        }
        let gone = body(r#"{"Key":"a"}"#).replace(&arn, &format!("{arn}0"));
        for operation in ["AddTagsToCertificate", "RemoveTagsFromCertificate"] {
            assert_eq!(
                server.fault(operation, &gone).await,
                format!("400 ResourceNotFoundException: Could not find certificate {arn}0.")
            );
        }
    }
}
