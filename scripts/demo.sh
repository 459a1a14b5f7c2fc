#!/usr/bin/env bash
# `make demo`: starts Roadstead, runs examples/hello on it with the AWS CLI, shows its log lines, and waits for Ctrl-C.
# DEMO_ONCE=1 ends after the log lines, for tests. DEMO_LISTEN=ADDRESS:PORT chooses where the API listens.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "Roadstead makes containers and networks: run this as root" >&2; exit 1; }
roadstead=${ROADSTEAD:-target/release/roadstead}
listen=${DEMO_LISTEN:-127.0.0.1:4566}
data_dir=$(mktemp -d /var/lib/roadstead-demo-XXXXXX)
log=$data_dir.log
server=
finish() {
  trap - EXIT INT TERM
  if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
    echo; echo "Stopping: every task, container, mount, namespace, cgroup and rule goes."
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$data_dir" "$data_dir.tar"
  rm -f "$log"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say "1. roadstead up"
# Its own process group, so that Ctrl-C reaches this script, which then stops it in order.
set -m; "$roadstead" up --ephemeral --data-dir "$data_dir" --listen "$listen" >"$log" 2>&1 & server=$!; set +m
for _ in $(seq 300); do
  curl -sf "http://$listen/_roadstead/health" >/dev/null 2>&1 && break
  kill -0 "$server" 2>/dev/null || { echo "roadstead up ended early:" >&2; cat "$log" >&2; exit 1; }
  sleep 0.1
done
curl -sf "http://$listen/_roadstead/health" >/dev/null || { echo "roadstead up is not ready after 30 s:" >&2; cat "$log" >&2; exit 1; }
eval "$("$roadstead" env --data-dir "$data_dir")"
export PATH="$PWD/target/venv/bin:$PATH" AWS_PAGER=
echo "The region $AWS_REGION listens at $AWS_ENDPOINT_URL"

say "2. An image, built here from busybox, and loaded"
examples/hello/build-image.sh "$data_dir.tar"
run "$roadstead" image load "$data_dir.tar" --data-dir "$data_dir"

say "3. A task definition, and a task"
run aws ecs register-task-definition --cli-input-json file://examples/hello/task-definition.json \
  --query 'taskDefinition.taskDefinitionArn' --output text
subnet=$(aws ec2 describe-subnets --query 'Subnets[0].SubnetId' --output text)
task=$(run aws ecs run-task --launch-type FARGATE --task-definition hello \
  --network-configuration "awsvpcConfiguration={subnets=[$subnet]}" \
  --query 'tasks[0].taskArn' --output text | tee /dev/stderr | tail -n 1)
run aws ecs wait tasks-running --tasks "$task"
address=$(aws ecs describe-tasks --tasks "$task" \
  --query "tasks[0].attachments[0].details[?name=='privateIPv4Address'].value | [0]" --output text)
echo "RUNNING at $address"
run curl -s --retry 20 --retry-connrefused --retry-delay 1 --max-time 10 "http://$address:8080/"

say "4. Its log, through the CloudWatch Logs API"
stream=hello/hello/${task##*/}
run aws logs get-log-events --log-group-name /ecs/hello --log-stream-name "$stream" --start-from-head \
  --query 'events[].message' --output text | tr '\t' '\n'

say "5. Go on in another terminal"
cat <<TEXT
eval "\$($PWD/$roadstead env --data-dir $data_dir)"; export PATH=$PWD/target/venv/bin:\$PATH
aws ecs list-tasks
aws ecs describe-tasks --tasks $task
aws logs filter-log-events --log-group-name /ecs/hello --query 'events[].message' --output text
aws ecs stop-task --task $task --reason "enough"
aws ecs describe-container-instances --container-instances \$(aws ecs list-container-instances --query 'containerInstanceArns[]' --output text)
TEXT
[ -n "${DEMO_ONCE:-}" ] && exit 0
say "Ctrl-C stops everything."
wait "$server"
