//! DescribeTags: tells the tags of all resources. Source: Amazon EC2 API reference, "DescribeTags".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeTags;
use api::ec2::{DescribeTagsRequest, DescribeTagsResult};
use base::PageToken;
use wire::{Call, Fault, Operation, Permission};

use crate::filter::Filters;
use crate::listing::page_size;
use crate::resources::tag;
use crate::{Ec2, faults};

const LISTING: &str = "DescribeTags";

impl Operation<DescribeTags> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeTagsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeTags", "*")]
    }

    async fn handle(&self, call: &Call, input: DescribeTagsRequest) -> Result<DescribeTagsResult, Fault> {
        let filters = Filters::parse(input.filters, tag::FILTERS, true)?;
        let size = page_size(input.max_results)?;
        let after = input.next_token.map(|token| PageToken::decode(LISTING, &token)).transpose();
        let after = after.map_err(|_| faults::invalid_value("Unable to parse pagination token"))?;
        if input.dry_run == Some(true) {
            return Err(faults::dry_run());
        }

        let mut tags = tag::all(&self.snapshot(call).await?, &call.scope);
        tags.retain(|tag| filters.match_row(tag));
        tags.sort_by_cached_key(tag::DescribedTag::position);
        tags.retain(|tag| after.as_ref().is_none_or(|after| tag.position() > after.after));
        let has_more = tags.len() > size;
        tags.truncate(size);

        let last = tags.last().filter(|_| has_more);
        Ok(DescribeTagsResult {
            next_token: last.map(|tag| PageToken::encode(LISTING, &tag.position())),
            tags: Some(tags.iter().map(tag::describe_one).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn tags_are_told_one_by_one() {
        let server = Server::new();
        let made = server.default_vpc().await;
        let (vpc, subnet) = (&made.vpc.id, &made.subnets[0].id);
        assert_eq!(server.ask_for("key", "Action=DescribeTags").await, [""; 0]);
        let tags = "&Tag.1.Key=a&Tag.1.Value=1&Tag.2.Key=b&Tag.2.Value=2&Tag.3.Key=c&Tag.3.Value=3";
        server.ask(&format!("Action=CreateTags&ResourceId.1={vpc}&ResourceId.2={subnet}{tags}")).await;
        let query = "Action=DescribeTags&Filter.1.Name=resource-type&Filter.1.Value.1=vpc\
            &Filter.2.Name=key&Filter.2.Value.1=b";
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeTagsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <tagSet>
                <item>
                  <key>b</key>
                  <resourceId>vpc-befba86ae9e0c2078</resourceId>
                  <resourceType>vpc</resourceType>
                  <value>2</value>
                </item>
              </tagSet>
            </DescribeTagsResponse>"#]]
        .assert_eq(&server.ask(query).await);
        for (name, value, count) in [
            ("resource-id", vpc.as_str(), 3),
            ("value", "2", 2),
            ("tag:a", "1", 2),
            ("tag-key", "?", 6),
            ("key", "x", 0),
        ] {
            let query = format!("Action=DescribeTags&Filter.1.Name={name}&Filter.1.Value.1={value}");
            assert_eq!(server.ask_for("key", &query).await.len(), count, "{name}={value}");
        }
        let first = server.ask("Action=DescribeTags&MaxResults=5").await;
        let token = crate::testing::texts(&first, "nextToken").concat();
        assert_eq!(crate::testing::texts(&first, "key"), ["a", "b", "c", "a", "b"]);
        let rest = format!("Action=DescribeTags&MaxResults=5&NextToken={token}");
        assert_eq!(server.ask_for("key", &rest).await, ["c"]);
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let fault = server.fault("Action=DescribeTags&Filter.1.Name=x&Filter.1.Value.1=y").await;
        assert_eq!(fault, "400 InvalidParameterValue: The filter 'x' is invalid");
        let fault = server.fault("Action=DescribeTags&NextToken=eA").await;
        assert_eq!(fault, "400 InvalidParameterValue: Unable to parse pagination token");
        assert!(server.fault("Action=DescribeTags&DryRun=true").await.starts_with("412 DryRunOperation"));
    }
}
