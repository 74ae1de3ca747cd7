/* SPDX-License-Identifier: Apache-2.0 */
/* What the settings say of what pods are kept from (nft_guard.c). */
#include "berth/str.h"
#include "ipamd/ipamd.h"

bool guards_allow(const struct ipamd *d, const struct lease *lease)
{
	const struct config_ids *allowed = &d->config.metadata_allow;

	for (unsigned i = 0; d->config.metadata_guard && i < allowed->count; i++)
		if (str_equal(allowed->list[i], lease->pod.namespace))
			return true;
	return false;
}

void guards_changed(struct ipamd *d, const struct lease *lease)
{
	if (guards_allow(d, lease))
		d->host_dirty = true;
}

void guards_fill(const struct ipamd *d, struct nft_input *input)
{
	input->source_check = d->config.source_check;
	if (d->config.metadata_guard && d->cloud)
		input->guarded = d->cloud->ops->guarded;
}
