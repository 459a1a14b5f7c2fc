//! Makes, changes and removes record sets of a hosted zone, all of a batch or nothing. AWS:
//! ChangeResourceRecordSets.
//!
//! Differs from AWS: record types NAPTR, DS, TLSA, SSHFP, SVCB and HTTPS, geoproximity and CIDR routing and traffic
//! policies are refused by name. Aliases lead to load balancers and to records of the same zone. The wordings of messages
//! that users have not reported are ours.

use api::route53::operations::ChangeResourceRecordSets;
use api::route53::{ChangeResourceRecordSetsRequest, ChangeResourceRecordSetsResponse};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{batch, change, zone};
use crate::{Route53, faults};

impl Operation<ChangeResourceRecordSets> for Route53 {
    fn permissions(&self, _call: &Call, input: &ChangeResourceRecordSetsRequest) -> Vec<Permission> {
        vec![Permission::new("route53:ChangeResourceRecordSets", zone::arn(input.hosted_zone_id.as_deref()))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ChangeResourceRecordSetsRequest,
    ) -> Result<ChangeResourceRecordSetsResponse, Fault> {
        let id = input.hosted_zone_id.unwrap_or_default();
        let given = input.change_batch.unwrap_or_default();
        let changes = given.changes.unwrap_or_default();
        let done = self.store.update(|snapshot| {
            let row = zone::find_own(snapshot, call, &id)?;
            let mut transaction = Transaction::new();
            batch::apply(snapshot, &row, &changes, &mut transaction)?;
            let change = change::note(self, snapshot, call, given.comment.clone(), &mut transaction);
            Ok((transaction, change))
        });
        let change = done.await.map_err(faults::of_update)?;
        Ok(ChangeResourceRecordSetsResponse { change_info: Some(change) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, alias, set, texts};

    fn a(name: &str, value: &str) -> String {
        set(name, "A", "", &[value])
    }

    #[tokio::test]
    async fn a_batch_is_made_whole_or_not_at_all() {
        let world = World::new();
        let zone = world.zone("example.com", None).await;
        let good = ("CREATE", a("www.example.com", "192.0.2.1"));
        let bad = ("DELETE", a("none.example.com", "192.0.2.1"));
        assert_eq!(
            world.change(&zone, &[good.clone(), bad]).await.unwrap_err(),
            "InvalidChangeBatch: [Tried to delete resource record set [name='none.example.com.', type='A'] but it was \
             not found]"
        );
        assert_eq!(world.listed(&zone, "").await, ["example.com. NS", "example.com. SOA"]);
        world.change(&zone, &[good]).await.unwrap();
        world
            .change(
                &zone,
                &[
                    ("UPSERT", a("www.example.com", "192.0.2.2")),
                    ("UPSERT", a("b.example.com", "192.0.2.3")),
                    ("CREATE", set("*.example.com", "TXT", "", &["\"x\""])),
                ],
            )
            .await
            .unwrap();
        let listed = world.listed(&zone, "").await;
        assert_eq!(listed[2..], ["\\052.example.com. TXT", "b.example.com. A", "www.example.com. A"]);
        let answer =
            world.ok("GET", &format!("hostedzone/{zone}/rrset?name=www.example.com&type=A"), "").await;
        assert_eq!(texts(&answer, "Value"), ["192.0.2.2"]);
        let page = world.ok("GET", &format!("hostedzone/{zone}/rrset?maxitems=3"), "").await;
        assert_eq!(texts(&page, "NextRecordName"), ["b.example.com."]);
        assert_eq!(world.listed(&zone, "?name=b.example.com&type=A").await.len(), 2);
        let one = ("DELETE", a("b.example.com", "192.0.2.9"));
        assert!(world.change(&zone, &[one]).await.unwrap_err().contains("do not match the current values"));
        let two = [("DELETE", a("b.example.com", "192.0.2.3")), ("CREATE", a("b.example.com", "192.0.2.4"))];
        world.change(&zone, &two).await.unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused_in_route_53s_words() {
        let world = World::new();
        let zone = world.zone("example.com", None).await;
        world.change(&zone, &[("CREATE", a("www.example.com", "192.0.2.1"))]).await.unwrap();
        let weighted = |id: &str| {
            set(
                "w.example.com",
                "A",
                &format!("<SetIdentifier>{id}</SetIdentifier><Weight>1</Weight>"),
                &["192.0.2.1"],
            )
        };
        world.change(&zone, &[("CREATE", weighted("one")), ("CREATE", weighted("two"))]).await.unwrap();
        for (changes, words) in [
            (
                vec![("CREATE", a("www.example.com", "192.0.2.1"))],
                "InvalidChangeBatch: [Tried to create resource record set [name='www.example.com.', type='A'] but it \
                 already exists]",
            ),
            (
                vec![("CREATE", a("www.example.org", "192.0.2.1"))],
                "InvalidChangeBatch: [RRSet with DNS name www.example.org. is not permitted in zone example.com.]",
            ),
            (
                vec![("CREATE", a("x.example.com", "nonsense"))],
                "InvalidChangeBatch: [Invalid Resource Record: 'FATAL problem: ARRDATAIllegalIPv4Address (Value is not \
                 a valid IPv4 address) encountered with 'nonsense'']",
            ),
            (
                vec![("CREATE", set("www.example.com", "CNAME", "", &["a.example.com"]))],
                "InvalidChangeBatch: [RRSet of type CNAME with DNS name www.example.com. is not permitted as it \
                 conflicts with other records with the same DNS name in zone example.com.]",
            ),
            (
                vec![("CREATE", set("example.com", "CNAME", "", &["a.example.com"]))],
                "InvalidChangeBatch: [RRSet of type CNAME with DNS name example.com. is not permitted at apex in zone \
                 example.com.]",
            ),
            (
                vec![("CREATE", a("w.example.com", "192.0.2.1"))],
                "InvalidChangeBatch: [RRSet with DNS name w.example.com., type A, SetIdentifier one cannot be created \
                 as other RRSets exist with the same name and type.]",
            ),
            (
                vec![
                    ("UPSERT", a("t.example.com", "192.0.2.1")),
                    ("UPSERT", a("t.example.com", "192.0.2.2")),
                ],
                "InvalidChangeBatch: [The request contains an invalid set of changes for a resource record set \
                 'A t.example.com.']",
            ),
            (
                vec![("CREATE", set("d.example.com", "A", "", &["192.0.2.1", "192.0.2.1"]))],
                "InvalidChangeBatch: [Duplicate Resource Record: '192.0.2.1']",
            ),
            (
                vec![("CREATE", alias("e.example.com", &zone, "none.example.com"))],
                "that target was not found]",
            ),
            (
                vec![(
                    "CREATE",
                    alias("e.example.com", "Z35SXDOTRQ7X7K", "web-1.us-east-1.elb.amazonaws.com"),
                )],
                "the alias target name does not lie within the target zone]",
            ),
            (
                vec![("CREATE", "<Name>x.example.com</Name><Type>A</Type>".to_owned())],
                "InvalidInput: Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], \
                 or TrafficPolicyInstanceId], but found none in Change with [Action=CREATE, Name=x.example.com, Type=A, \
                 SetIdentifier=null]",
            ),
            (
                vec![("CREATE", set("x.example.com", "A", "<Weight>1</Weight>", &["192.0.2.1"]))],
                "InvalidInput: Invalid request: Missing field 'SetIdentifier' in Change with [Action=CREATE, \
                 Name=x.example.com, Type=A, SetIdentifier=null]",
            ),
            (
                vec![("CREATE", set("x.example.com", "NAPTR", "", &["x"]))],
                "InvalidInput: The record type 'NAPTR' is not supported by Roadstead",
            ),
            (
                vec![(
                    "CREATE",
                    set("x.example.com", "A", "<HealthCheckId>none</HealthCheckId>", &["192.0.2.1"]),
                )],
                "NoSuchHealthCheck: A health check with id none does not exist.",
            ),
        ] {
            let refused = world.change(&zone, &changes).await.unwrap_err();
            assert!(refused.ends_with(words), "{refused}\nis not\n{words}");
        }
        let none = world.change("ZNONE", &[("CREATE", a("x.example.com", "192.0.2.1"))]).await.unwrap_err();
        assert_eq!(none, "NoSuchHostedZone: No hosted zone found with ID: ZNONE");
        assert_eq!(world.listed(&zone, "").await.len(), 5, "nothing was changed");
    }
}
