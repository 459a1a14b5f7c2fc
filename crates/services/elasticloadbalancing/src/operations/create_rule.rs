//! CreateRule: makes a rule of a listener of an application load balancer. Source: Elastic Load Balancing API reference,
//! "CreateRule".
//!
//! Differs from AWS: not served, and refused by name: transforms, regular expressions in conditions, and the actions
//! `authenticate-oidc`, `authenticate-cognito` and `jwt-validation`.

use api::elasticloadbalancing::operations::CreateRule;
use api::elasticloadbalancing::{CreateRuleInput, CreateRuleOutput, faults};
use base::Tag;
use domain::{Listener, ListenerRule, LoadBalancerType, RuleAction, RuleCondition};
use store::{Snapshot, Transaction, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::faults::{of_update, validation};
use crate::resources::{action, condition, listener, load_balancer, rule, tag};
use crate::{Elasticloadbalancing, quotas};

impl Operation<CreateRule> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &CreateRuleInput) -> Vec<Permission> {
        let arn = input.listener_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:CreateRule", arn)]
    }

    async fn handle(&self, call: &Call, input: CreateRuleInput) -> Result<CreateRuleOutput, Fault> {
        let listener_arn = input.listener_arn.unwrap_or_default();
        let priority = input.priority.and_then(|priority| u32::try_from(priority).ok());
        let wish = Wish {
            priority: priority.ok_or_else(|| validation("A priority must be specified"))?,
            conditions: condition::parse(input.conditions.unwrap_or_default())?,
            action: action::parse(input.actions.unwrap_or_default(), LoadBalancerType::Application)?,
            tags: tag::parse(input.tags)?,
        };
        rule::check_transforms(input.transforms.as_ref())?;
        let id = self.ids.hex(16);
        let made = self.store.update(|snapshot| wish.make(snapshot, call, &listener_arn, &id));
        let made = made.await.map_err(of_update)?;
        Ok(CreateRuleOutput { rules: Some(vec![rule::describe(&made)]) })
    }
}

struct Wish {
    priority: u32,
    conditions: Vec<RuleCondition>,
    action: RuleAction,
    tags: Vec<Tag>,
}

impl Wish {
    fn make(
        &self,
        snapshot: &Snapshot,
        call: &Call,
        listener_arn: &str,
        id: &str,
    ) -> Result<(Transaction, ListenerRule), Fault> {
        let listener = listener::find(snapshot, &call.scope, listener_arn)?;
        if listener.load_balancer_type == LoadBalancerType::Network {
            return Err(faults::invalid_configuration_request_exception(
                "Rules are unsupported for Network Load Balancer listeners",
            ));
        }
        let load_balancer =
            load_balancer::find(snapshot, &call.scope, listener.load_balancer_arn().as_str())?;
        let rules = rows_load_balancing::rules_of(snapshot, &listener);
        if rules.iter().any(|rule| rule.priority == Some(self.priority)) {
            let message = format!("Priority '{}' is currently in use", self.priority);
            return Err(faults::priority_in_use_exception(message));
        }
        let listeners = rows_load_balancing::listeners_of(snapshot, &load_balancer);
        let count_of = |listener| {
            let rules = rows_load_balancing::rules_of(snapshot, listener);
            rules.iter().filter(|rule| rule.priority.is_some()).count()
        };
        let count: usize = listeners.iter().map(|listener| count_of(listener)).sum();
        if count >= quotas::RULES_PER_LOAD_BALANCER {
            let maximum = quotas::RULES_PER_LOAD_BALANCER;
            let message =
                format!("The maximum number of rules '{maximum}' of a load balancer has been reached");
            return Err(faults::too_many_rules_exception(message));
        }
        let mut transaction = Transaction::new();
        // Its row is written again, so that no two rules take the same priority.
        transaction.replace(&listener, Listener::clone(&listener));
        action::join_groups(snapshot, &mut transaction, &load_balancer, &listener.protocol, &self.action)?;
        let row = ListenerRule {
            scope: listener.scope.clone(),
            load_balancer: listener.load_balancer.clone(),
            load_balancer_id: listener.load_balancer_id.clone(),
            load_balancer_type: listener.load_balancer_type,
            listener: listener.id.clone(),
            id: id.to_owned(),
            priority: Some(self.priority),
            conditions: self.conditions.clone(),
            action: self.action.clone(),
            created_at: call.now,
            tags: self.tags.clone(),
        };
        transaction.insert(row.clone());
        Ok((transaction, row))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    struct Front {
        server: Server,
        listener: String,
        group: String,
    }

    async fn front() -> Front {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let group = server.target_group("web").await;
        let listener = server.listener(&front, 80, &group).await;
        Front { server, listener, group }
    }

    impl Front {
        /// A call with `C.` for the first condition and `D.` for the second.
        fn query(&self, rest: &str) -> String {
            let rest = rest.replace("C.", "Conditions.member.1.").replace("D.", "Conditions.member.2.");
            format!(
                "Action=CreateRule&ListenerArn={}&Actions.member.1.Type=forward&Actions.member.1.TargetGroupArn={}&{rest}",
                self.listener, self.group
            )
        }
    }

    #[tokio::test]
    async fn a_rule_of_every_condition() {
        let front = front().await;
        let query = front.query(
            "Priority=10&C.Field=path-pattern&C.Values.member.1=/api/*&D.Field=host-header\
             &D.HostHeaderConfig.Values.member.1=*.example.com\
             &Conditions.member.3.Field=http-header&Conditions.member.3.HttpHeaderConfig.HttpHeaderName=X-A\
             &Conditions.member.3.HttpHeaderConfig.Values.member.1=b*",
        );
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <CreateRuleResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">
              <CreateRuleResult>
                <Rules>
                  <member>
                    <Actions>
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
                    </Actions>
                    <Conditions>
                      <member>
                        <Field>path-pattern</Field>
                        <PathPatternConfig>
                          <Values>
                            <member>/api/*</member>
                          </Values>
                        </PathPatternConfig>
                        <Values>
                          <member>/api/*</member>
                        </Values>
                      </member>
                      <member>
                        <Field>host-header</Field>
                        <HostHeaderConfig>
                          <Values>
                            <member>*.example.com</member>
                          </Values>
                        </HostHeaderConfig>
                        <Values>
                          <member>*.example.com</member>
                        </Values>
                      </member>
                      <member>
                        <Field>http-header</Field>
                        <HttpHeaderConfig>
                          <HttpHeaderName>X-A</HttpHeaderName>
                          <Values>
                            <member>b*</member>
                          </Values>
                        </HttpHeaderConfig>
                      </member>
                    </Conditions>
                    <IsDefault>false</IsDefault>
                    <Priority>10</Priority>
                    <RuleArn>arn:aws:elasticloadbalancing:us-east-1:123456789012:listener-rule/app/front/822d5fe3b5885a80/580477ed0e4cdf3a/51e05e760a76972b</RuleArn>
                    <Transforms></Transforms>
                  </member>
                </Rules>
              </CreateRuleResult>
              <ResponseMetadata>
              </ResponseMetadata>
            </CreateRuleResponse>"#]].assert_eq(&front.server.ok(&query).await);
        for (priority, condition, told) in [
            (
                11,
                "C.Field=http-request-method&C.HttpRequestMethodConfig.Values.member.1=GET",
                "<member>GET</member>",
            ),
            (
                12,
                "C.Field=query-string&C.QueryStringConfig.Values.member.1.Key=a&C.QueryStringConfig.Values.member.1.Value=b",
                "<Key>a</Key>",
            ),
            (
                13,
                "C.Field=source-ip&C.SourceIpConfig.Values.member.1=10.0.0.0/8&C.SourceIpConfig.Values.member.2=fd00::/8",
                "<member>fd00::/8</member>",
            ),
            (14, "C.SourceIpConfig.Values.member.1=10.0.0.0/8", "<Field>source-ip</Field>"),
        ] {
            let answer = front.server.ok(&front.query(&format!("Priority={priority}&{condition}"))).await;
            assert!(answer.contains(told), "{condition}: {answer}");
        }
    }

    #[tokio::test]
    async fn faults() {
        let front = front().await;
        front.server.rule(&front.listener, 7, "/seven", &front.group).await;
        let path = "C.Field=path-pattern&C.Values.member.1=/a";
        let six: Vec<_> = (1..7).map(|n| format!("C.Values.member.{n}=/{n}")).collect();
        for (rest, fault) in [
            (format!("Priority=7&{path}"), "PriorityInUse: Priority '7' is currently in use"),
            (format!("Priority=50001&{path}"), "ValidationError: 1 validation error detected: Value '50001' at 'priority'"),
            ("Priority=1&C.Field=x&C.Values.member.1=a".to_owned(), "ValidationError: Condition field 'x' must be one of '[path-pattern, host-header"),
            ("Priority=1&C.Field=path-pattern".to_owned(), "ValidationError: A condition value must be specified"),
            ("Priority=1&C.Field=path-pattern&C.Values.member.1=".to_owned(), "ValidationError: Condition value cannot be empty"),
            (format!("Priority=1&C.Field=path-pattern&C.Values.member.1={}", "a".repeat(129)), "ValidationError: Condition value '"),
            ("Priority=1&C.Field=path-pattern&C.Values.member.1=a%20b".to_owned(), "ValidationError: Condition value 'a b' of a 'path-pattern' condition"),
            (format!("Priority=1&{path}&D.Field=path-pattern&D.Values.member.1=/b"), "ValidationError: A rule can only have one 'path-pattern' condition"),
            (format!("Priority=1&C.Field=path-pattern&{}", six.join("&")), "ValidationError: A rule can only have '5' condition values"),
            ("Priority=1&C.Field=path-pattern&C.Values.member.1=/*******".to_owned(), "ValidationError: A rule can only have '6' condition wildcards"),
            ("Priority=1&C.Field=path-pattern&C.PathPatternConfig.RegexValues.member.1=a".to_owned(), "InvalidConfigurationRequest: RegexValues of a rule condition is not supported by"),
            ("Priority=1&C.Field=path-pattern&C.SourceIpConfig.Values.member.1=10.0.0.0/8&C.Values.member.1=a".to_owned(), "ValidationError: The configuration of a 'source-ip' condition cannot"),
            ("Priority=1&C.Field=host-header&C.Values.member.1=localhost".to_owned(), "ValidationError: Condition value 'localhost' must have at least one '.'"),
            ("Priority=1&C.Field=source-ip&C.SourceIpConfig.Values.member.1=10.0.0.0".to_owned(), "ValidationError: Condition value '10.0.0.0' must be a valid CIDR block"),
            ("Priority=1&C.Field=source-ip&C.SourceIpConfig.Values.member.1=10.0.0.0/33".to_owned(), "ValidationError: Condition value '10.0.0.0/33' must be a valid CIDR block"),
            ("Priority=1&C.Field=http-request-method&C.HttpRequestMethodConfig.Values.member.1=get".to_owned(), "ValidationError: HTTP request method 'get' is not valid"),
            ("Priority=1&C.Field=http-header&C.HttpHeaderConfig.HttpHeaderName=a%20b&C.HttpHeaderConfig.Values.member.1=a".to_owned(), "ValidationError: HTTP header name 'a b' is not valid"),
            ("Priority=1&C.Field=http-header&C.HttpHeaderConfig.HttpHeaderName=Host&C.HttpHeaderConfig.Values.member.1=a".to_owned(), "ValidationError: The 'host' header must be specified with"),
            ("Priority=1&C.Field=query-string&C.QueryStringConfig.Values.member.1.Key=a".to_owned(), "ValidationError: A query string value must be specified"),
            (format!("Priority=1&{path}&Transforms.member.1.Type=url-rewrite"), "InvalidConfigurationRequest: The transform type 'url-rewrite' is not supported by"),
        ] {
            let told = front.server.fault(&front.query(&rest)).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{rest}: {told}");
        }
        let gone = front
            .query(&format!("Priority=1&{path}"))
            .replace(&front.listener, &format!("{}0", front.listener));
        let told = front.server.fault(&gone).await;
        assert_eq!(told, format!("400 ListenerNotFound: Listener '{}0' not found", front.listener));
    }

    #[tokio::test]
    async fn a_network_load_balancer_has_no_rules() {
        let server = Server::new().await;
        let back = server.network_load_balancer("back").await;
        let group = server.target_group_with("tcp", "Protocol=TCP&Port=9&TargetType=ip").await;
        let query = format!(
            "Action=CreateListener&LoadBalancerArn={back}&Protocol=TCP&Port=9\
             &DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn={group}"
        );
        let listener = server.ask_for("ListenerArn", &query).await.concat();
        let query = format!(
            "Action=CreateRule&ListenerArn={listener}&Priority=1&Conditions.member.1.Field=path-pattern\
             &Conditions.member.1.Values.member.1=/a&Actions.member.1.Type=forward&Actions.member.1.TargetGroupArn={group}"
        );
        assert_eq!(
            server.fault(&query).await,
            "400 InvalidConfigurationRequest: Rules are unsupported for Network Load Balancer listeners"
        );
    }

    #[tokio::test]
    async fn there_are_a_hundred_at_most() {
        let front = front().await;
        for priority in 1..=100 {
            assert!(!front.server.rule(&front.listener, priority, "/a", &front.group).await.is_empty());
        }
        let query = front.query("Priority=101&C.Field=path-pattern&C.Values.member.1=/a");
        assert_eq!(
            front.server.fault(&query).await,
            "400 TooManyRules: The maximum number of rules '100' of a load balancer has been reached"
        );
    }
}
