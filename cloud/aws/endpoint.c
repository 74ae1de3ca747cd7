/* SPDX-License-Identifier: Apache-2.0 */
#include "endpoint.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../http.h"
#include "berth/err.h"
#include "berth/str.h"
#include "meta.h"

#define DOMAIN "endpoint"

#define META_URL_V4 META_DEFAULT_ENDPOINT
#define META_URL_V6 "http://[fd00:ec2::254]"

struct partition {
	const char *region; /* how the names of its regions start */
	const char *suffix, *dual_suffix;
	bool plain_is_fips; /* the ordinary hosts are the validated ones */
};

/*
 * The first that fits; what fits none of the named ones is the ordinary one, as the SDKs have it. Source:
 * data/partitions.json and data/{ec2,sts}/.../endpoint-rule-set-1.json of botocore 1.43.11, which all SDKs share.
 */
static const struct partition partitions[] = {
	{ "cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn", false },
	{ "eusc-", "amazonaws.eu", "api.amazonwebservices.eu", false },
	{ "us-gov-", "amazonaws.com", "api.aws", true },
	{ "us-iso-", "c2s.ic.gov", "api.aws.ic.gov", false },
	{ "us-isob-", "sc2s.sgov.gov", "api.aws.scloud", false },
	{ "us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov", false },
	{ "eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk", false },
	{ "", "amazonaws.com", "api.aws", false },
};

/* Regions of AWS_STS_REGIONAL_ENDPOINTS=legacy: data/sts/2011-06-15/endpoint-rule-set-1.json, UseGlobalEndpoint. */
static const char *const sts_legacy_regions[] = {
	"ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1",
	"eu-central-1",   "eu-north-1", "eu-west-1",      "eu-west-2",      "eu-west-3",
	"sa-east-1",      "us-east-1",  "us-east-2",      "us-west-1",      "us-west-2",
};

static const struct {
	const char *name, *variable;
} services[] = {
	[AWS_EC2] = { "ec2", "AWS_ENDPOINT_URL_EC2" },
	[AWS_STS] = { "sts", "AWS_ENDPOINT_URL_STS" },
};

static_assert(ARRAY_SIZE(services) == AWS_SERVICE_COUNT, "every service has a name");

static const struct partition *partition_of(const char *region)
{
	const struct partition *p = partitions;

	while (!str_starts(region, p->region))
		p++;
	return p;
}

static bool is_sts_legacy(const char *region)
{
	for (size_t i = 0; i < ARRAY_SIZE(sts_legacy_regions); i++) {
		if (str_equal(sts_legacy_regions[i], region))
			return true;
	}
	return false;
}

int aws_endpoint_make(enum aws_service service, const char *region, const struct aws_variant *variant,
		      char ret[static AWS_URL_SIZE])
{
	const struct partition *p = partition_of(region);
	size_t len = strlen(region);
	bool fips = variant->fips && !(p->plain_is_fips && !variant->dualstack);
	int n;

	if (len == 0 || len >= AWS_REGION_SIZE || strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
		return -EINVAL;
	if (service == AWS_STS && variant->sts_legacy && !variant->fips && !variant->dualstack && is_sts_legacy(region))
		return str_copy(ret, AWS_URL_SIZE, "https://sts.amazonaws.com");
	n = snprintf(ret, AWS_URL_SIZE, "https://%s%s.%s.%s", services[service].name, fips ? "-fips" : "", region,
		     variant->dualstack ? p->dual_suffix : p->suffix);
	return n > 0 && n < AWS_URL_SIZE ? 0 : -EINVAL;
}

/* ---- the environment ---- */

static int env_bool(const struct cloud_config *config, const char *name, bool *ret, struct err *err)
{
	const char *text = aws_env(config, name);

	if (text && str_bool(text, ret) < 0)
		return err_set(err, ERR_INVALID, DOMAIN, "%s: not true or false: %s", name, text);
	return 0;
}

static int read_variant(const struct cloud_config *config, struct aws_variant *ret, struct err *err)
{
	const char *sts = aws_env(config, "AWS_STS_REGIONAL_ENDPOINTS");

	if (env_bool(config, "AWS_USE_FIPS_ENDPOINT", &ret->fips, err) < 0 ||
	    env_bool(config, "AWS_USE_DUALSTACK_ENDPOINT", &ret->dualstack, err) < 0)
		return -1;
	ret->sts_legacy = sts && strcasecmp(sts, "legacy") == 0;
	if (sts && !ret->sts_legacy && strcasecmp(sts, "regional") != 0)
		return err_set(err, ERR_INVALID, DOMAIN, "AWS_STS_REGIONAL_ENDPOINTS: not regional or legacy: %s", sts);
	return 0;
}

static int read_url(struct aws_endpoints *endpoints, enum aws_service service, const struct cloud_config *config,
		    struct err *err)
{
	const char *name = services[service].variable;
	const char *url = aws_env(config, name);

	if (!url)
		url = aws_env(config, name = "AWS_ENDPOINT_URL");
	if (!url)
		return 0;
	if (!http_url_is_base(url) || str_copy(endpoints->urls[service], AWS_URL_SIZE, url) < 0)
		return err_set(err, ERR_INVALID, DOMAIN, "%s: not a usable URL: %s", name, url);
	if (endpoints->variant.fips || endpoints->variant.dualstack)
		return err_set(err, ERR_INVALID, DOMAIN, "%s and %s exclude each other", name,
			       endpoints->variant.fips ? "AWS_USE_FIPS_ENDPOINT" : "AWS_USE_DUALSTACK_ENDPOINT");
	return 0;
}

static int read_region(struct aws_endpoints *endpoints, const struct cloud_config *config, struct err *err)
{
	const char *region = aws_env(config, "AWS_REGION");
	char url[AWS_URL_SIZE];

	if (!region)
		region = aws_env(config, "AWS_DEFAULT_REGION");
	if (!region)
		return 0;
	if (aws_endpoint_make(AWS_EC2, region, &endpoints->variant, url) < 0 ||
	    str_copy(endpoints->region, sizeof(endpoints->region), region) < 0)
		return err_set(err, ERR_INVALID, DOMAIN, "bad region: %s", region);
	return 0;
}

int aws_endpoints_init(struct aws_endpoints *endpoints, struct aws_meta *meta, const struct cloud_config *config,
		       struct err *err)
{
	bool ignore_urls = false;

	memset(endpoints, 0, sizeof(*endpoints));
	endpoints->meta = meta;
	if (env_bool(config, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", &ignore_urls, err) < 0 ||
	    read_variant(config, &endpoints->variant, err) < 0 || read_region(endpoints, config, err) < 0)
		return -1;
	for (unsigned i = 0; !ignore_urls && i < AWS_SERVICE_COUNT; i++) {
		if (read_url(endpoints, (enum aws_service)i, config, err) < 0)
			return -1;
	}
	if (pthread_mutex_init(&endpoints->lock, NULL) != 0)
		return err_set(err, ERR_RETRY, DOMAIN, "no mutex");
	return 0;
}

void aws_endpoints_done(struct aws_endpoints *endpoints)
{
	(void)pthread_mutex_destroy(&endpoints->lock);
}

int aws_metadata_url(const struct cloud_config *config, const char **ret, struct err *err)
{
	const char *url = aws_env(config, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *mode = aws_env(config, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");

	if (mode && strcasecmp(mode, "IPv4") != 0 && strcasecmp(mode, "IPv6") != 0)
		return err_set(err, ERR_INVALID, DOMAIN, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: not IPv4 or IPv6: %s",
			       mode);
	if (!url)
		url = mode && strcasecmp(mode, "IPv6") == 0 ? META_URL_V6 : META_URL_V4;
	*ret = url;
	return 0;
}

/* ---- what is asked at run time ---- */

int aws_region(struct aws_endpoints *endpoints, int64_t deadline_us, char ret[static AWS_REGION_SIZE], struct err *err)
{
	_cleanup_wiped_ char *found = NULL;
	char url[AWS_URL_SIZE];

	pthread_mutex_lock(&endpoints->lock);
	memcpy(ret, endpoints->region, AWS_REGION_SIZE);
	pthread_mutex_unlock(&endpoints->lock);
	if (ret[0])
		return 0;
	if (aws_meta_get(endpoints->meta, "placement/region", deadline_us, &found, err) < 0)
		return err_wrap(err, "region");
	if (aws_endpoint_make(AWS_EC2, found, &endpoints->variant, url) < 0 ||
	    str_copy(ret, AWS_REGION_SIZE, found) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "metadata service: not a region");
	pthread_mutex_lock(&endpoints->lock);
	memcpy(endpoints->region, ret, AWS_REGION_SIZE);
	pthread_mutex_unlock(&endpoints->lock);
	return 0;
}

int aws_endpoint(struct aws_endpoints *endpoints, enum aws_service service, int64_t deadline_us,
		 char ret[static AWS_URL_SIZE], struct err *err)
{
	char region[AWS_REGION_SIZE];

	/* Never written after aws_endpoints_init(). */
	if (endpoints->urls[service][0]) {
		memcpy(ret, endpoints->urls[service], AWS_URL_SIZE);
		return 0;
	}
	if (aws_region(endpoints, deadline_us, region, err) < 0)
		return -1;
	if (aws_endpoint_make(service, region, &endpoints->variant, ret) < 0)
		return err_set(err, ERR_INVALID, DOMAIN, "bad region: %s", region);
	return 0;
}
