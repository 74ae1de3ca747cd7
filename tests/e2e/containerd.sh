#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A real containerd (CRI) inside a node of the box runs a pod sandbox with our conflist: it gets a VPC address, answers
# ping from the other node, keeps its lease when the daemon is killed, and its removal frees everything.
set -u
cd "$(dirname "$0")/../.."
. tests/e2e/support/node.bash
build=${BUILD:-build}
box=be$(($$ % 1000))
state=/run/vpcbox/$box
d=$(mktemp -d)
n=0

ok() { n=$((n + 1)); echo "ok $n - $*"; }
not_ok() { n=$((n + 1)); echo "not ok $n - $*"; }
# check WHAT COMMAND... - one TAP line
check() {
	local what=$1
	shift
	if "$@" >"$d/out" 2>&1; then ok "$what"; else not_ok "$what"; sed 's/^/# /' "$d/out"; fi
}
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		read -rt 0.1 <> <(:) || :
	done
}
cleanup() {
	containerd_stop "$d"
	"$build/vpcbox" down --name "$box" >/dev/null 2>&1
	awk -v d="$d/" 'index($5, d) == 1 {print $5}' /proc/self/mountinfo | sort -r | xargs -r umount 2>/dev/null
	rm -rf "$d"
	find /sys/fs/cgroup -depth -type d -path '*/berth-e2e*' -exec rmdir {} + 2>/dev/null
}
trap cleanup EXIT
trap 'exit 130' INT TERM
fatal() { not_ok "$*"; [ -e "$d/log" ] && tail -n 20 "$d/log" | sed 's/^/# /'; echo "1..$n"; exit 1; }

cri() { /usr/bin/python3 tests/e2e/support/cri.py "$d/containerd.sock" "$d" "$@"; }
lease_of() {
	BERTH_RUN_DIR=$state/n1/run "$build/berthctl" --json status | /usr/bin/python3 -c '
import json, sys
for nic in json.load(sys.stdin)["nics"]:
    for block in nic["blocks"]:
        for a in block["addresses"]:
            if a.get("container") == sys.argv[1]:
                print(a["addr"], a["state"], a["lease"], a["pod"])' "$1"
}
no_lease() { [ -z "$(lease_of "$1")" ]; }
ping_from() { "$build/vpcbox" exec --name "$box" "$1" -- busybox ping -c 1 -W 1 "$2"; }
pod_links() { ip -n "$box-n1" -o link show type veth 2>/dev/null | grep -c ': bth'; }
no_links() { [ "$(pod_links)" = 0 ]; }

"$build/vpcbox" up --name "$box" --cloud aws --nodes 2 --env BERTH_COOLDOWN=1s >"$d/up" 2>&1 || { cat "$d/up"; fatal "vpcbox up"; }
mkdir -p "$d/bin" "$d/image/bin"
cp "$build/berth" /usr/lib/cni/loopback "$d/bin/"
cp /bin/busybox "$d/image/bin/"
oci_image "$d/image" berth.test/pause:1 "$d/pause.tar" '["/bin/busybox","sleep","86400"]'
protoc -I tests/e2e/support --python_out="$d" cri.proto || fatal "protoc"
containerd_config "$d" "$d/bin" "$state/n1/net.d" >"$d/config.toml"
containerd_start "$box-n1" "$d"
until_true 20 ctr -a "$d/containerd.sock" version >/dev/null 2>&1 || fatal "containerd does not start"
nsenter -t "$(cat "$d/pid")" -m ctr -a "$d/containerd.sock" -n k8s.io image import "$d/pause.tar" >/dev/null 2>"$d/out" ||
	fatal "import the image: $(cat "$d/out")"

id=$(cri run web-0 2>&1) || fatal "RunPodSandbox: $id"
ip=$(cri ip "$id")
ok "RunPodSandbox calls the plugin and gets $ip"
read -r addr lease_state lease_kind pod < <(lease_of "$id")
check "the address is the lease of that container" [ "$addr" = "$ip" ]
check "the lease is bound" [ "$lease_state $lease_kind" = "leased bound" ]
check "the daemon knows the pod by its Kubernetes name" [ "$pod" = "default/web-0" ]
check "the other node's ping is answered" ping_from n2 "$ip"

"$build/vpcbox" kill --name "$box" n1 --signal 9 >/dev/null || fatal "kill the daemon"
check "the pod answers while the daemon is dead" ping_from n2 "$ip"
"$build/vpcbox" start --name "$box" n1 >/dev/null || fatal "start the daemon"
has_lease() { [ "$(lease_of "$id")" = "$addr leased bound default/web-0" ]; }
check "the lease is the same after kill -9" until_true 10 has_lease

id2=$(cri run web-1 2>&1) || fatal "RunPodSandbox: $id2"
ip2=$(cri ip "$id2")
check "a second sandbox has another address" [ "$ip2" != "$ip" ]

# The limits that Kubernetes knows, which containerd makes CNI's capability of.
id3=$(cri run web-2 kubernetes.io/ingress-bandwidth=10M kubernetes.io/egress-bandwidth=20M 2>&1) || fatal "RunPodSandbox: $id3"
buckets() {
	tc -n "$box-n1" qdisc show |
		sed -n 's/^qdisc tbf [^ ]* dev \(bt[hi]\)[0-9a-f]* root .* rate \([^ ]*\) burst \([^ ]*\) .*/\1 \2 \3/p' | sort
}
limited() { [ "$(buckets)" = $'bth 10Mbit 31250b\nbti 20Mbit 62500b' ]; }
no_ifbs() { [ -z "$(ip -n "$box-n1" -o link show type ifb)" ]; }
check "a pod's annotations limit it in both directions" limited
check "the other node's ping is answered through them" ping_from n2 "$(cri ip "$id3")"

for sandbox in "$id" "$id2" "$id3"; do
	check "StopPodSandbox" cri stop "$sandbox"
	check "StopPodSandbox again (a runtime calls DEL several times)" cri stop "$sandbox"
	check "RemovePodSandbox" cri remove "$sandbox"
	check "its lease is gone" until_true 5 no_lease "$sandbox"
done
check "no link of a pod is left" until_true 5 no_links
check "nor one that limited a pod" until_true 5 no_ifbs
dark() { ! ping_from n2 "$ip"; }
check "the address answers nobody" dark
echo "1..$n"
