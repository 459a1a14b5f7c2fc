#!/usr/bin/env bash
# Everything: tidy, generated code, unit tests, real containers, real clients. Needs root.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "the tests start containers and networks: run them as root" >&2; exit 1; }
step() { printf '\n== %s (%s)\n' "$1" "$(date -u +%H:%M:%S)"; }
step "generated code is up to date"; cargo xtask codegen --check
step "form"; cargo fmt --all --check; cargo clippy --workspace --all-targets -- -D warnings; cargo clippy -p xtask --features bench -- -D warnings
step "build"; cargo build --workspace --all-targets
step "images for the tests"; tests/images/build.sh target/test-images
step "Rust tests"; cargo test --workspace
step "containers on cgroup v2, in a guest"; tests/cgroup-v2/run.sh
step "AWS CLI, boto3 and containers"; target/venv/bin/python -m pytest -q tests
