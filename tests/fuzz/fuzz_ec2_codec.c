/* SPDX-License-Identifier: Apache-2.0 */
/* Every decoder of EC2's XML copes with any bytes; what is refused leaves nothing behind. */
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "cloud/aws/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void nics(const char *xml, size_t size)
{
	struct ec2_nics nics = { 0 };
	struct err err = { 0 };
	char *next = NULL;

	if (ec2_decode_nics(xml, size, &nics, &next, &err) < 0)
		require(nics.count == 0 && !next && err.class != ERR_NONE);
	for (unsigned i = 0; i < nics.count; i++)
		require(nics.nics[i].nic.id[0] && nics.nics[i].nic.block_count <= CLOUD_BLOCKS_MAX);
	free(next);
	ec2_nics_done(&nics);
}

static void subnets(const char *xml, size_t size)
{
	struct ec2_subnets subnets = { 0 };
	struct err err = { 0 };
	char *next = NULL;

	if (ec2_decode_subnets(xml, size, "kube", &subnets, &next, &err) < 0)
		require(subnets.count == 0 && !next && err.class != ERR_NONE);
	for (unsigned i = 0; i < subnets.count; i++)
		require(subnets.subnets[i].id[0]);
	free(next);
	ec2_subnets_done(&subnets);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const char *xml = (const char *)bytes;
	char id[EC2_ID_SIZE];
	struct ec2_error error;
	struct cloud_nic assigned = { 0 };
	struct ec2_type type;
	struct ec2_nic nic;

	nics(xml, size);
	if (ec2_decode_create(xml, size, &nic, NULL) == 0)
		ec2_nic_done(&nic);
	if (ec2_decode_attach(xml, size, id, NULL) == 0)
		require(id[0] && memchr(id, '\0', sizeof(id)));
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (ec2_decode_assign(xml, size, ip_family_at(i), &assigned, NULL) == 0)
			cloud_nic_done(&assigned);
	(void)ec2_decode_type(xml, size, "m5.large", &type, NULL);
	subnets(xml, size);
	(void)ec2_decode_ack(xml, size, "DeleteNetworkInterface", NULL);
	if (ec2_decode_error(xml, size, &error) == 0)
		require(error.code[0] && memchr(error.message, '\0', sizeof(error.message)));
	return 0;
}
