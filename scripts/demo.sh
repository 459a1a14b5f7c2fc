#!/usr/bin/env bash
# `make demo`: starts Roadstead, deploys examples/insurance on it with the AWS CLI, updates it under load, and waits for Ctrl-C.
# DEMO_ONCE=1 ends instead of waiting, for tests. DEMO_LISTEN=ADDRESS:PORT chooses where the API listens.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "Roadstead makes containers and networks: run this as root" >&2; exit 1; }
roadstead=${ROADSTEAD:-$PWD/target/release/roadstead}
programs=${DEMO_PROGRAMS:-target/release}
listen=${DEMO_LISTEN:-127.0.0.1:4566}
data_dir=$(mktemp -d /var/lib/roadstead-demo-XXXXXX)
work=$(mktemp -d)
log=$data_dir.log
server='' load=''
finish() {
  # A second Ctrl-C changes nothing: what was begun is brought to its end.
  trap - EXIT
  trap '' INT TERM
  [ -z "$load" ] || kill -TERM "$load" 2>/dev/null || true
  if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
    echo; echo "Stopping: every task, container, mount, namespace, cgroup and rule goes."
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$data_dir" "$work"
  rm -f "$log"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say "1. roadstead up"
# Four tasks of the backend at once while it is updated (1 vCPU each), and up to four of the frontend (1/4 vCPU each).
wanted=5 cores=$(nproc) over_commit=100
if [ "$cores" -lt "$wanted" ]; then
  over_commit=$(((wanted * 100 + cores - 1) / cores))
  echo "The example asks for $wanted vCPUs, and this machine has $cores: CPU and memory are over-committed (--over-commit $over_commit)."
fi
# Its own process group, so that Ctrl-C reaches this script, which then stops it in order.
set -m
"$roadstead" up --ephemeral --data-dir "$data_dir" --listen "$listen" --cluster InsuranceAppCluster --over-commit "$over_commit" \
  >"$log" 2>&1 & server=$!
set +m
for _ in $(seq 300); do
  curl -sf "http://$listen/_roadstead/health" >/dev/null 2>&1 && break
  kill -0 "$server" 2>/dev/null || { echo "roadstead up ended early:" >&2; cat "$log" >&2; exit 1; }
  sleep 0.1
done
curl -sf "http://$listen/_roadstead/health" >/dev/null || { echo "roadstead up is not ready after 30 s:" >&2; cat "$log" >&2; exit 1; }
eval "$("$roadstead" env --data-dir "$data_dir")"
export PATH="$PWD/target/venv/bin:$PATH" AWS_PAGER=
echo "The region $AWS_REGION listens at $AWS_ENDPOINT_URL"

say "2. Two images, built here and loaded"
PROGRAMS=$programs examples/insurance/build-images.sh "$work" >/dev/null
for part in frontend backend; do run "$roadstead" image load "$work/$part.tar" --data-dir "$data_dir"; done

say "3. The application, deployed with the AWS CLI (examples/insurance/deploy.sh)"
address=$(examples/insurance/deploy.sh)
printf '\nURL: http://%s/\n' "$address"
curl -sf --max-time 10 "http://$address/" | grep -o '<h1>.*</h1>'
run curl -sf --max-time 10 "http://$address/api/health"
echo

say "4. A new version of the backend, while requests come in"
"$programs/insurance-load" "http://$address/api/quotes?product=car&age=40&sum=20000,http://$address/" 8 100 >"$work/load" & load=$!
sed 's/"name": "VERSION", "value": "1"/"name": "VERSION", "value": "2"/' examples/insurance/backend.json >"$work/two.json"
run aws ecs register-task-definition --cli-input-json "file://$work/two.json" --query taskDefinition.taskDefinitionArn --output text
run aws ecs update-service --cluster InsuranceAppCluster --service backend --task-definition insurance-backend \
  --query 'service.taskDefinition' --output text
rollout() {
  aws ecs describe-services --cluster InsuranceAppCluster --services backend --query 'services[0].deployments[0].rolloutState' --output text
}
for _ in $(seq 300); do [ "$(rollout)" != IN_PROGRESS ] && break; sleep 1; done
echo "The deployment is $(rollout)"
kill -TERM "$load"; wait "$load" || true; load=
echo "Meanwhile: $(cat "$work/load")"
run curl -sf --max-time 10 "http://$address/api/health"
echo

say "5. Its logs, through the CloudWatch Logs API: the audit sidecar's quotes"
run aws logs filter-log-events --log-group-name /insurance --log-stream-name-prefix audit/ \
  --query 'events[:3].message' --output text | tr '\t' '\n'

say "6. Go on in another terminal"
cat <<TEXT
eval "\$($roadstead env --data-dir $data_dir)"; export PATH=$PWD/target/venv/bin:\$PATH
curl "http://$address/api/quotes?product=home&age=40&sum=400000"
aws ecs describe-services --cluster InsuranceAppCluster --services backend frontend --query 'services[].[serviceName,runningCount,events[0].message]'
aws elbv2 describe-target-health --target-group-arn \$(aws elbv2 describe-target-groups --names insurance-backend --query 'TargetGroups[0].TargetGroupArn' --output text)
aws servicediscovery discover-instances --namespace-name insurance.local --service-name backend
aws ecs update-service --cluster InsuranceAppCluster --service backend --desired-count 4
aws logs filter-log-events --log-group-name /insurance --query 'events[].message' --output text
TEXT
printf '\nURL: http://%s/\n' "$address"
[ -n "${DEMO_ONCE:-}" ] && exit 0
say "Ctrl-C stops everything."
wait "$server"
