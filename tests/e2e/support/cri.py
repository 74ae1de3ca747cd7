#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tests/e2e/support/cri.py SOCKET GENERATED run NAME [ANNOTATION=VALUE...] | ip ID | stop ID | remove ID - a CRI client as
small as it can be.

GENERATED is the folder in which protoc put cri_pb2.py.
"""
import importlib
import sys

import grpc


class Cri:
    """The runtime service of one containerd; calls may come from several threads."""

    def __init__(self, socket, generated, cgroup="/berth-e2e"):
        sys.path.insert(0, generated)
        self.pb = importlib.import_module("cri_pb2")
        self.channel = grpc.insecure_channel("unix://" + socket, options=[("grpc.default_authority", "localhost")])
        self.cgroup = cgroup

    def call(self, method, request, response, timeout=60):
        stub = self.channel.unary_unary("/runtime.v1.RuntimeService/" + method,
                                        request_serializer=lambda message: message.SerializeToString(),
                                        response_deserializer=response.FromString)
        return stub(request, timeout=timeout)

    def run(self, name, *annotations, attempt=0, ports=()):
        """RunPodSandbox, for the same pod once more with the next attempt. Return: the sandbox's id.

        annotations: KEY=VALUE each; ports: {host_port, container_port, protocol, host_ip} each, as hostPort gives them."""
        pb = self.pb
        security = pb.LinuxSandboxSecurityContext(namespace_options=pb.NamespaceOption(network=0, pid=1, ipc=0))
        config = pb.PodSandboxConfig(
            metadata=pb.PodSandboxMetadata(name=name, uid="uid-" + name, namespace="default", attempt=attempt),
            hostname=name, port_mappings=[pb.PortMapping(**port) for port in ports],
            annotations=dict(annotation.split("=", 1) for annotation in annotations),
            linux=pb.LinuxPodSandboxConfig(cgroup_parent=f"{self.cgroup}/{name}", security_context=security))
        return self.call("RunPodSandbox", pb.RunPodSandboxRequest(config=config), pb.RunPodSandboxResponse).pod_sandbox_id

    def ip(self, sandbox):
        return self.call("PodSandboxStatus", self.pb.PodSandboxRequest(pod_sandbox_id=sandbox),
                         self.pb.PodSandboxStatusResponse).status.network.ip

    def stop(self, sandbox):
        self.call("StopPodSandbox", self.pb.PodSandboxRequest(pod_sandbox_id=sandbox), self.pb.Empty)

    def remove(self, sandbox):
        self.call("RemovePodSandbox", self.pb.PodSandboxRequest(pod_sandbox_id=sandbox), self.pb.Empty)

    def info(self):
        """What the runtime says of itself, its CNI configuration among it."""
        answer = self.call("Status", self.pb.StatusRequest(verbose=True), self.pb.StatusResponse)
        return "\n".join(answer.info.values())

    def sandboxes(self):
        """The ids of all that the runtime still knows."""
        answer = self.call("ListPodSandbox", self.pb.Empty(), self.pb.ListPodSandboxResponse)
        return [item.id for item in answer.items]


def main():
    socket, generated, verb, *args = sys.argv[1:]
    answer = getattr(Cri(socket, generated), verb)(*args)
    if answer is not None:
        print(answer)


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"{sys.argv[3]}: {error.details()}")
