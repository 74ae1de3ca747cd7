/* SPDX-License-Identifier: Apache-2.0 */
/* The table of settings, and what is printed of it. */
#include "ipamd/config_impl.h"

#include <assert.h>
#include <inttypes.h>

#include "berth/attr.h"
#include "berth/cloud.h"
#include "berth/proto.h"
#include "berth/str.h"

#define FIELD(name) offsetof(struct config, name)

/* warmIPs and what follows: a node of Kubernetes has at most a few hundred pods; 4,096 is beyond every instance type.
 */
#define ADDRESSES_MAX 4096
#define PRIORITY_MAX  (32766 - CLOUD_NICS_MAX) /* 32766: the kernel's rule for table main */

const struct setting config_settings[] = {
	{ "cloud", "BERTH_CLOUD", &kind_text, FIELD(cloud), "aws", 0, 0, "provider of addresses: aws" },
	{ "cluster", "BERTH_CLUSTER", &kind_text, FIELD(cluster), "", 0, 0,
	  "name of the cluster; goes into the owner tags of NICs that berth makes" },
	{ "runDir", "BERTH_RUN_DIR", &kind_text, FIELD(run_dir), PROTO_RUN_DIR, 0, 0,
	  "socket and leases; on a file system that a reboot empties; gets mode 0700" },
	{ "conflistDir", "BERTH_CONFLIST_DIR", &kind_text, FIELD(conflist_dir), "/etc/cni/net.d", 0, 0,
	  "where the container runtime looks for CNI configurations" },
	{ "conflistName", "BERTH_CONFLIST_NAME", &kind_text, FIELD(conflist_name), "10-berth.conflist", 0, 0,
	  "file in it; runtimes take the first by name" },
	{ "network", "BERTH_NETWORK", &kind_text, FIELD(network), "berth", 0, 0, "name of the CNI network" },
	{ "cniVersions", "BERTH_CNI_VERSIONS", &kind_versions, FIELD(cni_versions), "1.0.0", 0, 0,
	  "of the conflist; a runtime takes the highest that it knows; with 1.1.0 it sends GC and STATUS" },
	{ "vethName", "BERTH_VETH_NAME", &kind_names, FIELD(veth_name), "auto", 0, 0,
	  "what host ends of pods are called by; goes into the conflist; auto: pod where vethPrefix is set" },
	{ "vethPrefix", "BERTH_VETH_PREFIX", &kind_text, FIELD(veth_prefix), "", 0, 0,
	  "how names by pod begin, 1 to 4 characters; empty: cali" },
	{ "metricsAddress", "BERTH_METRICS_ADDRESS", &kind_text, FIELD(metrics_address), "127.0.0.1:9479", 0, 0,
	  "IP:PORT of /metrics and /healthz; empty: off" },
	{ "logLevel", "BERTH_LOG_LEVEL", &kind_level, FIELD(log_level), "info", 0, 0, "how much is logged" },
	{ "warmIPs", "BERTH_WARM_IPS", &kind_warm, FIELD(warm_ips), "auto", 0, ADDRESSES_MAX,
	  "free addresses to keep ready; auto: enough for the worst recent moment, as measured on this node, 1 to 8 or "
	  "one "
	  "unit" },
	{ "warmPrefixes", "BERTH_WARM_PREFIXES", &kind_number, FIELD(warm_blocks), "0", 0, ADDRESSES_MAX,
	  "whole free units (prefixes, where the cloud gives them) to keep ready" },
	{ "warmNICs", "BERTH_WARM_NICS", &kind_number, FIELD(warm_nics), "0", 0, CLOUD_NICS_MAX,
	  "free addresses to keep ready, counted in full NICs" },
	{ "minIPs", "BERTH_MIN_IPS", &kind_number, FIELD(min_ips), "0", 0, ADDRESSES_MAX,
	  "addresses to hold in all, used or not; at most maxPods" },
	{ "maxNICs", "BERTH_MAX_NICS", &kind_number, FIELD(max_nics), "0", 0, CLOUD_NICS_MAX,
	  "NICs to use, the primary included; 0: what the instance allows" },
	{ "maxPods", "BERTH_MAX_PODS", &kind_number, FIELD(max_pods), "110", 1, ADDRESSES_MAX,
	  "never hold more addresses than this, rounded up to whole units" },
	{ "families", "BERTH_FAMILIES", &kind_families, FIELD(families), "ipv4", 0, 0,
	  "what pods get an address of; with both each pod has one of each" },
	{ "prefixes", "BERTH_PREFIXES", &kind_bool, FIELD(prefixes), "false", 0, 0,
	  "true: whole prefixes instead of single addresses, where cloud and instance can" },
	{ "access", "BERTH_ACCESS", &kind_access, FIELD(access), "full", 0, 0,
	  "what is asked of the cloud: full; read: nothing is changed, every attached NIC serves; metadata: only the "
	  "metadata service is asked, no API, no credentials" },
	{ "subnetDiscovery", "BERTH_SUBNET_DISCOVERY", &kind_bool, FIELD(subnet_discovery), "true", 0, 0,
	  "new NICs may go into any subnet of the zone that is tagged for it; false: where the primary NIC is" },
	{ "podSubnets", "BERTH_POD_SUBNETS", &kind_ids, FIELD(pod_subnets), "", 0, 0,
	  "where new NICs go instead, those in the node's zone; pods then get no address of the primary NIC" },
	{ "podSecurityGroups", "BERTH_POD_SECURITY_GROUPS", &kind_ids, FIELD(pod_groups), "", 0, 0,
	  "of new NICs; empty: those of the primary NIC" },
	{ "nicTags", "BERTH_NIC_TAGS", &kind_tags, FIELD(nic_tags), "", 0, 0, "on NICs that berth makes" },
	{ "pause", "BERTH_PAUSE", &kind_pause, FIELD(pause), "none", 0, 0,
	  "what to leave undone in the cloud; `berthctl pause` changes it until the next start" },
	{ "cooldown", "BERTH_COOLDOWN", &kind_duration, FIELD(cooldown_us), "30s", 0, HOUR_US,
	  "how long an address rests before another pod gets it" },
	{ "releaseDelay", "BERTH_RELEASE_DELAY", &kind_duration, FIELD(release_delay_us), "10m", 0, DAY_US,
	  "how long a surplus block is idle before it goes back to the cloud" },
	{ "listPeriod", "BERTH_LIST_PERIOD", &kind_duration, FIELD(list_period_us), "30m", USEC_PER_SEC, DAY_US,
	  "how often the cloud is asked what the node has, with jitter; at most 5m apart while the metadata service, "
	  "which is "
	  "looked at each minute, does not answer" },
	{ "addTimeout", "BERTH_ADD_TIMEOUT", &kind_duration, FIELD(add_timeout_us), "60s", USEC_PER_SEC, HOUR_US,
	  "how long a starting pod waits for an address; below the runtime's own limit" },
	{ "unconfirmedTimeout", "BERTH_UNCONFIRMED_TIMEOUT", &kind_duration, FIELD(unconfirmed_us), "120s",
	  10 * USEC_PER_SEC, DAY_US, "after this a reserved address whose pod was never wired is taken back" },
	{ "reclaimPeriod", "BERTH_RECLAIM_PERIOD", &kind_duration, FIELD(reclaim_period_us), "30s", USEC_PER_SEC,
	  DAY_US,
	  "how often pods whose sandbox is gone without a DEL are looked for; two looks in a row free an address" },
	{ "externalSNAT", "BERTH_EXTERNAL_SNAT", &kind_bool, FIELD(external_snat), "false", 0, 0,
	  "true: no SNAT on the node; pods leave by the NIC of their address and something else translates" },
	{ "snatExclude", "BERTH_SNAT_EXCLUDE", &kind_prefixes, FIELD(snat_exclude), "", 0, 0,
	  "prefixes beside the network's own that pods reach with their own address" },
	{ "v4Egress", "BERTH_V4_EGRESS", &kind_bool, FIELD(egress[0]), "true", 0, 0,
	  "pods that get no IPv4 address reach IPv4 as the node's primary address" },
	{ "v6Egress", "BERTH_V6_EGRESS", &kind_bool, FIELD(egress[1]), "false", 0, 0,
	  "pods that get no IPv6 address reach IPv6 as the IPv6 address of the node's primary NIC" },
	{ "markMask", "BERTH_MARK_MASK", &kind_mask, FIELD(mark_mask), "0x7e", 1, UINT32_MAX,
	  "bits of packet and connection marks that are berth's; contiguous; other bits are never touched" },
	{ "rulePriority", "BERTH_RULE_PRIORITY", &kind_number, FIELD(rule_priority), "1024", 1, PRIORITY_MAX,
	  "routing rule of the primary NIC; the NIC in slot n uses this number + n" },
	{ "tableBase", "BERTH_TABLE_BASE", &kind_number, FIELD(table_base), "48640", 256, INT32_MAX,
	  "the NIC in slot n has routing table tableBase + n" },
	{ "mtu", "BERTH_MTU", &kind_mtu, FIELD(mtu), "0", 576, 65535,
	  "of secondary NICs and pods; 0: that of the primary NIC" },
	{ "sourceCheck", "BERTH_SOURCE_CHECK", &kind_bool, FIELD(source_check), "true", 0, 0,
	  "what a pod sends under another address than its own is dropped" },
	{ "metadataGuard", "BERTH_METADATA_GUARD", &kind_bool, FIELD(metadata_guard), "true", 0, 0,
	  "pods do not reach the cloud's metadata service, which gives the node's credentials to everybody" },
	{ "metadataAllow", "BERTH_METADATA_ALLOW", &kind_namespaces, FIELD(metadata_allow), "", 0, 0,
	  "namespaces whose pods reach it all the same" },
	{ "forwardAccept", "BERTH_FORWARD_ACCEPT", &kind_bool, FIELD(forward_accept), "true", 0, 0,
	  "where FORWARD of iptables (of Docker, say) drops what it does not know, pods' packets are let pass there" },
};

/* kind_number, kind_warm and kind_mask write 32 bits. */
static_assert(sizeof(unsigned) == sizeof(uint32_t), "unsigned fields are parsed as uint32_t");

static_assert(ARRAY_SIZE(config_settings) <= CONFIG_SETTINGS_MAX, "struct loading has room for each");

const size_t config_setting_count = ARRAY_SIZE(config_settings);

static void print_bound(struct strbuf *out, const struct setting *setting, int64_t value)
{
	if (setting->kind == &kind_duration)
		strbuf_printf(out, "%gs", (double)value / (double)USEC_PER_SEC);
	else
		strbuf_printf(out, "%" PRId64, value);
}

void config_print_wanted(struct strbuf *out, const struct setting *setting)
{
	strbuf_add(out, setting->kind->wanted);
	if (setting->max == 0)
		return;
	strbuf_add(out, ", ");
	print_bound(out, setting, setting->min);
	strbuf_add(out, " to ");
	print_bound(out, setting, setting->max);
}

static void help_row(FILE *out, bool markdown, const struct setting *setting)
{
	_cleanup_strbuf_ struct strbuf wanted = { 0 };
	const char *def = *setting->def ? setting->def : "\"\"";

	if (setting->kind != &kind_text) {
		strbuf_add(&wanted, "; ");
		config_print_wanted(&wanted, setting);
	}
	if (markdown)
		(void)fprintf(out, "| `%s` | `%s` | `%s` | %s%s |\n", setting->key, setting->env, def, setting->doc,
			      wanted.text ? wanted.text : "");
	else
		(void)fprintf(out, "  %s, %s (default %s)\n      %s%s\n", setting->key, setting->env, def, setting->doc,
			      wanted.text ? wanted.text : "");
}

void config_help(FILE *out, bool markdown)
{
	if (markdown)
		(void)fprintf(out, "| key | variable | default | meaning |\n|---|---|---|---|\n");
	for (size_t i = 0; i < config_setting_count; i++)
		help_row(out, markdown, &config_settings[i]);
}
