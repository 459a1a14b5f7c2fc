#!/usr/bin/env bash
# Makes target/venv with the AWS CLI, boto3 and pytest, at the versions that tests/requirements.txt names.
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=target/venv/requirements.txt
if ! cmp -s tests/requirements.txt "$stamp"; then
  echo "Installing the AWS CLI and boto3 into target/venv"
  python3 -m venv target/venv
  target/venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
  cp tests/requirements.txt "$stamp"
fi
