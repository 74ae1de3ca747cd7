/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cloud of this process, for what no fault of the mock can show: a provider with one NIC whose units, blocks and words a
 * test sets, and which keeps what it was told and asked. It stands in for cloud/cloud.c, whose own cloud_open() is there under
 * another name.
 */
#ifndef TESTS_NET_STUB_CLOUD_H
#define TESTS_NET_STUB_CLOUD_H

#include "berth/cloud.h"

int registry_open(const char *name, const struct cloud_config *config, struct cloud **ret, struct err *err);
#define cloud_open registry_open
#include "cloud/cloud.c"
#undef cloud_open

#include "tests/net/ipamd_world.h"

#define STUB_BLOCKS     64U
#define STUB_SECOND_MAC "0a:58:0a:00:02:0a"

/** struct stub - one provider at a time; what other threads write is behind @lock. */
static struct stub {
	struct cloud head;
	pthread_mutex_t lock;
	struct cloud_limits limits;
	bool limits_fail;
	bool closed;
	bool has_second; /* NIC nic-1 in slot 1, without blocks */
	unsigned block_count;
	struct prefix blocks[STUB_BLOCKS];
	unsigned next[IP_FAMILIES]; /* last byte of the next address that is assigned */
	unsigned vpc_count;         /* ranges that a list tells; 0: it tells of none */
	struct prefix vpc[2];
	unsigned lists, glances, mutations;
	struct cloud_attach attach; /* the last one */
	/* what cloud_open() was told; its lists joined with commas */
	struct cloud_config told;
	char cluster[64], subnets[256], groups[256], tags[256];
} stub = { .lock = PTHREAD_MUTEX_INITIALIZER };

static inline struct prefix stub_prefix(const char *text)
{
	struct prefix prefix = { 0 };

	(void)prefix_parse(text, &prefix);
	return prefix;
}

static int stub_identify(struct cloud *cloud, int64_t deadline_us, struct cloud_identity *ret, struct err *err)
{
	(void)cloud;
	(void)deadline_us;
	(void)err;
	*ret = (struct cloud_identity){
		.instance = "i-1", .type = "t.test", .region = "r", .zone = "z", .nic = "nic-0"
	};
	(void)macaddr_parse(NODE_MAC, &ret->primary_mac);
	(void)ipaddr_parse(NODE_PRIMARY, &ret->primary_addr);
	ret->vpc_prefixes[ret->vpc_prefix_count++] = stub_prefix("10.0.0.0/16");
	ret->vpc_prefixes[ret->vpc_prefix_count++] = stub_prefix("2600:1f14::/56");
	return 0;
}

static int stub_limits(struct cloud *cloud, int64_t deadline_us, struct cloud_limits *ret, struct err *err)
{
	(void)cloud;
	(void)deadline_us;
	if (stub.limits_fail)
		return err_set(err, ERR_RETRY, "stub", "not now");
	*ret = stub.limits;
	return 0;
}

static void stub_show(struct cloud_view *view)
{
	struct cloud_nic *nic = cloud_view_add_nic(view);

	nic->primary = nic->attached = true;
	nic->closed = stub.closed;
	(void)str_copy(nic->id, sizeof(nic->id), "nic-0");
	(void)macaddr_parse(NODE_MAC, &nic->mac);
	(void)ipaddr_parse(NODE_PRIMARY, &nic->primary_addr);
	nic->subnet = stub_prefix("10.0.1.0/24");
	(void)ipaddr_parse("10.0.1.1", &nic->gateway);
	(void)ipaddr_parse("2600:1f14::10", &nic->primary_addr6);
	nic->subnet6 = stub_prefix("2600:1f14::/64");
	(void)ipaddr_parse("fe80::1", &nic->gateway6);
	for (unsigned i = 0; i < stub.block_count; i++)
		(void)cloud_nic_add_block(nic, &stub.blocks[i]);
	if (!stub.has_second)
		return;
	nic = cloud_view_add_nic(view);
	nic->attached = true;
	nic->slot = 1;
	(void)str_copy(nic->id, sizeof(nic->id), "nic-1");
	(void)macaddr_parse(STUB_SECOND_MAC, &nic->mac);
	(void)ipaddr_parse("10.0.2.10", &nic->primary_addr);
	nic->subnet = stub_prefix("10.0.2.0/24");
	(void)ipaddr_parse("10.0.2.1", &nic->gateway);
	(void)ipaddr_parse("2600:1f14:0:2::10", &nic->primary_addr6);
	nic->subnet6 = stub_prefix("2600:1f14:0:2::/64");
	(void)ipaddr_parse("fe80::1", &nic->gateway6);
}

static int stub_list(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err)
{
	(void)cloud;
	(void)deadline_us;
	(void)err;
	*ret = (struct cloud_view){ 0 };
	(void)pthread_mutex_lock(&stub.lock);
	stub.lists++;
	stub_show(ret);
	ret->vpc_prefix_count = stub.vpc_count;
	memcpy(ret->vpc_prefixes, stub.vpc, sizeof(stub.vpc));
	(void)pthread_mutex_unlock(&stub.lock);
	return 0;
}

static int stub_glance(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err)
{
	(void)cloud;
	(void)deadline_us;
	(void)err;
	*ret = (struct cloud_view){ 0 };
	(void)pthread_mutex_lock(&stub.lock);
	stub.glances++;
	stub_show(ret);
	(void)pthread_mutex_unlock(&stub.lock);
	return 0;
}

/* Addresses .20 and up, or ::20 and up. */
static struct prefix stub_next(unsigned family, uint8_t len)
{
	struct prefix prefix = stub_prefix(family ? "2600:1f14::/128" : "10.0.1.0/32");

	if (family && len == 80) {
		prefix.addr.bytes[9] = (uint8_t)(20 + stub.next[family]++);
		prefix.len = len;
		return prefix;
	}
	prefix.addr = ipaddr_add(&prefix.addr, 20 + stub.next[family]++);
	return prefix;
}

static int stub_assign(struct cloud *cloud, const char *nic, const struct cloud_want *wants, int64_t deadline_us,
		       struct cloud_nic *ret, struct err *err)
{
	(void)cloud;
	(void)nic;
	(void)deadline_us;
	(void)err;
	*ret = (struct cloud_nic){ 0 };
	(void)str_copy(ret->id, sizeof(ret->id), "nic-0");
	(void)pthread_mutex_lock(&stub.lock);
	stub.mutations++;
	for (unsigned f = 0; f < IP_FAMILIES; f++)
		for (unsigned i = 0; i < wants[f].count && stub.block_count < STUB_BLOCKS; i++) {
			stub.blocks[stub.block_count] = stub_next(f, wants[f].len);
			(void)cloud_nic_add_block(ret, &stub.blocks[stub.block_count++]);
		}
	(void)pthread_mutex_unlock(&stub.lock);
	return 0;
}

static int stub_release(struct cloud *cloud, const char *nic, const struct prefix *blocks, unsigned count,
			int64_t deadline_us, struct err *err)
{
	(void)cloud;
	(void)nic;
	(void)deadline_us;
	(void)err;
	(void)pthread_mutex_lock(&stub.lock);
	stub.mutations++;
	for (unsigned i = 0; i < count; i++)
		for (unsigned b = 0; b < stub.block_count; b++)
			if (prefix_cmp(&stub.blocks[b], &blocks[i]) == 0)
				stub.blocks[b] = stub.blocks[--stub.block_count];
	(void)pthread_mutex_unlock(&stub.lock);
	return 0;
}

/* Kept, and refused: there is no link for it. */
static int stub_attach(struct cloud *cloud, const struct cloud_attach *want, int64_t deadline_us, struct cloud_nic *ret,
		       struct err *err)
{
	(void)cloud;
	(void)deadline_us;
	(void)ret;
	(void)pthread_mutex_lock(&stub.lock);
	stub.mutations++;
	stub.attach = *want;
	(void)pthread_mutex_unlock(&stub.lock);
	return err_set(err, ERR_EXHAUSTED, "stub", "no NICs here");
}

static int stub_detach(struct cloud *cloud, const char *nic, int64_t deadline_us, struct err *err)
{
	(void)cloud;
	(void)nic;
	(void)deadline_us;
	(void)err;
	return 0;
}

static int stub_sweep(struct cloud *cloud, int64_t deadline_us, unsigned *ret, struct err *err)
{
	(void)cloud;
	(void)deadline_us;
	(void)err;
	*ret = 0;
	(void)pthread_mutex_lock(&stub.lock);
	stub.mutations++;
	(void)pthread_mutex_unlock(&stub.lock);
	return 0;
}

static void stub_stats(struct cloud *cloud, struct cloud_stats *ret)
{
	(void)cloud;
	*ret = (struct cloud_stats){ 0 };
}

static void stub_nothing(struct cloud *cloud)
{
	(void)cloud;
}

static const struct cloud_guarded stub_guarded[] = { { "169.254.169.254", 0 }, { NULL, 0 } };

static const struct cloud_ops stub_ops = {
	.name = "stub",
	.identify = stub_identify,
	.limits = stub_limits,
	.list = stub_list,
	.assign = stub_assign,
	.glance = stub_glance,
	.release = stub_release,
	.attach = stub_attach,
	.detach = stub_detach,
	.sweep = stub_sweep,
	.stats = stub_stats,
	.stop = stub_nothing,
	.free = stub_nothing,
	.guarded = stub_guarded,
};

static void stub_join(char *to, size_t size, const char *word, bool first)
{
	size_t len = first ? 0 : strlen(to);

	(void)snprintf(to + len, size - len, "%s%s", first ? "" : ",", word);
}

int cloud_open(const char *name, const struct cloud_config *config, struct cloud **ret, struct err *err)
{
	char tag[128];

	if (!str_equal(name, "stub"))
		return registry_open(name, config, ret, err);
	stub.told = *config;
	(void)str_copy(stub.cluster, sizeof(stub.cluster), config->cluster);
	stub.subnets[0] = stub.groups[0] = stub.tags[0] = '\0';
	for (unsigned i = 0; i < config->subnet_count; i++)
		stub_join(stub.subnets, sizeof(stub.subnets), config->subnets[i], i == 0);
	for (unsigned i = 0; i < config->group_count; i++)
		stub_join(stub.groups, sizeof(stub.groups), config->groups[i], i == 0);
	for (unsigned i = 0; i < config->tag_count; i++) {
		(void)snprintf(tag, sizeof(tag), "%s=%s", config->tags[i].key, config->tags[i].value);
		stub_join(stub.tags, sizeof(stub.tags), tag, i == 0);
	}
	stub.head.ops = &stub_ops;
	*ret = &stub.head;
	return 0;
}

/* A node in that cloud, with these blocks. */
static void make_stub(struct world *w, unsigned v4_units, unsigned v6_units, uint8_t v6_len, const char *const *blocks)
{
	(void)str_copy(w->config.cloud, sizeof(w->config.cloud), "stub");
	stub.limits =
		(struct cloud_limits){ .nics_max = 1, .units = { { v4_units, 32, 32 }, { v6_units, v6_len, 128 } } };
	stub.closed = stub.has_second = stub.limits_fail = false;
	stub.block_count = stub.vpc_count = stub.lists = stub.glances = stub.mutations = 0;
	stub.next[0] = stub.next[1] = 0;
	for (; blocks && *blocks; blocks++)
		stub.blocks[stub.block_count++] = stub_prefix(*blocks);
}

_unused_ static unsigned stub_count(const unsigned *counter)
{
	unsigned count;

	(void)pthread_mutex_lock(&stub.lock);
	count = *counter;
	(void)pthread_mutex_unlock(&stub.lock);
	return count;
}

_unused_ static void stub_close(bool closed)
{
	(void)pthread_mutex_lock(&stub.lock);
	stub.closed = closed;
	(void)pthread_mutex_unlock(&stub.lock);
}

#define BLOCKS(...) ((const char *const[]){ __VA_ARGS__, NULL })

#endif
