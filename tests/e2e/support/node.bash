# SPDX-License-Identifier: Apache-2.0
# Sourced by containerd.sh and used by runtime.py: a containerd of its own inside a node of the box, and an image made without a registry.
# shellcheck shell=bash

# oci_image FOLDER REFERENCE ARCHIVE COMMAND-AS-JSON - pack a root file system as an OCI archive.
oci_image() {
	local root=$1 ref=$2 archive=$3 command=$4 w layer diff config manifest size
	w=$(mktemp -d)
	mkdir -p "$w/blobs/sha256"
	put() { # FILE -> its digest; the file becomes a blob
		local digest
		digest=$(sha256sum "$1" | cut -d' ' -f1)
		mv "$1" "$w/blobs/sha256/$digest"
		echo "$digest"
	}
	tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$w/layer" .
	diff=$(sha256sum "$w/layer" | cut -d' ' -f1)
	gzip -n9 "$w/layer" && mv "$w/layer.gz" "$w/layer"
	size=$(stat -c %s "$w/layer")
	layer=$(put "$w/layer")
	printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":%s},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
		"$(dpkg --print-architecture)" "$command" "$diff" >"$w/config"
	local config_size manifest_size
	config_size=$(stat -c %s "$w/config")
	config=$(put "$w/config")
	printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:%s","size":%d}]}' \
		"$config" "$config_size" "$layer" "$size" >"$w/manifest"
	manifest_size=$(stat -c %s "$w/manifest")
	manifest=$(put "$w/manifest")
	printf '{"imageLayoutVersion":"1.0.0"}' >"$w/oci-layout"
	printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%d,"annotations":{"io.containerd.image.name":"%s"}}]}' \
		"$manifest" "$manifest_size" "$ref" >"$w/index.json"
	tar -C "$w" -cf "$archive" oci-layout index.json blobs
	rm -rf "$w"
}

# containerd_config FOLDER CNI-BIN CNI-CONF - restrict_oom_score_adj: machines without CAP_SYS_RESOURCE.
containerd_config() {
	cat <<-TOML
	version = 2
	root = "$1/root"
	state = "$1/state"
	oom_score = 0
	disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
	[grpc]
	  address = "$1/containerd.sock"
	[ttrpc]
	  address = "$1/containerd.sock.ttrpc"
	[plugins."io.containerd.internal.v1.opt"]
	  path = "$1/opt"
	[plugins."io.containerd.grpc.v1.cri"]
	  sandbox_image = "berth.test/pause:1"
	  restrict_oom_score_adj = true
	  disable_tcp_service = true
	  enable_selinux = false
	  disable_apparmor = true
	  [plugins."io.containerd.grpc.v1.cri".cni]
	    bin_dir = "$2"
	    conf_dir = "$3"
	    max_conf_num = 1
	  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
	    runtime_type = "io.containerd.runc.v2"
	    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
	      SystemdCgroup = false
	TOML
}

# containerd_start NETNS FOLDER - in the node's network namespace and mounts of its own; the pid goes to FOLDER/pid.
containerd_start() {
	mkdir -p "$2/netns"
	nsenter --net="/run/netns/$1" unshare -m bash -c '
		mount --make-rprivate /
		mkdir -p /run/netns
		mount --bind "$1/netns" /run/netns
		mount --make-shared /run/netns
		exec containerd -c "$1/config.toml"' containerd "$2" >"$2/log" 2>&1 </dev/null &
	echo $! >"$2/pid"
}

# containerd_stop FOLDER - containerd and the shims that belong to its socket, by pid.
containerd_stop() {
	local pid shim
	[ -e "$1/pid" ] || return 0
	pid=$(cat "$1/pid")
	kill "$pid" 2>/dev/null
	while kill -0 "$pid" 2>/dev/null; do read -rt 0.05 <> <(:) || :; done
	for shim in $(pgrep -f "containerd-shim-runc-v2 .*-address $1/containerd.sock"); do kill -9 "$shim" 2>/dev/null; done
	return 0
}
