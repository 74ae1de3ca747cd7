/* SPDX-License-Identifier: Apache-2.0 */
#include "provider.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "../http.h"
#include "../providers.h"
#include "berth/err.h"
#include "berth/str.h"
#include "limits.h"

#define DOMAIN  "aws"
#define V4_BITS 32

#define ITEM_PATH_SIZE 128U /* "network/interfaces/macs/" MAC "/" and the longest key */

/* ---- identity ------------------------------------------------------------------------------------------------------
 */

static int item_str(struct aws *aws, const char *path, int64_t deadline_us, char *ret, size_t size, struct err *err)
{
	_cleanup_wiped_ char *text = NULL;

	if (aws_meta_get(&aws->meta, path, deadline_us, &text, err) < 0)
		return err_wrap(err, "%s", path);
	if (!*text || strpbrk(text, "\r\n") || str_copy(ret, size, text) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "metadata %s: not one short line", path);
	return 0;
}

static int item_of_mac(struct aws *aws, const char *mac, const char *key, int64_t deadline_us, char *ret, size_t size,
		       struct err *err)
{
	char path[ITEM_PATH_SIZE];

	(void)snprintf(path, sizeof(path), "network/interfaces/macs/%s/%s", mac, key);
	return item_str(aws, path, deadline_us, ret, size, err);
}

/* One range a line; ones beyond the limit would silently be masqueraded, so they are an error. */
static int vpc_prefixes(struct aws *aws, const char *mac, int64_t deadline_us, struct cloud_identity *identity,
			struct err *err)
{
	_cleanup_wiped_ char *text = NULL;
	char path[ITEM_PATH_SIZE];
	char *rest = NULL;

	(void)snprintf(path, sizeof(path), "network/interfaces/macs/%s/vpc-ipv4-cidr-blocks", mac);
	if (aws_meta_get(&aws->meta, path, deadline_us, &text, err) < 0)
		return err_wrap(err, "%s", path);
	for (char *line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
		if (identity->vpc_prefix_count >= CLOUD_VPC_PREFIXES ||
		    prefix_parse(line, &identity->vpc_prefixes[identity->vpc_prefix_count]) < 0)
			return err_set(err, ERR_PROTOCOL, DOMAIN, "metadata %s: too many or bad ranges", path);
		identity->vpc_prefix_count++;
	}
	return identity->vpc_prefix_count > 0 ? 0 : err_set(err, ERR_PROTOCOL, DOMAIN, "metadata %s: empty", path);
}

static void subnet_remember(struct aws *aws, const char *id, const struct prefix *prefix)
{
	pthread_mutex_lock(&aws->lock);
	if (aws->subnet_count < SUBNETS_MAX) {
		struct aws_subnet *subnet = &aws->subnets[aws->subnet_count];

		if (str_copy(subnet->id, sizeof(subnet->id), id) == 0) {
			subnet->prefix = *prefix;
			aws->subnet_count++;
		}
	}
	pthread_mutex_unlock(&aws->lock);
}

static int primary_nic(struct aws *aws, int64_t deadline_us, struct cloud_identity *identity, struct err *err)
{
	char mac[MACADDR_STRLEN], addr[IPADDR_STRLEN], cidr[PREFIX_STRLEN], subnet[EC2_ID_SIZE];
	struct prefix prefix;

	if (item_str(aws, "mac", deadline_us, mac, sizeof(mac), err) < 0 ||
	    item_str(aws, "local-ipv4", deadline_us, addr, sizeof(addr), err) < 0)
		return -1;
	if (macaddr_parse(mac, &identity->primary_mac) < 0 || ipaddr_parse(addr, &identity->primary_addr) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "metadata: bad MAC or address of the primary interface");
	if (item_of_mac(aws, mac, "interface-id", deadline_us, identity->nic, sizeof(identity->nic), err) < 0 ||
	    item_of_mac(aws, mac, "subnet-id", deadline_us, subnet, sizeof(subnet), err) < 0 ||
	    item_of_mac(aws, mac, "subnet-ipv4-cidr-block", deadline_us, cidr, sizeof(cidr), err) < 0)
		return -1;
	if (prefix_parse(cidr, &prefix) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "metadata: bad subnet range");
	subnet_remember(aws, subnet, &prefix);
	return vpc_prefixes(aws, mac, deadline_us, identity, err);
}

static int identity_fetch(struct aws *aws, int64_t deadline_us, struct cloud_identity *ret, struct err *err)
{
	if (item_str(aws, "instance-id", deadline_us, ret->instance, EC2_ID_SIZE, err) < 0 ||
	    item_str(aws, "instance-type", deadline_us, ret->type, sizeof(ret->type), err) < 0 ||
	    item_str(aws, "placement/availability-zone", deadline_us, ret->zone, sizeof(ret->zone), err) < 0 ||
	    aws_region(&aws->endpoints, deadline_us, ret->region, err) < 0)
		return -1;
	return primary_nic(aws, deadline_us, ret, err);
}

int aws_identity(struct aws *aws, int64_t deadline_us, struct cloud_identity *ret, struct err *err)
{
	struct cloud_identity fetched = { 0 };
	bool known;

	pthread_mutex_lock(&aws->lock);
	known = aws->identity_known;
	if (known)
		*ret = aws->identity;
	pthread_mutex_unlock(&aws->lock);
	if (known)
		return 0;
	if (identity_fetch(aws, deadline_us, &fetched, err) < 0)
		return err_wrap(err, "identity of this instance");
	pthread_mutex_lock(&aws->lock);
	aws->identity = fetched;
	aws->identity_known = true;
	pthread_mutex_unlock(&aws->lock);
	*ret = fetched;
	return 0;
}

static int aws_identify(struct cloud *cloud, int64_t deadline_us, struct cloud_identity *ret, struct err *err)
{
	return aws_identity(aws_of(cloud), deadline_us, ret, err);
}

static int aws_limits(struct cloud *cloud, int64_t deadline_us, struct cloud_limits *ret, struct err *err)
{
	struct aws *aws = aws_of(cloud);
	struct cloud_identity self;
	struct ec2_type type;
	uint64_t nics, units;

	if (aws_identity(aws, deadline_us, &self, err) < 0)
		return -1;
	/* A type that is newer than we are is asked for. */
	if (!aws_limits_find(self.type, &type) && ec2_type_describe(&aws->ec2, self.type, deadline_us, &type, err) < 0)
		return -1;
	/* The total is over all network cards; berth uses card 0. */
	nics = type.nics_card0 > 0 ? type.nics_card0 : type.nics_total;
	units = type.ipv4_per_nic - 1;
	*ret = (struct cloud_limits){
		.nics_max = (unsigned)(nics < CLOUD_NICS_MAX ? nics : CLOUD_NICS_MAX),
		.can_attach_nic = nics > 1,
		.units[0] = { (unsigned)(units < CLOUD_BLOCKS_MAX ? units : CLOUD_BLOCKS_MAX), V4_BITS, V4_BITS },
	};
	return 0;
}

/* ---- what exists ---------------------------------------------------------------------------------------------------
 */

bool aws_is_ours(const struct ec2_nic *nic, const char *instance)
{
	return nic->nic.slot > 0 && str_equal(nic->owner, instance) && !nic->requester_managed &&
	       !nic->operator_managed && !nic->no_manage;
}

/* The primary is used, not owned: its tags do not matter, an operator's "hands off" does. */
static bool is_foreign(const struct ec2_nic *nic, const char *instance)
{
	if (nic->type[0] && !str_equal(nic->type, "interface") && !str_equal(nic->type, "efa"))
		return true;
	if (nic->requester_managed || nic->operator_managed || nic->no_manage)
		return true;
	return !nic->nic.primary && !aws_is_ours(nic, instance);
}

static int subnet_find(struct aws *aws, const char *id, int64_t deadline_us, struct prefix *ret, struct err *err)
{
	bool found = false;

	pthread_mutex_lock(&aws->lock);
	for (unsigned i = 0; i < aws->subnet_count && !found; i++) {
		found = str_equal(aws->subnets[i].id, id);
		if (found)
			*ret = aws->subnets[i].prefix;
	}
	pthread_mutex_unlock(&aws->lock);
	if (found)
		return 0;
	if (ec2_subnet_describe(&aws->ec2, id, deadline_us, ret, err) < 0)
		return -1;
	subnet_remember(aws, id, ret);
	return 0;
}

int aws_nic_finish(struct aws *aws, struct ec2_nic *nic, int64_t deadline_us, struct err *err)
{
	struct cloud_identity self;

	if (aws_identity(aws, deadline_us, &self, err) < 0)
		return -1;
	nic->nic.primary = nic->nic.slot == 0;
	nic->nic.attached = str_equal(nic->attachment_status, "attached");
	nic->nic.foreign = is_foreign(nic, self.instance);
	/* Its range is nobody's business, and it may be in a subnet that we may not describe. */
	if (nic->nic.foreign)
		return 0;
	if (subnet_find(aws, nic->subnet, deadline_us, &nic->nic.subnet, err) < 0)
		return err_wrap(err, "subnet of %s", nic->nic.id);
	nic->nic.gateway = ipaddr_add(&nic->nic.subnet.addr, 1);
	return 0;
}

/* Removes what is not attached to this instance on card 0: a stale answer, an interface of another network card. */
static void keep_own(struct ec2_nics *nics, const char *instance)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < nics->count; i++) {
		if (!str_equal(nics->nics[i].instance, instance) || nics->nics[i].card != 0)
			ec2_nic_done(&nics->nics[i]);
		else
			nics->nics[kept++] = nics->nics[i];
	}
	nics->count = kept;
}

int aws_describe_own(struct aws *aws, const char *instance, int64_t deadline_us, struct ec2_nics *ret, struct err *err)
{
	const struct ec2_filter filter = { "attachment.instance-id", instance };
	struct ec2_nics nics = { 0 };
	bool has_primary = false;

	if (ec2_nics_describe(&aws->ec2, &filter, 1, deadline_us, &nics, err) < 0)
		return -1;
	keep_own(&nics, instance);
	for (unsigned i = 0; i < nics.count; i++)
		has_primary = has_primary || nics.nics[i].nic.slot == 0;
	/* An instance always has one: believing this answer would declare every pod's address lost. */
	if (!has_primary) {
		ec2_nics_done(&nics);
		return err_set(err, ERR_RETRY, DOMAIN, "the list of interfaces lacks the primary one of %s", instance);
	}
	*ret = nics;
	return 0;
}

static int view_add(struct aws *aws, struct ec2_nic *nic, int64_t deadline_us, struct cloud_view *view, struct err *err)
{
	struct cloud_nic *added;

	if (aws_nic_finish(aws, nic, deadline_us, err) < 0)
		return -1;
	added = cloud_view_add_nic(view);
	if (!added)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory, or more than %d interfaces", CLOUD_NICS_MAX);
	*added = nic->nic;
	memset(&nic->nic, 0, sizeof(nic->nic));
	return 0;
}

static int aws_list(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err)
{
	struct aws *aws = aws_of(cloud);
	struct cloud_view view = { 0 };
	struct cloud_identity self;
	struct ec2_nics nics = { 0 };
	int r = 0;

	if (aws_identity(aws, deadline_us, &self, err) < 0 ||
	    aws_describe_own(aws, self.instance, deadline_us, &nics, err) < 0)
		return -1;
	for (unsigned i = 0; r == 0 && i < nics.count; i++)
		r = view_add(aws, &nics.nics[i], deadline_us, &view, err);
	ec2_nics_done(&nics);
	if (r < 0) {
		cloud_view_done(&view);
		return -1;
	}
	*ret = view;
	return 0;
}

/* ---- addresses -----------------------------------------------------------------------------------------------------
 */

/* A subnet that cannot give all may still give some: half, then one. */
static unsigned fewer(unsigned count)
{
	return count <= 3 ? 1 : count / 2;
}

static int aws_assign(struct cloud *cloud, const char *nic, const struct cloud_want *wants, int64_t deadline_us,
		      struct cloud_nic *ret, struct err *err)
{
	struct aws *aws = aws_of(cloud);
	unsigned count = wants[0].count;
	const unsigned tries[] = { count, fewer(count), 1 };
	struct cloud_nic got = { 0 };
	struct err why;
	int r = -1;

	if (count == 0 || wants[0].len != V4_BITS || wants[1].count)
		return err_set(err, ERR_BUG, DOMAIN, "assign of nothing to %s", nic);
	for (unsigned i = 0; r < 0 && i < ARRAY_SIZE(tries); i++) {
		if (i > 0 && tries[i] >= tries[i - 1])
			break;
		count = tries[i];
		r = ec2_assign(&aws->ec2, nic, count, deadline_us, &got, &why);
		if (r < 0 && why.class != ERR_EXHAUSTED)
			break;
	}
	if (r < 0) {
		if (err)
			*err = why;
		return err_wrap(err, "assign %u to %s", count, nic);
	}
	if (got.block_count == 0 || got.block_count > count || (got.id[0] && !str_equal(got.id, nic))) {
		r = err_set(err, ERR_AMBIGUOUS, DOMAIN, "assign %u to %s: the answer lists %u of %s", count, nic,
			    got.block_count, got.id);
		cloud_nic_done(&got);
		return r;
	}
	(void)str_copy(got.id, sizeof(got.id), nic);
	*ret = got;
	return 0;
}

bool aws_nics_have(const struct ec2_nics *nics, const struct prefix *block)
{
	for (unsigned i = 0; i < nics->count; i++) {
		for (unsigned j = 0; j < nics->nics[i].nic.block_count; j++) {
			if (prefix_cmp(&nics->nics[i].nic.blocks[j].prefix, block) == 0)
				return true;
		}
	}
	return false;
}

/* EC2 refuses the whole call when one address is not there: find out which are, and name only those. */
static int release_present(struct aws *aws, const char *nic, const struct prefix *blocks, unsigned count,
			   int64_t deadline_us, const struct err *why, struct err *err)
{
	const struct ec2_filter filter = { "network-interface-id", nic };
	struct prefix present[CLOUD_BLOCKS_MAX];
	unsigned present_count = 0;
	struct ec2_nics nics;

	if (ec2_nics_describe(&aws->ec2, &filter, 1, deadline_us, &nics, err) < 0)
		return -1;
	for (unsigned i = 0; i < count; i++) {
		if (aws_nics_have(&nics, &blocks[i]))
			present[present_count++] = blocks[i];
	}
	ec2_nics_done(&nics);
	if (present_count == 0)
		return 0;
	if (present_count == count) {
		if (err)
			*err = *why;
		return -1;
	}
	return ec2_unassign(&aws->ec2, nic, present, present_count, deadline_us, err);
}

static int aws_release(struct cloud *cloud, const char *nic, const struct prefix *blocks, unsigned count,
		       int64_t deadline_us, struct err *err)
{
	struct aws *aws = aws_of(cloud);
	struct err why;
	int r;

	if (count == 0 || count > CLOUD_BLOCKS_MAX)
		return err_set(err, ERR_BUG, DOMAIN, "release of %u blocks of %s", count, nic);
	r = ec2_unassign(&aws->ec2, nic, blocks, count, deadline_us, &why);
	if (r == 0 || why.class == ERR_NOTFOUND)
		return 0;
	if (why.class == ERR_INVALID)
		r = release_present(aws, nic, blocks, count, deadline_us, &why, &why);
	if (r == 0)
		return 0;
	if (err)
		*err = why;
	return err_wrap(err, "release %u of %s", count, nic);
}

/* ---- life of the provider ---- */

static void aws_stats(struct cloud *cloud, struct cloud_stats *ret)
{
	const struct aws_counters *counters = &aws_of(cloud)->base.counters;
	struct cloud_stats stats = {
		.reads = counters->reads,
		.mutations = counters->mutations,
		.metadata = counters->metadata,
		.throttle_wait_us = counters->throttle_wait_us,
	};

	static_assert(ERR_CLASS_COUNT <= ARRAY_SIZE(stats.errors), "every class has a counter");
	for (unsigned i = 0; i < ERR_CLASS_COUNT; i++)
		stats.errors[i] = counters->errors[i];
	*ret = stats;
}

static void aws_stop(struct cloud *cloud)
{
	stop_set(&aws_of(cloud)->stop);
}

static void aws_free(struct cloud *cloud)
{
	struct aws *aws = aws_of(cloud);

	ec2_done(&aws->ec2);
	aws_auth_done(&aws->auth);
	aws_endpoints_done(&aws->endpoints);
	aws_meta_done(&aws->meta);
	http_free(aws->base.http);
	stop_done(&aws->stop);
	(void)pthread_mutex_destroy(&aws->lock);
	free(aws->cluster);
	free(aws);
}

static const struct cloud_ops aws_ops = {
	.name = "aws",
	.identify = aws_identify,
	.limits = aws_limits,
	.list = aws_list,
	.assign = aws_assign,
	.recover = aws_recover,
	.glance = aws_glance,
	.release = aws_release,
	.attach = aws_attach,
	.detach = aws_detach,
	.sweep = aws_sweep,
	.stats = aws_stats,
	.stop = aws_stop,
	.free = aws_free,
};

static int calls_init(struct aws *aws, const struct cloud_config *config, struct err *err)
{
	if (aws_auth_init(&aws->auth, &aws->base, &aws->meta, &aws->endpoints, config, err) < 0)
		return -1;
	if (ec2_init(&aws->ec2, &aws->base, &aws->endpoints, &aws->auth, err) < 0) {
		aws_auth_done(&aws->auth);
		return -1;
	}
	return 0;
}

/* What needs no undoing first, then what does, each part undone when a later one fails. */
static int parts_init(struct aws *aws, const struct cloud_config *config, struct err *err)
{
	const char *metadata;

	if (aws_metadata_url(config, &metadata, err) < 0 || aws_meta_init(&aws->meta, &aws->base, metadata, err) < 0)
		return -1;
	if (aws_endpoints_init(&aws->endpoints, &aws->meta, config, err) < 0) {
		aws_meta_done(&aws->meta);
		return -1;
	}
	if (calls_init(aws, config, err) < 0) {
		aws_endpoints_done(&aws->endpoints);
		aws_meta_done(&aws->meta);
		return -1;
	}
	return 0;
}

static int base_init(struct aws *aws, const struct cloud_config *config, struct err *err)
{
	if (stop_init(&aws->stop) < 0)
		return err_set(err, ERR_RETRY, DOMAIN, "no mutex");
	if (pthread_mutex_init(&aws->lock, NULL) != 0) {
		stop_done(&aws->stop);
		return err_set(err, ERR_RETRY, DOMAIN, "no mutex");
	}
	aws->cloud.ops = &aws_ops;
	aws->base.boot = config->boot;
	aws->base.wall = config->wall;
	aws->base.random = &random_kernel;
	aws->base.stop = &aws->stop;
	aws->base.http = http_new(config->getenv("AWS_CA_BUNDLE"), config->boot, config->wall, &aws->stop);
	aws->cluster = strdup(config->cluster);
	if (aws->base.http && aws->cluster)
		return 0;
	http_free(aws->base.http);
	free(aws->cluster);
	(void)pthread_mutex_destroy(&aws->lock);
	stop_done(&aws->stop);
	return err_set(err, ERR_RETRY, DOMAIN, "no memory");
}

int aws_open(const struct cloud_config *config, struct cloud **ret, struct err *err)
{
	struct aws *aws = calloc(1, sizeof(*aws));

	if (!aws)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	if (base_init(aws, config, err) < 0) {
		free(aws);
		return -1;
	}
	if (parts_init(aws, config, err) < 0) {
		http_free(aws->base.http);
		stop_done(&aws->stop);
		(void)pthread_mutex_destroy(&aws->lock);
		free(aws->cluster);
		free(aws);
		return -1;
	}
	*ret = &aws->cloud;
	return 0;
}
