//! DescribeInstanceStatus: tells whether the agents of the instances are heard. Source: Amazon EC2 API reference, "DescribeInstanceStatus".
//!
//! Differs from AWS: a machine is reachable while its ECS agent is connected; else there is no data. There are no events.

use api::ec2::operations::DescribeInstanceStatus;
use api::ec2::{DescribeInstanceStatusRequest, DescribeInstanceStatusResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::instance::{self, STATUS};

impl Operation<DescribeInstanceStatus> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeInstanceStatusRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeInstanceStatus", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeInstanceStatusRequest,
    ) -> Result<DescribeInstanceStatusResult, Fault> {
        let rows = instance::all(&self.snapshot(call).await?, &call.scope);
        let question = Question {
            dry_run: input.dry_run,
            ids: input.instance_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = STATUS.answer(question, rows)?;
        Ok(DescribeInstanceStatusResult {
            instance_statuses: Some(page.rows.iter().map(instance::describe_status).collect()),
            next_token: page.next_token,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_silent_agent_leaves_no_data() {
        let server = Server::new();
        let mut instance = server.add_instance("i-0123456789abcdef0").await;
        let query = "Action=DescribeInstanceStatus";
        assert_eq!(server.ask_for("status", query).await, ["passed", "ok", "passed", "ok"]);
        instance.agent_connected = false;
        server.put(instance).await;
        let query =
            format!("{query}&Filter.1.Name=instance-status.status&Filter.1.Value.1=insufficient-data");
        assert_eq!(server.ask_for("instanceId", &query).await, ["i-0123456789abcdef0"]);
        let fault = server.fault("Action=DescribeInstanceStatus&InstanceId.1=i-0").await;
        assert_eq!(fault, "400 InvalidInstanceID.NotFound: The instance ID 'i-0' does not exist");
    }
}
