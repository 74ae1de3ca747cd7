/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/cloud.h"

#include <errno.h>
#include <string.h>

#include "berth/err.h"
#include "berth/str.h"
#include "providers.h"

#define FIRST_ALLOC 8U /* elements; doubles up to the limit */

static const struct {
	const char *name;
	int (*open)(const struct cloud_config *config, struct cloud **ret, struct err *err);
	const struct cloud_var *(*vars)(unsigned *ret_count);
} providers[] = {
	{ "aws", aws_open, aws_vars },
};

static const char *process_env(const char *name)
{
	return getenv(name);
}

int cloud_open(const char *name, const struct cloud_config *config, struct cloud **ret, struct err *err)
{
	struct cloud_config filled = *config;

	if (!filled.cluster)
		filled.cluster = "";
	if (!filled.boot)
		filled.boot = &clock_boot;
	if (!filled.wall)
		filled.wall = &clock_wall;
	if (!filled.getenv)
		filled.getenv = process_env;
	if (!filled.serves[0] && !filled.serves[1])
		filled.serves[ip_index(IP_V4)] = true;
	for (size_t i = 0; i < ARRAY_SIZE(providers); i++) {
		if (str_equal(providers[i].name, name))
			return providers[i].open(&filled, ret, err);
	}
	return err_set(err, ERR_INVALID, "cloud", "no such cloud provider: %s", name);
}

const struct cloud_var *cloud_vars(const char *name, unsigned *ret_count)
{
	for (size_t i = 0; i < ARRAY_SIZE(providers); i++) {
		if (str_equal(providers[i].name, name))
			return providers[i].vars(ret_count);
	}
	*ret_count = 0;
	return NULL;
}

void cloud_free(struct cloud *cloud)
{
	if (cloud)
		cloud->ops->free(cloud);
}

/* The array after making room for one more element, or NULL; @count of it are in use. Doubles at powers of two. */
static void *grown(void *array, unsigned count, size_t element_size)
{
	if (count >= FIRST_ALLOC && (count & (count - 1)) != 0)
		return array;
	if (count > 0 && count < FIRST_ALLOC)
		return array;
	return reallocarray(array, count < FIRST_ALLOC ? FIRST_ALLOC : (size_t)count * 2, element_size);
}

int cloud_nic_add_block(struct cloud_nic *nic, const struct prefix *prefix)
{
	struct cloud_block *blocks;

	if (nic->block_count >= CLOUD_BLOCKS_MAX)
		return -ENOSPC;
	blocks = grown(nic->blocks, nic->block_count, sizeof(*blocks));
	if (!blocks)
		return -ENOMEM;
	nic->blocks = blocks;
	nic->blocks[nic->block_count++] = (struct cloud_block){ .prefix = *prefix };
	return 0;
}

struct cloud_nic *cloud_view_add_nic(struct cloud_view *view)
{
	struct cloud_nic *nics;

	if (view->nic_count >= CLOUD_NICS_MAX)
		return NULL;
	nics = grown(view->nics, view->nic_count, sizeof(*nics));
	if (!nics)
		return NULL;
	view->nics = nics;
	memset(&nics[view->nic_count], 0, sizeof(*nics));
	return &nics[view->nic_count++];
}

void cloud_nic_done(struct cloud_nic *nic)
{
	free(nic->blocks);
	memset(nic, 0, sizeof(*nic));
}

void cloud_view_done(struct cloud_view *view)
{
	for (unsigned i = 0; i < view->nic_count; i++)
		cloud_nic_done(&view->nics[i]);
	free(view->nics);
	memset(view, 0, sizeof(*view));
}
