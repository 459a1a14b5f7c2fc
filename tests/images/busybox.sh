#!/bin/bash
# Builds a small image from busybox-static for tests, without docker.
#
#   tests/images/busybox.sh OUT.tar [--tag NAME:TAG] [--format docker|oci] [--compress none|gzip|zstd]
#       [--entrypoint JSON] [--cmd JSON] [--env NAME=VALUE]... [--user USER] [--workdir DIR] [--volume PATH]...
#       [--expose PORT/PROTOCOL]... [--label NAME=VALUE]... [--stop-signal SIGNAL] [--healthcheck JSON]
#       [--file PATH=SOURCE[:MODE[:UID:GID]]]... [--text PATH=CONTENT]... [--layers N]
#
# Defaults: busybox:latest, docker, not compressed, no entry point, ["sh"] as command. JSON is the image
# configuration's form: '["/bin/sh","-c","..."]'; --healthcheck is docker's object with times in nanoseconds.
# Every --file and --text goes into one layer above busybox. --layers pads the image with N more small layers,
# each with the file /layers/<number>. Same inputs, same bytes.
set -euo pipefail

usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
[ $# -ge 1 ] || usage
out=$1
shift
tag=busybox:latest format=docker compress=none entrypoint=null cmd='["sh"]' user='' workdir=/ stop_signal='' healthcheck=''
environment='"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"'
volumes='' ports='' labels='' layers=0
files=() texts=()
quote() { local text=${1//\\/\\\\}; text=${text//\"/\\\"}; printf '"%s"' "${text//$'\n'/\\n}"; }
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage
    case $1 in
    --tag) tag=$2 ;;
    --format) format=$2 ;;
    --compress) compress=$2 ;;
    --entrypoint) entrypoint=$2 ;;
    --cmd) cmd=$2 ;;
    --env) environment+=,$(quote "$2") ;;
    --user) user=$2 ;;
    --workdir) workdir=$2 ;;
    --volume) volumes+=${volumes:+,}$(quote "$2"):{} ;;
    --expose) ports+=${ports:+,}$(quote "$2"):{} ;;
    --label) labels+=${labels:+,}$(quote "${2%%=*}"):$(quote "${2#*=}") ;;
    --stop-signal) stop_signal=$2 ;;
    --healthcheck) healthcheck=$2 ;;
    --file) files+=("$2") ;;
    --text) texts+=("$2") ;;
    --layers) layers=$2 ;;
    *) usage ;;
    esac
    shift 2
done
case $tag in *:*) ;; *) tag=$tag:latest ;; esac

busybox=${BUSYBOX:-$(command -v busybox || true)}
[ -n "$busybox" ] || { echo "$0: no busybox: apt-get install busybox-static" >&2; exit 1; }
case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) architecture=$(uname -m) ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

base=$work/base
mkdir -p "$base"/{bin,sbin,etc,root,usr/bin,usr/sbin,var/run,dev,proc,sys,run,home}
mkdir -m 1777 "$base/tmp"
cp "$busybox" "$base/bin/busybox"
chmod 755 "$base/bin/busybox"
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$base/bin/$applet"
done
printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'daemon:x:1:1:daemon:/usr/sbin:/bin/false' \
    'app:x:1000:1000:app:/home:/bin/sh' 'nobody:x:65534:65534:nobody:/:/bin/false' >"$base/etc/passwd"
printf '%s\n' 'root:x:0:' 'daemon:x:1:' 'extra:x:20:app' 'app:x:1000:' 'nogroup:x:65534:' >"$base/etc/group"

# The archives, lowest first; owners and modes are carried by tar's own options through the file system.
archives=()
archive() { # archive DIRECTORY
    tar --sort=name --format=pax --pax-option=delete=atime,delete=ctime --mtime=@0 --numeric-owner \
        --xattrs --xattrs-include='security.*' --xattrs-include='user.*' -C "$1" -cf "$1.tar" .
    archives+=("$1.tar")
}
chown -Rh 0:0 "$base"
archive "$base"
if [ ${#files[@]} -gt 0 ] || [ ${#texts[@]} -gt 0 ]; then
    upper=$work/upper
    mkdir "$upper"
    for file in ${files[@]+"${files[@]}"}; do
        path=${file%%=*}
        IFS=: read -r source mode uid gid <<<"${file#*=}"
        mkdir -p "$upper/$(dirname "$path")"
        cp "$source" "$upper/$path"
        chown "${uid:-0}:${gid:-0}" "$upper/$path"
        chmod "${mode:-755}" "$upper/$path"
    done
    for text in ${texts[@]+"${texts[@]}"}; do
        path=${text%%=*}
        mkdir -p "$upper/$(dirname "$path")"
        printf '%s\n' "${text#*=}" >"$upper/$path"
        chmod 755 "$upper/$path"
    done
    archive "$upper"
fi
for ((number = 1; number <= layers; number++)); do
    mkdir -p "$work/layer-$number/layers"
    echo "$number" >"$work/layer-$number/layers/$number"
    archive "$work/layer-$number"
done

source "$(dirname "$0")/lib.sh"
config="\"Env\":[$environment],\"Entrypoint\":$entrypoint,\"Cmd\":$cmd,\"WorkingDir\":$(quote "$workdir")"
[ -z "$user" ] || config+=",\"User\":$(quote "$user")"
[ -z "$volumes" ] || config+=",\"Volumes\":{$volumes}"
[ -z "$ports" ] || config+=",\"ExposedPorts\":{$ports}"
[ -z "$labels" ] || config+=",\"Labels\":{$labels}"
[ -z "$stop_signal" ] || config+=",\"StopSignal\":$(quote "$stop_signal")"
[ -z "$healthcheck" ] || config+=",\"Healthcheck\":$healthcheck"
write_image "$out" "$format" "$tag" "$compress" "$config" "${archives[@]}"
