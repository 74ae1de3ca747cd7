/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: which region, which host
 *
 * As the AWS SDKs have it. The region is AWS_REGION, else AWS_DEFAULT_REGION, else the instance's. A service's host is,
 * in this order:
 *
 *   AWS_ENDPOINT_URL_EC2, AWS_ENDPOINT_URL_STS    of that service
 *   AWS_ENDPOINT_URL                              of all; both ignored with AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true
 *   by the region's partition                     with AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT
 *
 * AWS_STS_REGIONAL_ENDPOINTS=legacy sends the regions that are older than regional endpoints to sts.amazonaws.com. A
 * configured URL together with FIPS or dual stack is refused, because nobody could say which of them was meant.
 */
#ifndef BERTH_AWS_ENDPOINT_H
#define BERTH_AWS_ENDPOINT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "aws.h"
#include "berth/attr.h"

struct aws_meta;
struct cloud_config;
struct err;

#define AWS_URL_SIZE 256

enum aws_service { AWS_EC2, AWS_STS, AWS_SERVICE_COUNT };

/** struct aws_variant - which of a service's hosts. */
struct aws_variant {
	bool fips;       /* cryptography validated by FIPS 140 */
	bool dualstack;  /* IPv4 and IPv6 */
	bool sts_legacy; /* the global host of STS for old regions */
};

/** struct aws_endpoints - embedded in the provider; thread-safe. */
struct aws_endpoints {
	struct aws_meta *meta;
	struct aws_variant variant;
	char urls[AWS_SERVICE_COUNT][AWS_URL_SIZE]; /* configured; "" = by region */
	pthread_mutex_t lock;                       /* of region, which is found at the first call; held for copying */
	char region[AWS_REGION_SIZE];               /* "" = not known yet */
};

/** aws_endpoint_make() - "https://SERVICE.REGION.SUFFIX". Return: 0, or -EINVAL when @region cannot be one. Pure. */
_must_check_ int aws_endpoint_make(enum aws_service service, const char *region, const struct aws_variant *variant,
				   char ret[static AWS_URL_SIZE]);

/** aws_endpoints_init() - read the environment; no I/O. @meta is borrowed. Errors: INVALID, RETRY (no mutex). */
int aws_endpoints_init(struct aws_endpoints *endpoints, struct aws_meta *meta, const struct cloud_config *config,
		       struct err *err);
void aws_endpoints_done(struct aws_endpoints *endpoints);

/** aws_region() - configured, or the one that the instance is in. Errors: those of aws_meta_get(), PROTOCOL. */
_must_check_ int aws_region(struct aws_endpoints *endpoints, int64_t deadline_us, char ret[static AWS_REGION_SIZE],
			    struct err *err);

/** aws_endpoint() - the URL of @service. Errors: those of aws_region(). */
_must_check_ int aws_endpoint(struct aws_endpoints *endpoints, enum aws_service service, int64_t deadline_us,
			      char ret[static AWS_URL_SIZE], struct err *err);

/** aws_metadata_url() - where the metadata service is: AWS_EC2_METADATA_SERVICE_ENDPOINT, else by
 *  AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE. Return: borrowed. Errors: INVALID (unknown mode). */
_must_check_ int aws_metadata_url(const struct cloud_config *config, const char **ret, struct err *err);

#endif
