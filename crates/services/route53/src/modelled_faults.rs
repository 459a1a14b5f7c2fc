//! Every fault that the model names for an operation: what brings it about, or why nothing does here.

use std::collections::BTreeSet;

use crate::testing::{World, new_zone, set, texts};

/// A call and the fault that it is answered with: operation, method, path, body, fault. `$…` stand for what [`ids`] made.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);

const NO_VPC: &str = "<R><VPC><VPCRegion>us-east-1</VPCRegion><VPCId>vpc-0123456789abcdef0</VPCId></VPC></R>";
const VPC: &str = "<R><VPC><VPCRegion>us-east-1</VPCRegion><VPCId>$VPC</VPCId></VPC></R>";
const HALF_VPC: &str = "<R><VPC><VPCRegion>us-east-1</VPCRegion></VPC></R>";
const BATCH: &str = "<R><ChangeBatch><Changes><Change><Action>CREATE</Action><ResourceRecordSet>$SET</ResourceRecordSet>\
    </Change></Changes></ChangeBatch></R>";
const WATCHED: &str = "<R><ChangeBatch><Changes><Change><Action>CREATE</Action><ResourceRecordSet><Name>a.public.test</Name>\
    <Type>A</Type><SetIdentifier>1</SetIdentifier><Weight>1</Weight><TTL>60</TTL><ResourceRecords><ResourceRecord>\
    <Value>1.2.3.4</Value></ResourceRecord></ResourceRecords><HealthCheckId>gone</HealthCheckId></ResourceRecordSet>\
    </Change></Changes></ChangeBatch></R>";
const NO_CHANGE: &str = "<R><ChangeBatch><Changes></Changes></ChangeBatch></R>";
const ADD_TAG: &str = "<R><AddTags><Tag><Key>a</Key></Tag></AddTags></R>";
const CHECK: &str = "<R><CallerReference>$REFERENCE</CallerReference><HealthCheckConfig><IPAddress>127.0.0.1</IPAddress>\
    <Port>81</Port><Type>TCP</Type></HealthCheckConfig></R>";
const NO_CHECK: &str =
    "<R><CallerReference>x</CallerReference><HealthCheckConfig><Type>TCP</Type></HealthCheckConfig></R>";
const TAGS_OF_NONE: &str = "<R><ResourceIds><ResourceId>gone</ResourceId></ResourceIds></R>";
/// Longer than the model allows.
const LONG: &str = "Z0123456789012345678901234567890123456789012345678901234567890123456789";

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("AssociateVPCWithHostedZone", "POST", "hostedzone/gone/associatevpc", VPC, "404 NoSuchHostedZone"),
    ("AssociateVPCWithHostedZone", "POST", "hostedzone/$PRIVATE/associatevpc", NO_VPC, "400 InvalidVPCId"),
    ("AssociateVPCWithHostedZone", "POST", "hostedzone/$PRIVATE/associatevpc", HALF_VPC, "400 InvalidInput"),
    ("AssociateVPCWithHostedZone", "POST", "hostedzone/$PUBLIC/associatevpc", VPC, "400 PublicZoneVPCAssociation"),
    ("AssociateVPCWithHostedZone", "POST", "hostedzone/$PRIVATE/associatevpc", VPC, "400 ConflictingDomainExists"),
    ("ChangeResourceRecordSets", "POST", "hostedzone/gone/rrset/", BATCH, "404 NoSuchHostedZone"),
    ("ChangeResourceRecordSets", "POST", "hostedzone/$PUBLIC/rrset/", BATCH, "400 InvalidChangeBatch"),
    ("ChangeResourceRecordSets", "POST", "hostedzone/$PUBLIC/rrset/", WATCHED, "404 NoSuchHealthCheck"),
    ("ChangeResourceRecordSets", "POST", "hostedzone/$PUBLIC/rrset/", NO_CHANGE, "400 InvalidInput"),
    ("ChangeTagsForResource", "POST", "tags/hostedzone/gone", ADD_TAG, "404 NoSuchHostedZone"),
    ("ChangeTagsForResource", "POST", "tags/healthcheck/gone", ADD_TAG, "404 NoSuchHealthCheck"),
    ("ChangeTagsForResource", "POST", "tags/hostedzone/$PUBLIC", "<R></R>", "400 InvalidInput"),
    ("CreateHealthCheck", "POST", "healthcheck", NO_CHECK, "400 InvalidInput"),
    ("CreateHealthCheck", "POST", "healthcheck", CHECK, "409 HealthCheckAlreadyExists"),
    ("CreateHostedZone", "POST", "hostedzone", "$ZONE(a..b,1,)", "400 InvalidDomainName"),
    ("CreateHostedZone", "POST", "hostedzone", "$ZONE(x.test,public.test,)", "409 HostedZoneAlreadyExists"),
    ("CreateHostedZone", "POST", "hostedzone", "$ZONE(x.test,2,vpc-0123456789abcdef0)", "400 InvalidVPCId"),
    ("CreateHostedZone", "POST", "hostedzone", "$ZONE(private.test,3,$VPC)", "400 ConflictingDomainExists"),
    ("CreateHostedZone", "POST", "hostedzone", "<R><Name>x.test</Name><CallerReference>4</CallerReference>\
        <DelegationSetId>N1</DelegationSetId></R>", "400 NoSuchDelegationSet"),
    ("CreateHostedZone", "POST", "hostedzone", "<R><Name>x.test</Name><CallerReference>5</CallerReference>\
        <HostedZoneConfig><PrivateZone>true</PrivateZone></HostedZoneConfig></R>", "400 InvalidInput"),
    ("DeleteHealthCheck", "DELETE", "healthcheck/gone", "", "404 NoSuchHealthCheck"),
    ("DeleteHealthCheck", "DELETE", "healthcheck/$LONG", "", "400 InvalidInput"),
    ("DeleteHostedZone", "DELETE", "hostedzone/gone", "", "404 NoSuchHostedZone"),
    ("DeleteHostedZone", "DELETE", "hostedzone/$PUBLIC", "", "400 HostedZoneNotEmpty"),
    ("DeleteHostedZone", "DELETE", "hostedzone/$LONG", "", "400 InvalidInput"),
    ("DisassociateVPCFromHostedZone", "POST", "hostedzone/gone/disassociatevpc", VPC, "404 NoSuchHostedZone"),
    ("DisassociateVPCFromHostedZone", "POST", "hostedzone/$PRIVATE/disassociatevpc", NO_VPC, "400 InvalidVPCId"),
    ("DisassociateVPCFromHostedZone", "POST", "hostedzone/$PRIVATE/disassociatevpc", HALF_VPC, "400 InvalidInput"),
    ("DisassociateVPCFromHostedZone", "POST", "hostedzone/$PUBLIC/disassociatevpc", VPC, "404 VPCAssociationNotFound"),
    ("DisassociateVPCFromHostedZone", "POST", "hostedzone/$PRIVATE/disassociatevpc", VPC, "400 LastVPCAssociation"),
    ("GetAccountLimit", "GET", "accountlimit/x", "", "400 InvalidInput"),
    ("GetChange", "GET", "change/gone", "", "404 NoSuchChange"),
    ("GetDNSSEC", "GET", "hostedzone/gone/dnssec", "", "404 NoSuchHostedZone"),
    ("GetDNSSEC", "GET", "hostedzone/$PRIVATE/dnssec", "", "400 InvalidArgument"),
    ("GetDNSSEC", "GET", "hostedzone/$LONG/dnssec", "", "400 InvalidInput"),
    ("GetHealthCheck", "GET", "healthcheck/gone", "", "404 NoSuchHealthCheck"),
    ("GetHealthCheck", "GET", "healthcheck/$LONG", "", "400 InvalidInput"),
    ("GetHealthCheckLastFailureReason", "GET", "healthcheck/gone/lastfailurereason", "", "404 NoSuchHealthCheck"),
    ("GetHealthCheckLastFailureReason", "GET", "healthcheck/$LONG/lastfailurereason", "", "400 InvalidInput"),
    ("GetHealthCheckStatus", "GET", "healthcheck/gone/status", "", "404 NoSuchHealthCheck"),
    ("GetHealthCheckStatus", "GET", "healthcheck/$LONG/status", "", "400 InvalidInput"),
    ("GetHostedZone", "GET", "hostedzone/gone", "", "404 NoSuchHostedZone"),
    ("GetHostedZone", "GET", "hostedzone/$LONG", "", "400 InvalidInput"),
    ("GetHostedZoneLimit", "GET", "hostedzonelimit/gone/MAX_RRSETS_BY_ZONE", "", "404 NoSuchHostedZone"),
    ("GetHostedZoneLimit", "GET", "hostedzonelimit/$PUBLIC/MAX_VPCS_ASSOCIATED_BY_ZONE", "", "400 HostedZoneNotPrivate"),
    ("GetHostedZoneLimit", "GET", "hostedzonelimit/$PUBLIC/x", "", "400 InvalidInput"),
    ("ListHealthChecks", "GET", "healthcheck?maxitems=0", "", "400 InvalidInput"),
    ("ListHostedZones", "GET", "hostedzone?maxitems=0", "", "400 InvalidInput"),
    ("ListHostedZones", "GET", "hostedzone?delegationsetid=N1", "", "400 NoSuchDelegationSet"),
    ("ListHostedZonesByName", "GET", "hostedzonesbyname?hostedzoneid=$PUBLIC", "", "400 InvalidInput"),
    ("ListHostedZonesByName", "GET", "hostedzonesbyname?dnsname=a..b", "", "400 InvalidDomainName"),
    ("ListHostedZonesByVPC", "GET", "hostedzonesbyvpc?vpcid=$VPC&vpcregion=x", "", "400 InvalidInput"),
    ("ListHostedZonesByVPC", "GET", "hostedzonesbyvpc?vpcid=$VPC&vpcregion=us-east-1&nexttoken=x", "", "400 InvalidPaginationToken"),
    ("ListResourceRecordSets", "GET", "hostedzone/gone/rrset", "", "404 NoSuchHostedZone"),
    ("ListResourceRecordSets", "GET", "hostedzone/$PUBLIC/rrset?type=A", "", "400 InvalidInput"),
    ("ListTagsForResource", "GET", "tags/hostedzone/gone", "", "404 NoSuchHostedZone"),
    ("ListTagsForResource", "GET", "tags/healthcheck/gone", "", "404 NoSuchHealthCheck"),
    ("ListTagsForResource", "GET", "tags/x/gone", "", "400 InvalidInput"),
    ("ListTagsForResources", "POST", "tags/hostedzone", TAGS_OF_NONE, "404 NoSuchHostedZone"),
    ("ListTagsForResources", "POST", "tags/healthcheck", TAGS_OF_NONE, "404 NoSuchHealthCheck"),
    ("ListTagsForResources", "POST", "tags/x", TAGS_OF_NONE, "400 InvalidInput"),
    ("TestDNSAnswer", "GET", "testdnsanswer?hostedzoneid=gone&recordname=a.test&recordtype=A", "", "404 NoSuchHostedZone"),
    ("TestDNSAnswer", "GET", "testdnsanswer?hostedzoneid=$PUBLIC&recordname=a.test&recordtype=A", "", "400 InvalidInput"),
    ("UpdateHealthCheck", "POST", "healthcheck/gone", "<R></R>", "404 NoSuchHealthCheck"),
    ("UpdateHealthCheck", "POST", "healthcheck/$CHECK", "<R><IPAddress>x</IPAddress></R>", "400 InvalidInput"),
    ("UpdateHealthCheck", "POST", "healthcheck/$CHECK", "<R><HealthCheckVersion>9</HealthCheckVersion></R>", "409 HealthCheckVersionMismatch"),
    ("UpdateHostedZoneComment", "POST", "hostedzone/gone", "<R></R>", "404 NoSuchHostedZone"),
    ("UpdateHostedZoneComment", "POST", "hostedzone/$LONG", "<R></R>", "400 InvalidInput"),
];

/// What nothing brings about, and why; the operation is `*` where that holds for all.
const NEVER: &[(&str, &str, &str)] = &[
    ("*", "PriorRequestNotComplete", "changes are done when they are answered"),
    ("*", "ThrottlingException", "nothing is throttled"),
    ("*", "DelegationSetNotAvailable", "there are no delegation sets"),
    ("*", "DelegationSetNotReusable", "there are no delegation sets"),
    ("*", "NotAuthorizedException", "an account has its own VPCs alone"),
    ("*", "IncompatibleVersion", "there is one version of the API"),
    ("*", "HealthCheckInUse", "AWS documents that it is not in use"),
    ("DeleteHostedZone", "InvalidDomainName", "the call names no domain"),
    ("GetHostedZoneCount", "InvalidInput", "the call has no parameters"),
    ("GetChange", "InvalidInput", "the model takes any id"),
    ("AssociateVPCWithHostedZone", "LimitsExceeded", "see limits_are_told"),
    ("CreateHealthCheck", "TooManyHealthChecks", "see limits_are_told"),
    ("CreateHostedZone", "TooManyHostedZones", "see limits_are_told"),
];

/// A world with a public and a private zone and a health check, and what stands for them.
async fn ids(world: &World) -> Vec<(&'static str, String)> {
    let vpc = world.vpc().await;
    let public = world.zone("public.test", None).await;
    let private = world.zone("private.test", Some(&vpc)).await;
    world.change(&public, &[("CREATE", set("there.public.test", "A", "", &["1.2.3.4"]))]).await.unwrap();
    let made = world.ok("POST", "healthcheck", &CHECK.replace("81", "80").replace("$REFERENCE", "r")).await;
    vec![
        ("$VPC", vpc),
        ("$PUBLIC", public),
        ("$PRIVATE", private),
        ("$CHECK", texts(&made, "Id").concat()),
        ("$LONG", LONG.to_owned()),
        ("$REFERENCE", "r".to_owned()),
        ("$SET", set("there.public.test", "A", "", &["1.2.3.4"])),
    ]
}

fn filled(text: &str, ids: &[(&str, String)]) -> String {
    let text = ids.iter().fold(text.to_owned(), |text, (name, id)| text.replace(name, id));
    match text.strip_prefix("$ZONE(").and_then(|rest| rest.strip_suffix(')')) {
        Some(parts) => {
            let parts: Vec<&str> = parts.split(',').collect();
            new_zone(parts[0], parts[1], Some(parts[2]).filter(|vpc| !vpc.is_empty()))
        }
        None => text,
    }
}

#[tokio::test]
async fn each_is_brought_about() {
    let world = World::new();
    let ids = ids(&world).await;
    let mut wrong = Vec::new();
    for (operation, method, path, body, fault) in CASES {
        let told = world.refused(method, &filled(path, &ids), &filled(body, &ids)).await;
        let message = told.strip_prefix(&format!("{fault}: "));
        if message.is_none_or(str::is_empty) {
            wrong.push(format!("{operation} {path}: {told}, not {fault}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn none_is_left_out() {
    let model: serde_json::Value =
        serde_json::from_str(include_str!("../../../../models/route53.json")).unwrap();
    let built = include_str!("../../../../models/route53.operations").lines();
    let cases: BTreeSet<(&str, &str)> = CASES
        .iter()
        .map(|(operation, _, _, _, fault)| (*operation, fault.split_once(' ').unwrap().1))
        .collect();
    let mut left = Vec::new();
    for operation in built.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        for error in model["operations"][operation]["errors"].as_array().into_iter().flatten() {
            let error = error["shape"].as_str().unwrap();
            let never = NEVER.iter().any(|(of, name, _)| *name == error && (*of == "*" || *of == operation));
            if never == cases.contains(&(operation, error)) {
                left.push(format!("{operation}: {error}"));
            }
        }
    }
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn limits_are_told() {
    let world = World::new();
    let check = |number: usize| CHECK.replace("$REFERENCE", &number.to_string());
    for number in 0..crate::resources::health_check::HEALTH_CHECKS_MAXIMUM {
        world.ok("POST", "healthcheck", &check(number)).await;
    }
    let told = world.refused("POST", "healthcheck", &check(9999)).await;
    assert!(told.starts_with("400 TooManyHealthChecks: "), "{told}");
    for number in 0..crate::resources::zone::ZONES_MAXIMUM {
        world.zone(&format!("z{number}.test"), None).await;
    }
    let told = world.refused("POST", "hostedzone", &new_zone("more.test", "more", None)).await;
    assert!(told.starts_with("400 TooManyHostedZones: "), "{told}");
}
