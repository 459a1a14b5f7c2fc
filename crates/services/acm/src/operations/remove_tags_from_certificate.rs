//! RemoveTagsFromCertificate: removes tags from a certificate: those of a key, or only those with the value too. Source: AWS
//! Certificate Manager API reference, "RemoveTagsFromCertificate".
//!
//! Differs from AWS: nothing known. As there, a tag whose value is told is left where it has another.

use api::acm::RemoveTagsFromCertificateRequest;
use api::acm::operations::RemoveTagsFromCertificate;
use domain::Certificate;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::Acm;
use crate::faults::of_update;
use crate::resources::{certificate, tag};

impl Operation<RemoveTagsFromCertificate> for Acm {
    fn permissions(&self, _call: &Call, input: &RemoveTagsFromCertificateRequest) -> Vec<Permission> {
        let arn = input.certificate_arn.as_deref().unwrap_or_default();
        vec![Permission::new("acm:RemoveTagsFromCertificate", arn)]
    }

    async fn handle(&self, call: &Call, input: RemoveTagsFromCertificateRequest) -> Result<Unit, Fault> {
        let arn = input.certificate_arn.unwrap_or_default();
        let tags = tag::parse(input.tags)?;
        let changed = self.store.update(|snapshot| {
            let found = certificate::find(snapshot, &call.scope, &arn)?;
            let mut row = Certificate::clone(&found);
            row.tags.retain(|known| {
                let matches = |(key, value): &(String, Option<String>)| {
                    *key == known.key && value.as_ref().is_none_or(|value| *value == known.value)
                };
                !tags.iter().any(matches)
            });
            let mut transaction = Transaction::new();
            transaction.replace(&found, row);
            Ok((transaction, ()))
        });
        changed.await.map_err(of_update)?;
        Ok(Unit::default())
    }
}

// Tested with AddTagsToCertificate.
