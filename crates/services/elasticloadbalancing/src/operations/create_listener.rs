//! CreateListener: makes a listener of a load balancer, with its default rule. Source: Elastic Load Balancing API reference,
//! "CreateListener".
//!
//! Differs from AWS: a repeated call with the same settings answers with the listener that is there, one with the same port
//! and other settings with `DuplicateListener`. Not served, and refused by name: the actions `authenticate-oidc`,
//! `authenticate-cognito` and `jwt-validation`, mutual authentication, the protocols QUIC and TCP_QUIC, certificates of
//! IAM. Security policies offer what the TLS library has of them (see DescribeSSLPolicies).

use api::elasticloadbalancing::operations::CreateListener;
use api::elasticloadbalancing::{CreateListenerInput, CreateListenerOutput, faults};
use base::Ids;
use domain::{Listener, ListenerRule, LoadBalancer, RuleAction};
use store::{Snapshot, Transaction, Versioned, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::faults::{of_update, validation};
use crate::resources::listener::ListenerSettings;
use crate::resources::{action, certificate, listener, load_balancer, tag};
use crate::{Elasticloadbalancing, quotas};

impl Operation<CreateListener> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &CreateListenerInput) -> Vec<Permission> {
        let arn = input.load_balancer_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:CreateListener", arn)]
    }

    async fn handle(&self, call: &Call, input: CreateListenerInput) -> Result<CreateListenerOutput, Fault> {
        let arn = input.load_balancer_arn.clone().unwrap_or_default();
        let made = self.store.update(|snapshot| {
            let load_balancer = load_balancer::find(snapshot, &call.scope, &arn)?;
            make(snapshot, call, &*self.ids, &load_balancer, input.clone())
        });
        let (listener, default) = made.await.map_err(of_update)?;
        Ok(CreateListenerOutput { listeners: Some(vec![listener::describe(&listener, Some(&default))]) })
    }
}

fn make(
    snapshot: &Snapshot,
    call: &Call,
    ids: &dyn Ids,
    load_balancer: &Versioned<LoadBalancer>,
    input: CreateListenerInput,
) -> Result<(Transaction, (Listener, ListenerRule)), Fault> {
    let kind = load_balancer.load_balancer_type;
    let settings = settings(&input)?.checked(kind)?;
    listener::check_mutual_authentication(input.mutual_authentication.as_ref(), &settings.protocol)?;
    let action = action::parse(input.default_actions.unwrap_or_default(), kind)?;
    let row = Listener {
        scope: load_balancer.scope.clone(),
        load_balancer: load_balancer.name.clone(),
        load_balancer_id: load_balancer.id.clone(),
        load_balancer_type: kind,
        id: ids.hex(16),
        port: u16::try_from(settings.port).unwrap_or_default(),
        protocol: settings.protocol,
        ssl_policy: settings.ssl_policy,
        certificates: settings.certificate.into_iter().collect(),
        alpn_policy: settings.alpn_policy,
        attributes: [].into(),
        created_at: call.now,
        tags: tag::parse(input.tags)?,
    };
    let listeners = rows_load_balancing::listeners_of(snapshot, load_balancer);
    if let Some(known) = listeners.iter().find(|known| known.port == row.port) {
        return repeated(snapshot, known, &row, &action);
    }
    if listeners.len() >= quotas::LISTENERS_PER_LOAD_BALANCER {
        let maximum = quotas::LISTENERS_PER_LOAD_BALANCER;
        let message =
            format!("The maximum number of listeners '{maximum}' of a load balancer has been reached");
        return Err(faults::too_many_listeners_exception(message));
    }
    let mut transaction = Transaction::new();
    // Its row is written again, so that no two listeners take the same port.
    transaction.replace(load_balancer, LoadBalancer::clone(load_balancer));
    if let Some(arn) = row.certificates.first() {
        certificate::hold(snapshot, &mut transaction, &call.scope, arn)?;
    }
    action::join_groups(snapshot, &mut transaction, load_balancer, &row.protocol, &action)?;
    let default = default_rule(&row, action, ids);
    transaction.insert(row.clone());
    transaction.insert(default.clone());
    Ok((transaction, (row, default)))
}

fn settings(input: &CreateListenerInput) -> Result<ListenerSettings, Fault> {
    Ok(ListenerSettings {
        port: input.port.ok_or_else(|| validation("A port must be specified"))?,
        protocol: input.protocol.clone().ok_or_else(|| validation("A protocol must be specified"))?,
        ssl_policy: input.ssl_policy.clone(),
        certificate: certificate::only(input.certificates.clone())?,
        alpn_policy: listener::alpn_policy(input.alpn_policy.clone())?,
    })
}

fn repeated(
    snapshot: &Snapshot,
    known: &Versioned<Listener>,
    asked: &Listener,
    action: &RuleAction,
) -> Result<(Transaction, (Listener, ListenerRule)), Fault> {
    let default = listener::default_rule(snapshot, known).filter(|rule| rule.action == *action);
    let is_same = known.protocol == asked.protocol
        && known.ssl_policy == asked.ssl_policy
        && known.certificates.first() == asked.certificates.first()
        && known.alpn_policy == asked.alpn_policy
        && known.tags == asked.tags;
    match default {
        Some(default) if is_same => {
            Ok((Transaction::new(), (Listener::clone(known), ListenerRule::clone(&default))))
        }
        _ => Err(faults::duplicate_listener_exception(format!(
            "A listener already exists on this port for this load balancer '{}'",
            known.load_balancer_arn()
        ))),
    }
}

fn default_rule(listener: &Listener, action: RuleAction, ids: &dyn Ids) -> ListenerRule {
    ListenerRule {
        scope: listener.scope.clone(),
        load_balancer: listener.load_balancer.clone(),
        load_balancer_id: listener.load_balancer_id.clone(),
        load_balancer_type: listener.load_balancer_type,
        listener: listener.id.clone(),
        id: ids.hex(16),
        priority: None,
        conditions: Vec::new(),
        action,
        created_at: listener.created_at,
        tags: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn a_listener_forwards_by_default() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let group = server.target_group("web").await;
        let query = format!(
            "Action=CreateListener&LoadBalancerArn={front}&Protocol=HTTP&Port=80\
             &DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn={group}"
        );
        let answer = server.ok(&query).await;
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <CreateListenerResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">
              <CreateListenerResult>
                <Listeners>
                  <member>
                    <DefaultActions>
                      <member>
                        <ForwardConfig>
                          <TargetGroupStickinessConfig>
                            <Enabled>false</Enabled>
                          </TargetGroupStickinessConfig>
                          <TargetGroups>
                            <member>
                              <TargetGroupArn>arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/b13528074445fc10</TargetGroupArn>
                              <Weight>1</Weight>
                            </member>
                          </TargetGroups>
                        </ForwardConfig>
                        <TargetGroupArn>arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/b13528074445fc10</TargetGroupArn>
                        <Type>forward</Type>
                      </member>
                    </DefaultActions>
                    <ListenerArn>arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/front/822d5fe3b5885a80/580477ed0e4cdf3a</ListenerArn>
                    <LoadBalancerArn>arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/front/822d5fe3b5885a80</LoadBalancerArn>
                    <Port>80</Port>
                    <Protocol>HTTP</Protocol>
                  </member>
                </Listeners>
              </CreateListenerResult>
              <ResponseMetadata>
              </ResponseMetadata>
            </CreateListenerResponse>"#]].assert_eq(&answer);
        assert_eq!(server.ask(&query).await, answer, "the same again is the same listener");
        assert_eq!(
            server.fault(&format!("{query}&Tags.member.1.Key=a")).await,
            format!(
                "400 DuplicateListener: A listener already exists on this port for this load balancer '{front}'"
            )
        );
    }

    #[tokio::test]
    async fn weights_redirects_and_fixed_responses() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let (a, b) = (server.target_group("a").await, server.target_group("b").await);
        let action = |port: u16, text: &str| {
            let text = text.replace("A.", "DefaultActions.member.1.");
            format!("Action=CreateListener&LoadBalancerArn={front}&Protocol=HTTP&Port={port}&{text}")
        };
        let weighted = action(
            80,
            &format!(
                "A.Type=forward&A.ForwardConfig.TargetGroups.member.1.TargetGroupArn={a}\
                 &A.ForwardConfig.TargetGroups.member.1.Weight=900\
                 &A.ForwardConfig.TargetGroups.member.2.TargetGroupArn={b}\
                 &A.ForwardConfig.TargetGroupStickinessConfig.Enabled=true\
                 &A.ForwardConfig.TargetGroupStickinessConfig.DurationSeconds=60"
            ),
        );
        let answer = server.ok(&weighted).await;
        for text in ["<Weight>900<", "<Weight>1<", "<DurationSeconds>60<", "<Enabled>true<"] {
            assert!(answer.contains(text), "{text}: {answer}");
        }
        let redirect =
            action(81, "A.Type=redirect&A.RedirectConfig.Port=443&A.RedirectConfig.StatusCode=HTTP_301");
        let answer = server.ok(&redirect).await;
        for text in
            ["<Host>#{host}<", "<Path>/#{path}<", "<Port>443<", "<Protocol>#{protocol}<", "<Query>#{query}<"]
        {
            assert!(answer.contains(text), "{text}: {answer}");
        }
        let fixed = action(
            82,
            "A.Type=fixed-response&A.FixedResponseConfig.StatusCode=503&A.FixedResponseConfig.MessageBody=x\
             &A.FixedResponseConfig.ContentType=text/plain",
        );
        let answer = server.ok(&fixed).await;
        assert!(answer.contains("<MessageBody>x<") && answer.contains("<StatusCode>503<"), "{answer}");
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let (front, back) = (server.load_balancer("front").await, server.network_load_balancer("back").await);
        let other = server.load_balancer("other").await;
        let (web, tcp) =
            (server.target_group("web").await, server.target_group_with("tcp", "Protocol=TCP&Port=9").await);
        let grpc = server.target_group_with("grpc", "Protocol=HTTP&Port=9&ProtocolVersion=GRPC").await;
        server.listener(&other, 80, &web).await;
        let fixed = "A.Type=fixed-response&A.FixedResponseConfig.StatusCode=200";
        let (app, net) = (format!("LoadBalancerArn={front}"), format!("LoadBalancerArn={back}"));
        let forward = |group: &str| format!("A.Type=forward&A.TargetGroupArn={group}");
        let gone = web.replace("/web/", "/gone/");
        for (query, fault) in [
            (format!("{app}&Protocol=HTTP&{fixed}"), "ValidationError: A port must be specified"),
            (format!("{app}&Port=80&{fixed}"), "ValidationError: A protocol must be specified"),
            (
                format!("{app}&Port=80&Protocol=TCP&{fixed}"),
                "ValidationError: Listener protocol 'TCP' must be one of 'HTTPS, HTTP'",
            ),
            (
                format!("{net}&Port=80&Protocol=HTTP&{}", forward(&tcp)),
                "ValidationError: Listener protocol 'HTTP' must be one of 'TLS, TCP, TCP_UDP, UDP'",
            ),
            (
                format!("{app}&Port=443&Protocol=HTTPS&{fixed}"),
                "ValidationError: A certificate must be specified for HTTPS listeners",
            ),
            (
                format!("{app}&Port=80&Protocol=HTTP&{fixed}&Certificates.member.1.CertificateArn=x"),
                "ValidationError: A certificate cannot be specified for HTTP listeners",
            ),
            (
                format!("{app}&Port=443&Protocol=HTTPS&{fixed}&Certificates.member.1.CertificateArn=x"),
                "CertificateNotFound: Certificate 'x' not found",
            ),
            (
                format!(
                    "{app}&Port=443&Protocol=HTTPS&{fixed}&SslPolicy=x&Certificates.member.1.CertificateArn=x"
                ),
                "SSLPolicyNotFound: SSL policy 'x' not found",
            ),
            (
                format!(
                    "{net}&Port=443&Protocol=TLS&{}&AlpnPolicy.member.1=x&Certificates.member.1.CertificateArn=x",
                    forward(&tcp)
                ),
                "ALPNPolicyNotFound: ALPN policy 'x' is not supported",
            ),
            (
                format!("{app}&Port=80&Protocol=HTTP&{}", forward(&gone)),
                "TargetGroupNotFound: Target group '",
            ),
            (
                format!("{app}&Port=80&Protocol=HTTP&{}", forward(&tcp)),
                "IncompatibleProtocols: The protocol 'TCP' of target group",
            ),
            (
                format!("{app}&Port=80&Protocol=HTTP&{}", forward(&grpc)),
                "InvalidConfigurationRequest: Listener protocol 'HTTP' is not supported with a target group with the protocol-version 'GRPC'",
            ),
            (
                format!("{app}&Port=80&Protocol=HTTP&{}", forward(&web)),
                "TargetGroupAssociationLimit: The following target groups cannot be associated with more than one load balancer: ",
            ),
            (
                format!("{app}&Port=80&Protocol=HTTP&A.Type=authenticate-oidc"),
                "InvalidConfigurationRequest: The action type 'authenticate-oidc' is not supported by",
            ),
            (
                format!("{app}&Port=80&Protocol=HTTP&A.Type=jwt-validation"),
                "InvalidConfigurationRequest: The action type 'jwt-validation' is not supported by",
            ),
            (
                format!("{net}&Port=80&Protocol=TCP&{fixed}"),
                "InvalidLoadBalancerAction: The action type 'fixed-response' is not valid with network load balancers",
            ),
            (
                format!("{app}&Port=80&Protocol=HTTP&A.Type=redirect&A.RedirectConfig.StatusCode=HTTP_301"),
                "InvalidLoadBalancerAction: The redirect configuration is not valid because it creates a loop.",
            ),
            (
                format!(
                    "{app}&Port=80&Protocol=HTTP&A.Type=redirect&A.RedirectConfig.StatusCode=HTTP_301&A.RedirectConfig.Host=%23%7Bx%7D"
                ),
                "ValidationError: Redirect host '#{x}' contains a keyword that is not valid",
            ),
            (
                format!(
                    "{app}&Port=80&Protocol=HTTP&A.Type=redirect&A.RedirectConfig.StatusCode=HTTP_301&A.RedirectConfig.Host=a%0d%0ab"
                ),
                "ValidationError: Redirect host 'a&#xD;&#xA;b' contains a character",
            ),
            (
                format!("{app}&Port=80&Protocol=HTTP&{fixed}&A.TargetGroupArn={web}"),
                "ValidationError: The configuration of a 'forward' action cannot be specified for a 'fixed-response' action",
            ),
            (
                format!("{app}&Port=80&Protocol=HTTP&{fixed}&DefaultActions.member.2.Type=forward"),
                "ValidationError: The action list must contain exactly one",
            ),
            (
                format!(
                    "{app}&Port=443&Protocol=HTTPS&{fixed}&MutualAuthentication.Mode=verify&Certificates.member.1.CertificateArn=x"
                ),
                "InvalidConfigurationRequest: The mutual authentication mode 'verify' is not",
            ),
            (
                format!("LoadBalancerArn=x&Port=80&Protocol=HTTP&{fixed}"),
                "ValidationError: 'x' is not a valid load balancer ARN",
            ),
            (
                format!("{}&Port=80&Protocol=HTTP&{fixed}", app.replace("front", "gone")),
                "LoadBalancerNotFound: Load balancer '",
            ),
        ] {
            let query = query.replace("A.", "DefaultActions.member.1.");
            let told = server.fault(&format!("Action=CreateListener&{query}")).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{query}: {told}");
        }
    }

    #[tokio::test]
    async fn there_are_fifty_at_most() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let group = server.target_group("web").await;
        for port in 1..=50 {
            assert!(!server.listener(&front, port, &group).await.is_empty());
        }
        let query = format!(
            "Action=CreateListener&LoadBalancerArn={front}&Protocol=HTTP&Port=51\
             &DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn={group}"
        );
        assert_eq!(
            server.fault(&query).await,
            "400 TooManyListeners: The maximum number of listeners '50' of a load balancer has been reached"
        );
    }
}
