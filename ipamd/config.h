/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of the daemon: one table row each {key, environment name, parser, offset, default, doc} in config_table.c. The
 * JSON file comes first, then the variables of another pod network that the cloud's folder knows, the environment wins. Parsed into a fresh struct, validated, then used whole. `--help` and
 * docs/config.md are printed from the table.
 */
#ifndef IPAMD_CONFIG_H
#define IPAMD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "berth/cloud.h"
#include "berth/ipaddr.h"
#include "berth/log.h"
#include "berth/proto.h"

struct err;

#define CONFIG_TEXT_SIZE    256
#define CONFIG_PREFIXES_MAX 64

#define CONFIG_WARM_AUTO UINT32_MAX /* warm_ips: as demand.h finds */

struct config_prefixes {
	unsigned count;
	struct prefix list[CONFIG_PREFIXES_MAX];
};

#define CONFIG_IDS_MAX 16 /* EC2 allows 16 security groups on a NIC; subnets: one or two for each zone */

/** struct config_ids - IDs of the cloud's objects or names of namespaces, none twice. */
struct config_ids {
	unsigned count;
	char list[CONFIG_IDS_MAX][CLOUD_ID_SIZE];
};

struct config_tag {
	char key[CLOUD_TAG_KEY_MAX + 1];
	char value[CLOUD_TAG_VALUE_MAX + 1];
};

/** struct config_tags - no key twice. */
struct config_tags {
	unsigned count;
	struct config_tag list[CLOUD_TAGS_MAX];
};

/** struct config_families - those that pods get, by ip_index(); at least one. */
struct config_families {
	bool serves[IP_FAMILIES];
};

#define CONFIG_VERSIONS_MAX 5 /* that the plugin speaks */

/** struct config_versions - of CNI, lowest first, none twice; at least one. */
struct config_versions {
	unsigned count;
	char list[CONFIG_VERSIONS_MAX][sizeof("1.0.0")];
};

/** enum config_names - what host ends of pods are called by. */
enum config_names {
	CONFIG_NAMES_AUTO, /* by pod if there is a prefix */
	CONFIG_NAMES_CONTAINER,
	CONFIG_NAMES_POD,
	CONFIG_NAMES_COUNT
};

struct config {
	char cloud[CONFIG_TEXT_SIZE];         /* cloud            BERTH_CLOUD            "aws" */
	char cluster[CONFIG_TEXT_SIZE];       /* cluster          BERTH_CLUSTER          "" */
	char run_dir[CONFIG_TEXT_SIZE];       /* runDir           BERTH_RUN_DIR          "/run/berth" */
	char conflist_dir[CONFIG_TEXT_SIZE];  /* conflistDir      BERTH_CONFLIST_DIR     "/etc/cni/net.d" */
	char conflist_name[CONFIG_TEXT_SIZE]; /* conflistName     BERTH_CONFLIST_NAME    "10-berth.conflist" */
	char network[CONFIG_TEXT_SIZE];       /* network          BERTH_NETWORK          "berth": CNI network name */
	struct config_versions cni_versions;  /* cniVersions      BERTH_CNI_VERSIONS     "1.0.0" */
	enum config_names veth_name;          /* vethName         BERTH_VETH_NAME        auto */
	char veth_prefix[CONFIG_TEXT_SIZE];   /* vethPrefix       BERTH_VETH_PREFIX      "": see config_veth_prefix() */
	char metrics_address[CONFIG_TEXT_SIZE]; /* metricsAddress   BERTH_METRICS_ADDRESS  "127.0.0.1:9479"; "" = off */
	enum log_level log_level;               /* logLevel         BERTH_LOG_LEVEL        info */
	unsigned warm_ips;    /* warmIPs          BERTH_WARM_IPS         auto: free addresses to keep ready */
	unsigned warm_blocks; /* warmPrefixes     BERTH_WARM_PREFIXES    0: whole free units */
	unsigned warm_nics;   /* warmNICs         BERTH_WARM_NICS        0: free addresses of so many full NICs */
	unsigned min_ips;     /* minIPs           BERTH_MIN_IPS          0: addresses to hold in all */
	unsigned max_nics;    /* maxNICs          BERTH_MAX_NICS         0 = what the instance allows */
	unsigned max_pods;    /* maxPods          BERTH_MAX_PODS         110 */
	struct config_families families; /* families BERTH_FAMILIES "ipv4" */
	bool prefixes;                   /* prefixes         BERTH_PREFIXES         false: units of many addresses */
	enum cloud_access access;        /* access           BERTH_ACCESS           full */
	bool subnet_discovery;           /* subnetDiscovery  BERTH_SUBNET_DISCOVERY true: by tag */
	struct config_ids pod_subnets;   /* podSubnets BERTH_POD_SUBNETS "": where new NICs go instead */
	struct config_ids pod_groups;    /* podSecurityGroups BERTH_POD_SECURITY_GROUPS "": of new NICs */
	struct config_tags nic_tags;     /* nicTags BERTH_NIC_TAGS "": on new NICs */
	enum pause pause;                /* pause            BERTH_PAUSE            none: what starts paused */
	int64_t cooldown_us;             /* cooldown         BERTH_COOLDOWN         "30s" */
	int64_t release_delay_us; /* releaseDelay     BERTH_RELEASE_DELAY    "10m": idle this long before it goes back */
	int64_t list_period_us;   /* listPeriod       BERTH_LIST_PERIOD      "30m", jittered */
	int64_t add_timeout_us;   /* addTimeout       BERTH_ADD_TIMEOUT      "60s": an ADD waits at most this long */
	int64_t unconfirmed_us;   /* unconfirmedTimeout BERTH_UNCONFIRMED_TIMEOUT "120s": reserved, never bound */
	int64_t reclaim_period_us; /* reclaimPeriod   BERTH_RECLAIM_PERIOD   "30s": between two looks for dead sandboxes */
	bool external_snat;        /* externalSNAT     BERTH_EXTERNAL_SNAT    false: true = no SNAT here */
	struct config_prefixes
		snat_exclude;     /* snatExclude      BERTH_SNAT_EXCLUDE     "": no SNAT towards these either */
	bool egress[IP_FAMILIES]; /* v4Egress BERTH_V4_EGRESS true, v6Egress BERTH_V6_EGRESS false */
	uint32_t mark_mask;       /* markMask         BERTH_MARK_MASK        0x7e: contiguous bits */
	uint32_t rule_priority;   /* rulePriority     BERTH_RULE_PRIORITY    1024: first of our fwmark rules */
	uint32_t table_base;      /* tableBase        BERTH_TABLE_BASE       48640: NIC slot n uses table base + n */
	uint32_t mtu;             /* mtu              BERTH_MTU              0 = the NIC's */
	bool source_check;   /* sourceCheck      BERTH_SOURCE_CHECK     true: pods send under their own addresses */
	bool metadata_guard; /* metadataGuard    BERTH_METADATA_GUARD   true: pods do not reach the metadata service */
	bool forward_accept; /* forwardAccept BERTH_FORWARD_ACCEPT true: rules for pods in chains of iptables that are closed */
	struct config_ids metadata_allow; /* metadataAllow BERTH_METADATA_ALLOW "": namespaces whose pods do */
};

/**
 * config_load() - file, then other pod networks' variables, then environment, then checks
 * @path: JSON object; NULL or "" = no file; a missing file that was named is an error
 * @get_env: NULL = the process environment
 * Errors: INVALID, names key, value, what was expected and where it came from; unknown keys in the file and unknown
 * BERTH_* variables of @environ_names (NULL-terminated, may be NULL) are errors too, and so is a variable of another pod
 * network without whose effect pods would be wrong.
 */
int config_load(const char *path, const char *(*get_env)(const char *name), char *const *environ_names,
		struct config *ret, struct err *err);
/** config_defaults() - every default, no I/O. */
void config_defaults(struct config *ret);
/** config_access_name() - "full", "read", "metadata"; "?" for a value that is none. */
const char *config_access_name(enum cloud_access access);
/** config_veth_prefix() - how names of host ends begin that are made from their pod's; "": they are made from the container. */
const char *config_veth_prefix(const struct config *config);
/** config_warnings() - what of another pod network's variables has no effect and may be missed: @say for each, with its
 *  name and a note. @get_env, @environ_names: as those of config_load(), behind which it is called. */
void config_warnings(const struct config *config, const char *(*get_env)(const char *name), char *const *environ_names,
		     void (*say)(const char *name, const char *note, void *arg), void *arg);
/** config_help() - the table as text for --help; @markdown: as the table of docs/config.md. */
void config_help(FILE *out, bool markdown);
/** config_vars_help() - the other pod networks' variables that @cloud knows, as the table of docs/@cloud.md. */
void config_vars_help(FILE *out, const char *cloud);

#endif
