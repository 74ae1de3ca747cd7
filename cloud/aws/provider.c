/* SPDX-License-Identifier: Apache-2.0 */
#include "provider.h"

#include <assert.h>
#include <string.h>

#include "../http.h"
#include "../providers.h"
#include "berth/err.h"
#include "berth/str.h"

#define DOMAIN "aws"

/* ---- what exists ---------------------------------------------------------------------------------------------------
 */

bool aws_is_hands_off(const struct ec2_nic *nic)
{
	if (nic->type[0] && !str_equal(nic->type, "interface") && !str_equal(nic->type, "efa"))
		return true;
	return nic->requester_managed || nic->operator_managed || nic->operator_hidden || nic->no_manage;
}

bool aws_is_ours(const struct ec2_nic *nic, const char *instance)
{
	return nic->nic.slot > 0 && str_equal(nic->owner, instance) && !aws_is_hands_off(nic);
}

/* The primary is used, not owned: its tags do not matter, an operator's "hands off" does. Where nothing is changed it does
 * not matter who made the others either, but for those that were made for something else than pods. */
bool aws_is_foreign(const struct ec2_nic *nic, const char *instance, enum cloud_access access)
{
	if (aws_is_hands_off(nic))
		return true;
	if (nic->nic.slot == 0 || str_equal(nic->owner, instance))
		return false;
	return access == CLOUD_ACCESS_FULL || str_equal(nic->type, "efa");
}

void aws_subnet_remember(struct aws *aws, const struct ec2_subnet *subnet)
{
	aws_subnets_remember(&aws->subnets, subnet);
}

int aws_subnet_get(struct aws *aws, const char *id, int64_t deadline_us, struct ec2_subnet *ret, struct err *err)
{
	struct ec2_subnet subnet;

	if (aws_subnets_find(&aws->subnets, id, aws->serves[ip_index(IP_V6)], deadline_us, &subnet, err) < 0)
		return -1;
	if (subnet.prefix.addr.family != IP_V4)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "subnet %s has no IPv4 range", id);
	*ret = subnet;
	return 0;
}

static bool has_blocks6(const struct cloud_nic *nic)
{
	for (unsigned i = 0; i < nic->block_count; i++)
		if (nic->blocks[i].prefix.addr.family == IP_V6)
			return true;
	return false;
}

void aws_nic_route(const struct aws *aws, const struct ec2_subnet *subnet, struct cloud_nic *nic)
{
	bool wants6 = aws->serves[ip_index(IP_V6)] || has_blocks6(nic);

	nic->subnet = subnet->prefix;
	nic->gateway = ipaddr_add(&subnet->prefix.addr, 1);
	if (!wants6 && !(nic->primary && aws->tells_own6))
		nic->primary_addr6 = (struct ipaddr){ 0 };
	if (!wants6 || subnet->prefix6.addr.family == IP_NONE)
		return;
	nic->subnet6 = subnet->prefix6;
	/* The router of every subnet answers on it; what amazon-vpc-cni-k8s routes IPv6 of its interfaces through. */
	(void)ipaddr_parse("fe80:ec2::1", &nic->gateway6);
}

/* Single IPv6 addresses that are no blocks, taken out of them: all, or the own one alone. */
static void drop_singles6(struct cloud_nic *nic, bool all)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < nic->block_count; i++) {
		const struct prefix *prefix = &nic->blocks[i].prefix;
		bool single = prefix->addr.family == IP_V6 && prefix->len == AWS_SINGLE6_LEN;

		if (single && all && nic->primary_addr6.family == IP_NONE)
			nic->primary_addr6 = prefix->addr;
		if (!single || !(all || ipaddr_equal(&prefix->addr, &nic->primary_addr6)))
			nic->blocks[kept++] = nic->blocks[i];
	}
	nic->block_count = kept;
}

static bool has_block(const struct cloud_nic *nic, const struct prefix *block)
{
	for (unsigned i = 0; i < nic->block_count; i++)
		if (prefix_cmp(&nic->blocks[i].prefix, block) == 0)
			return true;
	return false;
}

void aws_nic_settle6(struct aws *aws, struct cloud_nic *nic)
{
	struct ipaddr own6;

	pthread_mutex_lock(&aws->lock);
	own6 = aws->own6;
	pthread_mutex_unlock(&aws->lock);
	if (nic->primary && nic->primary_addr6.family == IP_NONE && own6.family == IP_V6) {
		const struct prefix host = prefix_host(&own6);

		if (has_block(nic, &host))
			nic->primary_addr6 = own6;
	}
	drop_singles6(nic, aws_has_prefixes(aws));
}

int aws_nic_finish(struct aws *aws, struct ec2_nic *nic, int64_t deadline_us, struct err *err)
{
	struct cloud_identity self;
	struct ec2_subnet subnet;

	if (aws_identity(aws, deadline_us, &self, err) < 0)
		return -1;
	nic->nic.primary = nic->nic.slot == 0;
	nic->nic.attached = str_equal(nic->attachment_status, "attached");
	nic->nic.foreign = aws_is_foreign(nic, self.instance, aws->access);
	aws_nic_settle6(aws, &nic->nic);
	/* Its range is nobody's business, and it may be in a subnet that we may not describe. */
	if (nic->nic.foreign)
		return 0;
	if (aws_subnet_get(aws, nic->subnet, deadline_us, &subnet, err) < 0)
		return err_wrap(err, "subnet of %s", nic->nic.id);
	/* A pod has its addresses of all families from one interface. */
	nic->nic.closed = aws_subnets_closed(&aws->subnets, nic->subnet, nic->nic.primary) ||
			  (aws->serves[ip_index(IP_V6)] && subnet.prefix6.addr.family != IP_V6);
	aws_nic_route(aws, &subnet, &nic->nic);
	return 0;
}

static bool is_listed(const struct ec2_nic *nics, unsigned count, const char *id)
{
	for (unsigned i = 0; i < count; i++) {
		if (str_equal(nics[i].nic.id, id))
			return true;
	}
	return false;
}

/* Removes what is not attached to this instance on card 0: a stale answer, an interface of another network card; and what
 * a second page shows again: it would count twice against the limits. */
static void keep_own(struct ec2_nics *nics, const char *instance)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < nics->count; i++) {
		if (!str_equal(nics->nics[i].instance, instance) || nics->nics[i].card != 0 ||
		    is_listed(nics->nics, kept, nics->nics[i].nic.id))
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

static const struct ec2_nic *primary_of(const struct ec2_nics *nics)
{
	for (unsigned i = 0; i < nics->count; i++) {
		if (nics->nics[i].nic.slot == 0)
			return &nics->nics[i];
	}
	return NULL;
}

/* IPv4 addresses of the subnet that are ours: a prefix is so many of them. */
static uint64_t addresses_in(const struct ec2_nics *nics, const char *subnet)
{
	uint64_t addresses = 0;

	for (unsigned i = 0; i < nics->count; i++) {
		const struct ec2_nic *nic = &nics->nics[i];

		addresses += str_equal(nic->subnet, subnet);
		for (unsigned j = 0; str_equal(nic->subnet, subnet) && j < nic->nic.block_count; j++) {
			const struct prefix *block = &nic->nic.blocks[j].prefix;

			if (block->addr.family == IP_V4)
				addresses += UINT64_C(1) << (ipaddr_bits(&block->addr) - block->len);
		}
	}
	return addresses;
}

/* What a list tells beside the list; before what it is made of is taken away. */
static void learn(struct aws *aws, const struct ec2_nics *nics, const struct cloud_identity *self, int64_t deadline_us)
{
	const struct ec2_nic *primary = primary_of(nics);
	struct aws_here here;

	if (!primary)
		return;
	here = (struct aws_here){ .vpc = primary->vpc, .zone = self->zone, .subnet = primary->subnet };
	aws_subnets_look(&aws->subnets, &here, deadline_us);
	pthread_mutex_lock(&aws->lock);
	memcpy(aws->vpc, primary->vpc, sizeof(aws->vpc));
	memcpy(aws->subnet, primary->subnet, sizeof(aws->subnet));
	aws->addresses = addresses_in(nics, primary->subnet);
	pthread_mutex_unlock(&aws->lock);
}

int aws_list(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err)
{
	struct aws *aws = aws_of(cloud);
	struct cloud_view view = { 0 };
	struct cloud_identity self;
	struct ec2_nics nics = { 0 };
	int r = 0;

	if (aws_identity(aws, deadline_us, &self, err) < 0 ||
	    aws_describe_own(aws, self.instance, deadline_us, &nics, err) < 0)
		return -1;
	learn(aws, &nics, &self, deadline_us);
	for (unsigned i = 0; r == 0 && i < nics.count; i++)
		r = view_add(aws, &nics.nics[i], deadline_us, &view, err);
	if (r == 0)
		aws_groups_follow(aws, &nics, &view, deadline_us);
	ec2_nics_done(&nics);
	if (r < 0) {
		cloud_view_done(&view);
		return -1;
	}
	*ret = view;
	return 0;
}

bool aws_nics_have(const struct ec2_nics *nics, const struct prefix *block)
{
	for (unsigned i = 0; i < nics->count; i++)
		if (has_block(&nics->nics[i].nic, block))
			return true;
	return false;
}

/* ---- life of the provider ---- */

void aws_stats(struct cloud *cloud, struct cloud_stats *ret)
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

void aws_stop(struct cloud *cloud)
{
	stop_set(&aws_of(cloud)->stop);
}

void aws_free(struct cloud *cloud)
{
	struct aws *aws = aws_of(cloud);

	aws_subnets_done(&aws->subnets);
	ec2_done(&aws->ec2);
	aws_auth_done(&aws->auth);
	aws_endpoints_done(&aws->endpoints);
	aws_meta_done(&aws->meta);
	http_free(aws->base.http);
	stop_done(&aws->stop);
	(void)pthread_mutex_destroy(&aws->lock);
	aws_settings_done(&aws->settings);
	free(aws);
}

static int calls_init(struct aws *aws, const struct cloud_config *config, struct err *err)
{
	if (aws_auth_init(&aws->auth, &aws->base, &aws->meta, &aws->endpoints, config, err) < 0)
		return -1;
	if (ec2_init(&aws->ec2, &aws->base, &aws->endpoints, &aws->auth, err) < 0) {
		aws_auth_done(&aws->auth);
		return -1;
	}
	if (aws_subnets_init(&aws->subnets, &aws->ec2, &aws->settings, err) < 0) {
		ec2_done(&aws->ec2);
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
	aws->cloud.ops = aws_ops(config->access);
	aws->access = config->access;
	memcpy(aws->serves, config->serves, sizeof(aws->serves));
	aws->tells_own6 = config->tells_own6;
	aws->prefixes = config->prefixes;
	aws->base.boot = config->boot;
	aws->base.wall = config->wall;
	aws->base.random = &random_kernel;
	aws->base.stop = &aws->stop;
	aws->base.http = http_new(config->getenv("AWS_CA_BUNDLE"), config->boot, config->wall, &aws->stop);
	if (aws->base.http && aws_settings_init(&aws->settings, config, err) == 0)
		return 0;
	if (!aws->base.http)
		(void)err_set(err, ERR_RETRY, DOMAIN, "no memory");
	http_free(aws->base.http);
	(void)pthread_mutex_destroy(&aws->lock);
	stop_done(&aws->stop);
	return -1;
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
		aws_settings_done(&aws->settings);
		free(aws);
		return -1;
	}
	*ret = &aws->cloud;
	return 0;
}
