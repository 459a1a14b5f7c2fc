//! ListCertificates: tells the certificates of the account and region. Source: AWS Certificate Manager API reference,
//! "ListCertificates".
//!
//! Differs from AWS: certificates of all key algorithms are listed where `keyTypes` names none: those that are made here
//! have keys of elliptic curves, which AWS would leave out.

use api::acm::operations::ListCertificates;
use api::acm::{Filters, ListCertificatesRequest, ListCertificatesResponse, faults};
use base::PageToken;
use domain::Certificate;
use store::Key;
use wire::{Call, Fault, Operation, Permission};

use crate::Acm;
use crate::faults::validation;
use crate::resources::certificate;
use crate::x509;

/// Source: ListCertificates, `MaxItems`.
const PAGE_MAXIMUM: usize = 1000;
const LISTING: &str = "ListCertificates";

impl Operation<ListCertificates> for Acm {
    fn permissions(&self, _call: &Call, _input: &ListCertificatesRequest) -> Vec<Permission> {
        vec![Permission::new("acm:ListCertificates", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListCertificatesRequest,
    ) -> Result<ListCertificatesResponse, Fault> {
        if input.sort_by.is_some() != input.sort_order.is_some() {
            return Err(faults::invalid_args_exception("SortBy and SortOrder must be specified together."));
        }
        let after = input.next_token.map(|token| PageToken::decode(LISTING, &token)).transpose();
        let after = after.map_err(|_| validation("The NextToken is invalid."))?;
        let snapshot = self.store.snapshot();
        let mut rows: Vec<_> = snapshot.scan::<Certificate>(Key::prefix(&call.scope, &[]), None).collect();
        let is_wanted = |wanted: &Option<Vec<String>>, value: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|wanted| wanted == value))
        };
        rows.retain(|row| {
            let told = certificate::summarize(&snapshot, row, call.now);
            is_wanted(&input.certificate_statuses, told.status.as_deref().unwrap_or_default())
                && is_wanted(
                    &input.certificate_key_pair_origins,
                    told.certificate_key_pair_origin.as_deref().unwrap_or_default(),
                )
                && input.includes.as_ref().is_none_or(|filters| is_included(filters, row))
        });
        let is_descending = input.sort_order.as_deref() == Some("DESCENDING");
        let key = |row: &Certificate| {
            let created = row.created_at.as_millis();
            format!("{:020}/{}", if is_descending { i64::MAX - created } else { created }, row.id)
        };
        rows.sort_by_cached_key(|row| key(row));
        rows.retain(|row| after.as_ref().is_none_or(|after| key(row) > after.after));
        let size = input.max_items.and_then(|size| usize::try_from(size).ok()).unwrap_or(PAGE_MAXIMUM);
        let has_more = rows.len() > size;
        rows.truncate(size);
        let next_token = rows.last().filter(|_| has_more).map(|row| PageToken::encode(LISTING, &key(row)));
        let told = rows.iter().map(|row| certificate::summarize(&snapshot, row, call.now)).collect();
        Ok(ListCertificatesResponse { certificate_summary_list: Some(told), next_token })
    }
}

fn is_included(filters: &Filters, row: &Certificate) -> bool {
    let usages = certificate::key_usages(row);
    let extended: Vec<String> =
        certificate::extended_key_usages(row).into_iter().map(|(name, _)| name).collect();
    let algorithm = certificate::fact(row, x509::KEY_ALGORITHM).unwrap_or_default();
    let has_all = |wanted: &Option<Vec<String>>, known: &[String]| {
        wanted.as_ref().is_none_or(|wanted| wanted.iter().all(|wanted| known.contains(wanted)))
    };
    filters.key_types.as_ref().is_none_or(|wanted| wanted.is_empty() || wanted.contains(&algorithm))
        && has_all(&filters.key_usage, &usages)
        && has_all(&filters.extended_key_usage, &extended)
        // None can be exported, and CloudFront manages none.
        && filters.export_option.as_deref().is_none_or(|option| option == "DISABLED")
        && filters.managed_by.is_none()
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, self_signed};

    #[tokio::test]
    async fn by_page_by_state_and_by_key() {
        let server = Server::new();
        let own = self_signed(&["one.example.com"]);
        let one = server.import(&own.certificate, None, &own.private_key).await;
        server.clock.advance_millis(1000);
        let two = server
            .arn("RequestCertificate", r#"{"DomainName":"two.example.com","KeyAlgorithm":"EC_secp384r1"}"#)
            .await;
        let list = |body: &str| {
            let (server, body) = (&server, body.to_owned());
            async move {
                let told = server.ok("ListCertificates", &body).await;
                let arns = told.split(r#""CertificateArn":""#).skip(1);
                arns.map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
            }
        };
        assert_eq!(list("{}").await, [one.clone(), two.clone()]);
        assert_eq!(
            list(r#"{"SortBy":"CREATED_AT","SortOrder":"DESCENDING"}"#).await,
            [two.clone(), one.clone()]
        );
        assert_eq!(list(r#"{"Includes":{"keyTypes":["EC_secp384r1"]}}"#).await.concat(), two);
        assert_eq!(list(r#"{"CertificateKeyPairOrigins":["CUSTOMER_PROVIDED"]}"#).await.concat(), one);
        assert!(list(r#"{"CertificateStatuses":["EXPIRED"]}"#).await.is_empty());
        let page = server.ok("ListCertificates", r#"{"MaxItems":1}"#).await;
        let token = page.split(r#""NextToken":""#).nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(list(&format!(r#"{{"NextToken":"{token}"}}"#)).await.concat(), two);
        for (body, fault) in [
            (r#"{"NextToken":"x"}"#, "400 ValidationException: The NextToken is invalid."),
            (
                r#"{"SortBy":"CREATED_AT"}"#,
                "400 InvalidArgsException: SortBy and SortOrder must be specified together.",
            ),
        ] {
            assert_eq!(server.fault("ListCertificates", body).await, fault);
        }
    }
}
