#!/usr/bin/env bash
# Deploys the insurance application with the AWS CLI, as one would to AWS: security groups, an Application Load Balancer, a
# private DNS namespace, two services. The images must be loaded. Prints the load balancer's address last.
#
#   eval "$(roadstead env)"; examples/insurance/deploy.sh
#
# Or with AWS_* pointing at AWS itself, with images in a registry and container instances in the cluster.
set -euo pipefail
cd "$(dirname "$0")"
export AWS_PAGER=
cluster=InsuranceAppCluster
say() { printf '%s\n' "$*" >&2; }
# text QUERY COMMAND...: what the AWS CLI answers, as plain text.
text() { local query=$1; shift; aws "$@" --query "$query" --output text; }

say "A cluster, and the default VPC's subnets"
text cluster.clusterArn ecs create-cluster --cluster-name "$cluster" >&2
vpc=$(text 'Vpcs[0].VpcId' ec2 describe-vpcs --filters Name=is-default,Values=true)
read -ra subnets <<<"$(text 'Subnets[].SubnetId' ec2 describe-subnets --filters "Name=vpc-id,Values=$vpc")"
csv=$(IFS=,; echo "${subnets[*]}")

say "Security groups: the world may reach the load balancer, the load balancer the tasks, the frontend the backend"
group() { text GroupId ec2 create-security-group --group-name "$1" --description "$2" --vpc-id "$vpc"; }
allow() { aws ec2 authorize-security-group-ingress --group-id "$1" --protocol tcp --port "$2" "${@:3}" >/dev/null; }
balancer_group=$(group insurance-load-balancer "Insurance: load balancer")
frontend_group=$(group insurance-frontend "Insurance: frontend")
backend_group=$(group insurance-backend "Insurance: backend")
allow "$balancer_group" 80 --cidr 0.0.0.0/0
allow "$frontend_group" 8080 --source-group "$balancer_group"
allow "$backend_group" 8080 --source-group "$balancer_group"
allow "$backend_group" 8080 --source-group "$frontend_group"

say "An Application Load Balancer: / to the frontend, /api to the backend"
balancer=$(text 'LoadBalancers[0].LoadBalancerArn' elbv2 create-load-balancer --name insurance --type application \
  --subnets "${subnets[@]}" --security-groups "$balancer_group")
target_group() {
  text 'TargetGroups[0].TargetGroupArn' elbv2 create-target-group --name "insurance-$1" --protocol HTTP --port 8080 \
    --target-type ip --vpc-id "$vpc" --health-check-path "$2" --health-check-interval-seconds 5 --health-check-timeout-seconds 2 \
    --healthy-threshold-count 2 --matcher HttpCode=200
}
frontend_targets=$(target_group frontend /health)
backend_targets=$(target_group backend /api/health)
for targets in "$frontend_targets" "$backend_targets"; do
  aws elbv2 modify-target-group-attributes --target-group-arn "$targets" \
    --attributes Key=deregistration_delay.timeout_seconds,Value=10 >/dev/null
done
listener=$(text 'Listeners[0].ListenerArn' elbv2 create-listener --load-balancer-arn "$balancer" --protocol HTTP --port 80 \
  --default-actions "Type=forward,TargetGroupArn=$frontend_targets")
aws elbv2 create-rule --listener-arn "$listener" --priority 10 \
  --conditions "Field=path-pattern,Values=/api,/api/*" --actions "Type=forward,TargetGroupArn=$backend_targets" >/dev/null

say "A private DNS namespace, in which the frontend finds the backend"
operation=$(text OperationId servicediscovery create-private-dns-namespace --name insurance.local --vpc "$vpc")
until [ "$(text Operation.Status servicediscovery get-operation --operation-id "$operation")" = SUCCESS ]; do sleep 0.2; done
namespace=$(text Operation.Targets.NAMESPACE servicediscovery get-operation --operation-id "$operation")
registry=$(text Service.Arn servicediscovery create-service --name backend --namespace-id "$namespace" \
  --dns-config 'RoutingPolicy=MULTIVALUE,DnsRecords=[{Type=A,TTL=10}]' --health-check-custom-config FailureThreshold=1)

say "Task definitions and services: three tasks of the backend (1 vCPU, 512 MiB), two of the frontend"
for part in backend frontend; do
  text taskDefinition.taskDefinitionArn ecs register-task-definition --cli-input-json "file://$part.json" >&2
done
network() { echo "awsvpcConfiguration={subnets=[$csv],securityGroups=[$1]}"; }
text 'service.serviceArn' ecs create-service --cluster "$cluster" --service-name backend --task-definition insurance-backend \
  --launch-type EC2 --desired-count 3 --network-configuration "$(network "$backend_group")" \
  --load-balancers "targetGroupArn=$backend_targets,containerName=backend,containerPort=8080" \
  --service-registries "registryArn=$registry" --health-check-grace-period-seconds 30 \
  --deployment-configuration 'deploymentCircuitBreaker={enable=true,rollback=true},minimumHealthyPercent=100,maximumPercent=134' >&2
text 'service.serviceArn' ecs create-service --cluster "$cluster" --service-name frontend --task-definition insurance-frontend \
  --launch-type FARGATE --desired-count 2 --network-configuration "$(network "$frontend_group")" \
  --load-balancers "targetGroupArn=$frontend_targets,containerName=frontend,containerPort=8080" \
  --health-check-grace-period-seconds 30 >&2

say "Waiting until both services are stable and every target is healthy"
aws ecs wait services-stable --cluster "$cluster" --services backend frontend
for targets in "$frontend_targets" "$backend_targets"; do
  aws elbv2 wait target-in-service --target-group-arn "$targets"
done
# The name of an internet-facing load balancer leads here on AWS too; the address needs no resolver.
text 'NetworkInterfaces[0].PrivateIpAddress' ec2 describe-network-interfaces \
  --filters "Name=description,Values=ELB ${balancer#*:loadbalancer/}"
