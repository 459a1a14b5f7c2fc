#!/usr/bin/env bash
# Takes down what deploy.sh made, in the order that AWS asks for.
set -euo pipefail
export AWS_PAGER=
cluster=InsuranceAppCluster
text() { local query=$1; shift; aws "$@" --query "$query" --output text; }
for service in frontend backend; do
  aws ecs delete-service --cluster "$cluster" --service "$service" --force >/dev/null
done
aws ecs wait services-inactive --cluster "$cluster" --services frontend backend
balancer=$(text 'LoadBalancers[0].LoadBalancerArn' elbv2 describe-load-balancers --names insurance)
aws elbv2 delete-load-balancer --load-balancer-arn "$balancer"
aws elbv2 wait load-balancers-deleted --load-balancer-arns "$balancer"
for name in insurance-frontend insurance-backend; do
  aws elbv2 delete-target-group --target-group-arn \
    "$(text 'TargetGroups[0].TargetGroupArn' elbv2 describe-target-groups --names "$name")"
done
namespace=$(text "Namespaces[?Name=='insurance.local'].Id | [0]" servicediscovery list-namespaces)
for id in $(text 'Services[].Id' servicediscovery list-services --filters "Name=NAMESPACE_ID,Values=$namespace"); do
  aws servicediscovery delete-service --id "$id"
done
aws servicediscovery delete-namespace --id "$namespace" >/dev/null
groups=$(text "SecurityGroups[?starts_with(GroupName, 'insurance-')].GroupId" ec2 describe-security-groups)
# Groups that name one another go once no rule names them.
for group in $groups; do
  rules=$(text 'SecurityGroupRules[?!IsEgress].SecurityGroupRuleId' ec2 describe-security-group-rules --filters "Name=group-id,Values=$group")
  [ -z "$rules" ] || aws ec2 revoke-security-group-ingress --group-id "$group" --security-group-rule-ids $rules >/dev/null
done
for group in $groups; do aws ec2 delete-security-group --group-id "$group" >/dev/null; done
