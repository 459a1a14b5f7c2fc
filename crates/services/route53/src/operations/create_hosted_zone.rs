//! Makes a hosted zone: a public one, or with a VPC a private one. AWS: CreateHostedZone.
//!
//! Differs from AWS: the zone answers at once, so its change is INSYNC. Reusable delegation sets are not there. A public
//! zone answers to askers of this machine; its name servers are names that nobody else knows.

use api::route53::operations::CreateHostedZone;
use api::route53::{CreateHostedZoneRequest, CreateHostedZoneResponse, faults as modelled};
use domain::{DnsName, HostedZone};
use store::Transaction;
use store::rows_dns::{HOSTED_ZONES_BY_CALLER_REFERENCE, NEGATIVE_TTL_SECONDS, NewHostedZone};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{change, zone};
use crate::{Route53, faults};

impl Operation<CreateHostedZone> for Route53 {
    fn permissions(&self, _call: &Call, _input: &CreateHostedZoneRequest) -> Vec<Permission> {
        vec![Permission::new("route53:CreateHostedZone", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateHostedZoneRequest,
    ) -> Result<CreateHostedZoneResponse, Fault> {
        let name = input.name.clone().unwrap_or_default();
        let parsed =
            DnsName::parse(&name).ok().filter(|name| *name != DnsName::root() && !name.is_wildcard());
        let name = parsed
            .ok_or_else(|| modelled::invalid_domain_name(format!("{name} is not a valid domain name.")))?;
        let config = input.hosted_zone_config.clone().unwrap_or_default();
        if let Some(id) = &input.delegation_set_id {
            return Err(modelled::no_such_delegation_set(format!(
                "No delegation set found with ID: {}",
                zone::bare(id)
            )));
        }
        if config.private_zone == Some(true) && input.vpc.is_none() {
            return Err(faults::invalid(
                "When you're creating a private hosted zone (when you specify true for PrivateZone), you must also \
                 specify values for VPCId and VPCRegion.",
            ));
        }
        let reference = input.caller_reference.clone().unwrap_or_default();
        let account = &call.scope.account;

        let made = self.store.update(|snapshot| {
            let parts = [account.as_str(), reference.as_str()];
            if snapshot.index::<HostedZone>(HOSTED_ZONES_BY_CALLER_REFERENCE, &parts, None).next().is_some() {
                return Err(modelled::hosted_zone_already_exists(
                    "A hosted zone has already been created with the specified caller reference.",
                ));
            }
            if zone::all(snapshot, call).len() >= zone::ZONES_MAXIMUM {
                return Err(modelled::too_many_hosted_zones(format!(
                    "You have reached your limit of {} hosted zones.",
                    zone::ZONES_MAXIMUM
                )));
            }
            let vpc = input.vpc.as_ref().map(|vpc| zone::parse_vpc(snapshot, call, vpc)).transpose()?;
            if let Some(vpc) = &vpc {
                zone::check_conflict(snapshot, vpc, &name)?;
            }
            let mut transaction = Transaction::new();
            let new = NewHostedZone {
                account,
                name: name.clone(),
                caller_reference: Some(reference.clone()),
                comment: config.comment.clone(),
                vpc,
                linked_service: None,
                negative_ttl_seconds: NEGATIVE_TTL_SECONDS,
                now: call.now,
            };
            let row = new.make(&*self.ids, &mut transaction);
            let change = change::note(self, snapshot, call, None, &mut transaction);
            Ok((transaction, (row, change)))
        });
        let (row, change) = made.await.map_err(faults::of_update)?;

        Ok(CreateHostedZoneResponse {
            change_info: Some(change),
            delegation_set: Some(zone::delegation_set(&row)),
            location: Some(format!("https://route53.amazonaws.com/2013-04-01/hostedzone/{}", row.id)),
            vpc: row.vpcs.first().map(zone::describe_vpc),
            hosted_zone: Some(zone::describe(&row, row.record_set_count)),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, new_zone, set, texts};

    #[tokio::test]
    async fn zones_are_made_told_and_removed() {
        let world = World::new();
        let vpc = world.vpc().await;
        let private = world.zone("corp.example", Some(&vpc)).await;
        let public = world.zone("Example.COM.", None).await;
        let told = world.ok("GET", &format!("hostedzone/{private}"), "").await;
        assert_eq!(
            (texts(&told, "Name"), texts(&told, "VPCId")),
            (vec!["corp.example.".to_owned()], vec![vpc.clone()])
        );
        assert_eq!(texts(&told, "PrivateZone"), ["true"]);
        let told = world.ok("GET", &format!("hostedzone/{public}"), "").await;
        assert_eq!(texts(&told, "NameServer").len(), 4);
        assert_eq!(texts(&world.ok("GET", "hostedzonecount", "").await, "HostedZoneCount"), ["2"]);
        let by_name = world.ok("GET", "hostedzonesbyname", "").await;
        assert_eq!(texts(&by_name, "Name"), ["example.com.", "corp.example."]);
        let by_name = world.ok("GET", "hostedzonesbyname?dnsname=corp.example&maxitems=1", "").await;
        assert_eq!(texts(&by_name, "Name"), ["corp.example."]);
        let by_vpc = format!("hostedzonesbyvpc?vpcid={vpc}&vpcregion=us-east-1");
        assert_eq!(texts(&world.ok("GET", &by_vpc, "").await, "HostedZoneId"), [private.as_str()]);
        let page = world.ok("GET", "hostedzone?maxitems=1", "").await;
        let next = texts(&page, "NextMarker").concat();
        let rest = world.ok("GET", &format!("hostedzone?marker={next}"), "").await;
        assert_eq!(texts(&page, "Name").len() + texts(&rest, "Name").len(), 2);
        let limit = format!("hostedzonelimit/{private}/MAX_VPCS_ASSOCIATED_BY_ZONE");
        assert_eq!(texts(&world.ok("GET", &limit, "").await, "Count"), ["1"]);
        let limit = world.ok("GET", "accountlimit/MAX_HOSTED_ZONES_BY_OWNER", "").await;
        assert_eq!((texts(&limit, "Count"), texts(&limit, "Value")), (vec!["2".into()], vec!["500".into()]));
        assert_eq!(
            texts(&world.ok("GET", &format!("hostedzone/{public}/dnssec"), "").await, "ServeSignature"),
            ["NOT_SIGNING"]
        );

        let comment =
            "<UpdateHostedZoneCommentRequest><Comment>mine</Comment></UpdateHostedZoneCommentRequest>";
        let told = world.ok("POST", &format!("hostedzone/{public}"), comment).await;
        assert_eq!(texts(&told, "Comment"), ["mine"]);
        let tags = "<ChangeTagsForResourceRequest><AddTags><Tag><Key>k</Key><Value>v</Value></Tag></AddTags>\
            </ChangeTagsForResourceRequest>";
        world.ok("POST", &format!("tags/hostedzone/{public}"), tags).await;
        assert_eq!(texts(&world.ok("GET", &format!("tags/hostedzone/{public}"), "").await, "Value"), ["v"]);

        let answer = world.ok("DELETE", &format!("hostedzone/{private}"), "").await;
        let change = texts(&answer, "Id").concat();
        let told = world.ok("GET", change.trim_start_matches('/'), "").await;
        assert_eq!(texts(&told, "Status"), ["INSYNC"]);
        world.change(&public, &[("CREATE", set("a.example.com", "A", "", &["192.0.2.1"]))]).await.unwrap();
        let test = format!("testdnsanswer?hostedzoneid={public}&recordname=a.example.com&recordtype=A");
        let told = world.ok("GET", &test, "").await;
        assert_eq!(
            (texts(&told, "RecordDataEntry").concat(), texts(&told, "ResponseCode").concat()),
            ("192.0.2.1".into(), "NOERROR".into())
        );
        assert!(
            world.refused("DELETE", &format!("hostedzone/{public}"), "").await.contains("HostedZoneNotEmpty")
        );
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let world = World::new();
        let vpc = world.vpc().await;
        let private = world.zone("corp.example", Some(&vpc)).await;
        let public = world.zone("example.com", None).await;
        let tied = |verb: &str| {
            format!(
                "<{verb}Request><VPC><VPCRegion>us-east-1</VPCRegion><VPCId>{vpc}</VPCId></VPC></{verb}Request>"
            )
        };
        let (associate, disassociate) =
            (tied("AssociateVPCWithHostedZone"), tied("DisassociateVPCFromHostedZone"));
        for (method, path, body, words) in [
            (
                "GET",
                "hostedzone/ZNONE".to_owned(),
                String::new(),
                "404 NoSuchHostedZone: No hosted zone found with ID: ZNONE",
            ),
            ("GET", "change/CNONE".to_owned(), String::new(), "404 NoSuchChange"),
            (
                "POST",
                "hostedzone".to_owned(),
                new_zone("x.example", "example.com", None),
                "409 HostedZoneAlreadyExists",
            ),
            ("POST", "hostedzone".to_owned(), new_zone("a..b", "r", None), "400 InvalidDomainName"),
            (
                "POST",
                "hostedzone".to_owned(),
                new_zone("x.example", "r", Some("vpc-none")),
                "400 InvalidVPCId",
            ),
            (
                "POST",
                "hostedzone".to_owned(),
                new_zone("corp.example", "r", Some(&vpc)),
                "400 ConflictingDomainExists",
            ),
            (
                "POST",
                format!("hostedzone/{public}/associatevpc"),
                associate.clone(),
                "400 PublicZoneVPCAssociation",
            ),
            ("POST", format!("hostedzone/{private}/associatevpc"), associate, "400 ConflictingDomainExists"),
            (
                "POST",
                format!("hostedzone/{private}/disassociatevpc"),
                disassociate.clone(),
                "400 LastVPCAssociation",
            ),
            (
                "POST",
                format!("hostedzone/{public}/disassociatevpc"),
                disassociate,
                "404 VPCAssociationNotFound",
            ),
            (
                "GET",
                format!("hostedzonelimit/{public}/MAX_VPCS_ASSOCIATED_BY_ZONE"),
                String::new(),
                "400 HostedZoneNotPrivate",
            ),
            ("GET", "hostedzone?maxitems=x".to_owned(), String::new(), "400 InvalidInput"),
            (
                "GET",
                format!("hostedzonesbyvpc?vpcid={vpc}&vpcregion=us-east-1&nexttoken=x"),
                String::new(),
                "400 InvalidPaginationToken",
            ),
            ("GET", "tags/healthcheck/none".to_owned(), String::new(), "404 NoSuchHealthCheck"),
        ] {
            let refused = world.refused(method, &path, &body).await;
            assert!(refused.starts_with(words), "{method} {path}: {refused}");
        }
    }
}
