//! DescribeListenerCertificates: tells the certificates of a listener, the default one too. Source: Elastic Load Balancing
//! API reference, "DescribeListenerCertificates".
//!
//! Differs from AWS: nothing known.

use api::elasticloadbalancing::operations::DescribeListenerCertificates;
use api::elasticloadbalancing::{
    Certificate, DescribeListenerCertificatesInput, DescribeListenerCertificatesOutput,
};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::listing;
use crate::resources::listener;

impl Operation<DescribeListenerCertificates> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &DescribeListenerCertificatesInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:DescribeListenerCertificates", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeListenerCertificatesInput,
    ) -> Result<DescribeListenerCertificatesOutput, Fault> {
        let arn = input.listener_arn.unwrap_or_default();
        let found = listener::find(&self.store.snapshot(), &call.scope, &arn)?;
        let rows: Vec<_> = found.certificates.iter().cloned().enumerate().collect();
        // In the listener's order, in which the default one is the first.
        let key = |(at, _): &(usize, String)| format!("{at:04}");
        let operation = "DescribeListenerCertificates";
        let page = listing::page(operation, rows, key, input.marker.as_deref(), input.page_size)?;
        let told = |(at, arn): (usize, String)| Certificate {
            certificate_arn: Some(arn),
            is_default: Some(at == 0),
        };
        Ok(DescribeListenerCertificatesOutput {
            certificates: Some(page.rows.into_iter().map(told).collect()),
            next_marker: page.next_marker,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn an_http_listener_has_none() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let group = server.target_group("web").await;
        let listener = server.listener(&front, 80, &group).await;
        let query = format!("Action=DescribeListenerCertificates&ListenerArn={listener}");
        assert!(server.ok(&query).await.contains("<Certificates></Certificates>"));
        assert_eq!(
            server.fault(&format!("{query}0")).await,
            format!("400 ListenerNotFound: Listener '{listener}0' not found")
        );
    }
}
