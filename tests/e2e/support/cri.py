#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tests/e2e/support/cri.py SOCKET GENERATED run NAME | ip ID | stop ID | remove ID - a CRI client as small as it can be.

GENERATED is the folder in which protoc put cri_pb2.py.
"""
import sys

import grpc


def main():
    socket, generated, verb, arg = sys.argv[1:5]
    sys.path.insert(0, generated)
    import cri_pb2 as cri

    channel = grpc.insecure_channel("unix://" + socket, options=[("grpc.default_authority", "localhost")])

    def call(method, request, response):
        stub = channel.unary_unary("/runtime.v1.RuntimeService/" + method,
                                   request_serializer=lambda message: message.SerializeToString(),
                                   response_deserializer=response.FromString)
        return stub(request, timeout=60)

    if verb == "run":
        namespaces = cri.NamespaceOption(network=0, pid=1, ipc=0)
        config = cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(name=arg, uid="uid-" + arg, namespace="default"), hostname=arg,
            linux=cri.LinuxPodSandboxConfig(
                cgroup_parent="/berth-e2e/" + arg,
                security_context=cri.LinuxSandboxSecurityContext(namespace_options=namespaces)))
        print(call("RunPodSandbox", cri.RunPodSandboxRequest(config=config),
                   cri.RunPodSandboxResponse).pod_sandbox_id)
    elif verb == "ip":
        print(call("PodSandboxStatus", cri.PodSandboxRequest(pod_sandbox_id=arg),
                   cri.PodSandboxStatusResponse).status.network.ip)
    elif verb == "stop":
        call("StopPodSandbox", cri.PodSandboxRequest(pod_sandbox_id=arg), cri.Empty)
    elif verb == "remove":
        call("RemovePodSandbox", cri.PodSandboxRequest(pod_sandbox_id=arg), cri.Empty)


try:
    main()
except grpc.RpcError as error:
    sys.exit(f"{sys.argv[3]}: {error.details()}")
