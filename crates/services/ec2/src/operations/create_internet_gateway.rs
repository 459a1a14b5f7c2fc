//! CreateInternetGateway: makes an internet gateway. Source: Amazon EC2 API reference, "CreateInternetGateway".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::CreateInternetGateway;
use api::ec2::{CreateInternetGatewayRequest, CreateInternetGatewayResult};
use wire::{Call, Fault, Operation, Permission};

use domain::InternetGateway;
use store::{Key, Transaction};

use crate::Ec2;
use crate::resources::tag::{self, TaggedKind};
use crate::resources::{internet_gateway, resource_arn};

/// Source: "Amazon VPC quotas": as many as VPCs.
const GATEWAYS_PER_REGION: usize = 5;

impl Operation<CreateInternetGateway> for Ec2 {
    fn permissions(&self, call: &Call, _input: &CreateInternetGatewayRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:CreateInternetGateway", resource_arn(call, "internet-gateway", Some("*")))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateInternetGatewayRequest,
    ) -> Result<CreateInternetGatewayResult, Fault> {
        let tags = tag::of_specifications(input.tag_specifications, TaggedKind::InternetGateway)?;
        let made = self
            .change(call, input.dry_run, |snapshot| {
                let known = snapshot.scan::<InternetGateway>(Key::prefix(&call.scope, &[]), None);
                if known.count() >= GATEWAYS_PER_REGION {
                    let message = "The maximum number of internet gateways has been reached.";
                    return Err(Fault::new("InternetGatewayLimitExceeded", message, 400));
                }
                let made = InternetGateway {
                    scope: call.scope.clone(),
                    id: format!("igw-{}", self.ids.hex(17)),
                    vpc: None,
                    tags: tags.clone(),
                };
                let mut transaction = Transaction::new();
                transaction.insert(made.clone());
                Ok((transaction, made))
            })
            .await?;
        Ok(CreateInternetGatewayResult { internet_gateway: Some(internet_gateway::describe(&made)) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn a_gateway_is_made_and_there_are_at_most_five() {
        let server = Server::new();
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <CreateInternetGatewayResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <internetGateway>
                <attachmentSet></attachmentSet>
                <internetGatewayId>igw-822d5fe3b5885a806</internetGatewayId>
                <ownerId>123456789012</ownerId>
                <tagSet></tagSet>
              </internetGateway>
            </CreateInternetGatewayResponse>"#]]
        .assert_eq(&server.ask("Action=CreateInternetGateway").await);
        for _ in 0..3 {
            server.create_gateway(None).await;
        }
        let fault = server.fault("Action=CreateInternetGateway").await;
        assert_eq!(
            fault,
            "400 InternetGatewayLimitExceeded: The maximum number of internet gateways has been reached."
        );
    }
}
