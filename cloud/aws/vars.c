/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of the variables that amazon-vpc-cni-k8s is set by. Their meaning there: its README.md, cmd/aws-k8s-agent,
 * cmd/aws-vpc-cni/main.go and pkg/ipamd/ipamd.go, at v1.22.
 */
#include "../providers.h"
#include "berth/attr.h"
#include "berth/cloud.h"

#define SETS(variable, to)           .name = (variable), .rule = CLOUD_VAR_SETTING, .setting = (to)
#define COUNTS(variable, to)         .name = (variable), .rule = CLOUD_VAR_COUNT, .setting = (to)
#define SWITCHES(variable, to, what) .name = (variable), .rule = CLOUD_VAR_VALUE, .setting = (to), .value = (what)
#define ADDS(variable, to, what)     .name = (variable), .rule = CLOUD_VAR_MEMBER, .setting = (to), .value = (what)
#define PASSED(variable, why)        .name = (variable), .rule = CLOUD_VAR_PASSED, .note = (why)
#define WARNED(variable, why)        .name = (variable), .rule = CLOUD_VAR_WARNED, .note = (why)
#define REFUSED(variable, why)       .name = (variable), .rule = CLOUD_VAR_REFUSED, .note = (why)
#define STEM(start)                  .name = (start), .rule = CLOUD_VAR_STEM

static const struct cloud_var vars[] = {
	/* The warm pool. There a target of addresses puts those of NICs and prefixes out of force, and with prefixes theirs
	 * counts instead of that of NICs. */
	{ SWITCHES("ENABLE_PREFIX_DELEGATION", "prefixes", "true") },
	{ COUNTS("WARM_IP_TARGET", "warmIPs") },
	{ COUNTS("MINIMUM_IP_TARGET", "minIPs"), .note = "at most `maxPods`" },
	{ COUNTS("WARM_ENI_TARGET", "warmNICs"), .unless = "WARM_IP_TARGET MINIMUM_IP_TARGET prefixes",
	  .note = "where it is not set, `warmIPs` decides alone" },
	{ COUNTS("WARM_PREFIX_TARGET", "warmPrefixes"), .unless = "WARM_IP_TARGET MINIMUM_IP_TARGET",
	  .requires = "prefixes" },
	{ COUNTS("MAX_ENI", "maxNICs") },
	{ SETS("IP_COOLDOWN_PERIOD", "cooldown"), .note = "seconds" },

	/* What pods get. */
	{ ADDS("ENABLE_IPv4", "families", "ipv4") },
	{ ADDS("ENABLE_IPv6", "families", "ipv6"),
	  .note = "both may be set here: a pod then has an address of each family" },
	{ SETS("ENABLE_V4_EGRESS", "v4Egress") },
	{ SETS("ENABLE_V6_EGRESS", "v6Egress") },
	{ WARNED("DISABLE_POD_V6", "IPv6 is not switched off inside pods; chain the tuning plugin") },
	{ REFUSED("ENABLE_POD_ENI",
		  "security groups for pods are not supported: such pods would run with those of the node") },
	{ PASSED("POD_SECURITY_GROUP_ENFORCING_MODE", "only of use with `ENABLE_POD_ENI`") },
	{ PASSED("DISABLE_TCP_EARLY_DEMUX", "only of use with `ENABLE_POD_ENI`") },
	{ REFUSED("ENABLE_MULTI_NIC",
		  "one interface for each network card is not supported: such pods would have eth0 alone") },
	{ PASSED("ENABLE_BANDWIDTH_PLUGIN", "always so: pods have the bandwidth that they are annotated with") },
	{ WARNED("ANNOTATE_POD_IP", "pods are not annotated: berth does not use the Kubernetes API") },
	{ REFUSED("NETWORK_POLICY_ENFORCING_MODE",
		  "pods would not be isolated: a network policy engine has to run beside berth"),
	  .value = "none,standard" },
	{ WARNED("NETWORK_POLICY_ENFORCING_MODE", "network policies are enforced by an engine beside berth, if at all"),
	  .value = "none,strict" },

	/* Where NICs come from. */
	{ REFUSED("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG",
		  "ENIConfig objects need the Kubernetes API: use `podSubnets` and `podSecurityGroups`"),
	  .setting = "podSubnets" },
	{ PASSED("ENI_CONFIG_ANNOTATION_DEF", "only of use with `AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG`") },
	{ PASSED("ENI_CONFIG_LABEL_DEF", "only of use with `AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG`") },
	{ SETS("ENABLE_SUBNET_DISCOVERY", "subnetDiscovery") },
	{ SETS("ADDITIONAL_ENI_TAGS", "nicTags") },
	{ SETS("CLUSTER_NAME", "cluster") },
	{ PASSED("MANAGE_UNTAGGED_ENI", "berth manages the primary NIC and those that it made, no others") },
	{ PASSED("AWS_MANAGE_ENIS_NON_SCHEDULABLE", "always so: berth does not look at the node's taints") },
	{ PASSED("DISABLE_LEAKED_ENI_CLEANUP",
		 "berth deletes left-over NICs that it made itself; `pause` `all` keeps it from that") },

	/* What is asked of EC2; the later one is the stricter. */
	{ SWITCHES("DISABLE_NETWORK_RESOURCE_PROVISIONING", "access", "read") },
	{ SWITCHES("ENABLE_IMDS_ONLY_MODE", "access", "metadata") },
	{ WARNED("AWS_EC2_ENDPOINT", "use `AWS_ENDPOINT_URL_EC2`"), .value = "" },
	{ PASSED("AWS_REGION", "read as the AWS SDKs do, see above") },
	{ PASSED("HTTP_TIMEOUT", "each call has a deadline of its own") },

	/* The data path. */
	{ SETS("AWS_VPC_ENI_MTU", "mtu") },
	{ SETS("POD_MTU", "mtu"), .note = "goes before `AWS_VPC_ENI_MTU`, and is that of secondary NICs too" },
	{ SETS("AWS_VPC_K8S_CNI_EXTERNALSNAT", "externalSNAT") },
	{ SETS("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "snatExclude") },
	{ PASSED("AWS_VPC_K8S_CNI_RANDOMIZESNAT", "ports are always fully random") },
	{ PASSED("AWS_VPC_CNI_NODE_PORT_SUPPORT", "always on") },
	{ WARNED("AWS_VPC_K8S_CNI_CONNMARK", "berth's bits are `markMask`"), .value = "0x80,128" },
	{ WARNED("AWS_EXTERNAL_SERVICE_CIDRS",
		 "add a routing rule `to CIDR lookup main` of your own, with a number below `rulePriority`"),
	  .value = "" },
	{ SETS("AWS_VPC_K8S_CNI_VETHPREFIX", "vethPrefix"),
	  .note = "the names are the same there; where it is not set, names are by container" },
	{ PASSED("AWS_VPC_K8S_CNI_CONFIGURE_RPFILTER", "deprecated there; berth sets rp_filter to 2 on its NICs") },
	{ PASSED("ENABLE_NFTABLES", "deprecated there; berth uses nftables") },

	/* Logs, files, what is beside. */
	{ SETS("AWS_VPC_K8S_CNI_LOGLEVEL", "logLevel"),
	  .value = "DEBUG=debug,INFO=info,WARN=warn,ERROR=error,FATAL=error" },
	{ PASSED("AWS_VPC_K8S_CNI_LOG_FILE", "the log goes to standard error") },
	{ PASSED("AWS_VPC_K8S_PLUGIN_LOG_FILE", "the plugin keeps no log") },
	{ PASSED("AWS_VPC_K8S_PLUGIN_LOG_LEVEL", "the plugin keeps no log") },
	{ PASSED("AWS_VPC_K8S_EGRESS_V4_PLUGIN_LOG_FILE", "there is no such plugin") },
	{ PASSED("AWS_VPC_K8S_EGRESS_V6_PLUGIN_LOG_FILE", "there is no such plugin") },
	{ PASSED("AWS_VPC_K8S_CNI_BACKING_STORE", "leases are in `runDir`") },
	{ PASSED("INTROSPECTION_BIND_ADDRESS", "`berthctl status` asks over the socket") },
	{ PASSED("DISABLE_INTROSPECTION", "`berthctl status` asks over the socket") },
	{ SWITCHES("DISABLE_METRICS", "metricsAddress", "") },
	{ PASSED("HOST_CNI_BIN_PATH", "the daemon installs no binaries") },
	{ WARNED("HOST_CNI_CONFDIR_PATH", "use `conflistDir`"), .value = "/host/etc/cni/net.d" },
	{ PASSED("CLUSTER_ENDPOINT", "berth does not use the Kubernetes API") },
	{ PASSED("MY_NODE_NAME", "berth does not use the Kubernetes API") },
	{ PASSED("MY_POD_NAME", "berth does not use the Kubernetes API") },
	{ PASSED("VPC_CNI_VERSION", "a label of its image") },
	{ PASSED("USE_CLOUDWATCH", "of cni-metrics-helper; berth's metrics are at `metricsAddress`") },
	{ PASSED("USE_PROMETHEUS", "of cni-metrics-helper; berth's metrics are at `metricsAddress`") },
	{ PASSED("METRIC_UPDATE_INTERVAL", "of cni-metrics-helper") },
	{ PASSED("AWS_CLUSTER_ID", "of cni-metrics-helper") },

	{ STEM("AWS_VPC_") },
	{ STEM("WARM_") },
	{ STEM("ENABLE_") },
};

const struct cloud_var *aws_vars(unsigned *ret_count)
{
	*ret_count = ARRAY_SIZE(vars);
	return vars;
}
