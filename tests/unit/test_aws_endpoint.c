/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "berth/cloud.h"
#include "berth/err.h"
#include "berth/str.h"
#include "cloud/aws/endpoint.h"
#include "tests/check.h"

#define FIPS   1U
#define DUAL   2U
#define LEGACY 4U

static void test_make__every_partition_and_variant(void **state)
{
	static const struct {
		enum aws_service service;
		unsigned variant;
		const char *region;
		const char *url;
	} rows[] = {
		{ AWS_EC2, 0, "us-west-2", "https://ec2.us-west-2.amazonaws.com" },
		{ AWS_EC2, FIPS, "us-west-2", "https://ec2-fips.us-west-2.amazonaws.com" },
		{ AWS_EC2, DUAL, "us-west-2", "https://ec2.us-west-2.api.aws" },
		{ AWS_EC2, FIPS | DUAL, "us-west-2", "https://ec2-fips.us-west-2.api.aws" },
		{ AWS_EC2, 0, "mx-central-1", "https://ec2.mx-central-1.amazonaws.com" },
		{ AWS_EC2, 0, "xx-new-7", "https://ec2.xx-new-7.amazonaws.com" },
		{ AWS_EC2, 0, "us-gov-west-1", "https://ec2.us-gov-west-1.amazonaws.com" },
		{ AWS_EC2, FIPS, "us-gov-west-1", "https://ec2.us-gov-west-1.amazonaws.com" },
		{ AWS_EC2, DUAL, "us-gov-west-1", "https://ec2.us-gov-west-1.api.aws" },
		{ AWS_EC2, FIPS | DUAL, "us-gov-west-1", "https://ec2-fips.us-gov-west-1.api.aws" },
		{ AWS_EC2, 0, "cn-north-1", "https://ec2.cn-north-1.amazonaws.com.cn" },
		{ AWS_EC2, FIPS, "cn-north-1", "https://ec2-fips.cn-north-1.amazonaws.com.cn" },
		{ AWS_EC2, DUAL, "cn-north-1", "https://ec2.cn-north-1.api.amazonwebservices.com.cn" },
		{ AWS_EC2, 0, "eusc-de-east-1", "https://ec2.eusc-de-east-1.amazonaws.eu" },
		{ AWS_EC2, DUAL, "eusc-de-east-1", "https://ec2.eusc-de-east-1.api.amazonwebservices.eu" },
		{ AWS_EC2, 0, "us-iso-east-1", "https://ec2.us-iso-east-1.c2s.ic.gov" },
		{ AWS_EC2, DUAL, "us-iso-east-1", "https://ec2.us-iso-east-1.api.aws.ic.gov" },
		{ AWS_EC2, 0, "us-isob-east-1", "https://ec2.us-isob-east-1.sc2s.sgov.gov" },
		{ AWS_EC2, DUAL, "us-isob-east-1", "https://ec2.us-isob-east-1.api.aws.scloud" },
		{ AWS_EC2, 0, "eu-isoe-west-1", "https://ec2.eu-isoe-west-1.cloud.adc-e.uk" },
		{ AWS_EC2, DUAL, "eu-isoe-west-1", "https://ec2.eu-isoe-west-1.api.cloud-aws.adc-e.uk" },
		{ AWS_EC2, 0, "us-isof-south-1", "https://ec2.us-isof-south-1.csp.hci.ic.gov" },
		{ AWS_EC2, FIPS | DUAL, "us-isof-south-1", "https://ec2-fips.us-isof-south-1.api.aws.hci.ic.gov" },
		{ AWS_STS, 0, "eu-west-1", "https://sts.eu-west-1.amazonaws.com" },
		{ AWS_STS, FIPS, "eu-west-1", "https://sts-fips.eu-west-1.amazonaws.com" },
		{ AWS_STS, DUAL, "eu-west-1", "https://sts.eu-west-1.api.aws" },
		{ AWS_STS, FIPS, "us-gov-east-1", "https://sts.us-gov-east-1.amazonaws.com" },
		{ AWS_STS, 0, "cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn" },
		/* The global host: old regions only, and only the plain variant. */
		{ AWS_STS, LEGACY, "eu-west-1", "https://sts.amazonaws.com" },
		{ AWS_STS, LEGACY, "af-south-1", "https://sts.af-south-1.amazonaws.com" },
		{ AWS_STS, LEGACY | FIPS, "eu-west-1", "https://sts-fips.eu-west-1.amazonaws.com" },
		{ AWS_STS, LEGACY | DUAL, "eu-west-1", "https://sts.eu-west-1.api.aws" },
		{ AWS_STS, LEGACY, "cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn" },
		{ AWS_EC2, LEGACY, "eu-west-1", "https://ec2.eu-west-1.amazonaws.com" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct aws_variant variant = { .fips = rows[i].variant & FIPS,
						     .dualstack = rows[i].variant & DUAL,
						     .sts_legacy = rows[i].variant & LEGACY };
		char url[AWS_URL_SIZE];

		assert_int_equal(aws_endpoint_make(rows[i].service, rows[i].region, &variant, url), 0);
		assert_string_equal(url, rows[i].url);
	}
}

static void test_make__no_region(void **state)
{
	/* The last is as long as the buffer of a region. */
	static const char *const regions[] = {
		"",
		"us west",
		"us-west-2/",
		"evil.example/",
		"US-WEST-2",
		"us-west-2\n",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};
	const struct aws_variant variant = { 0 };
	char url[AWS_URL_SIZE];

	(void)state;
	assert_int_equal(strlen(regions[ARRAY_SIZE(regions) - 1]), AWS_REGION_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(regions); i++)
		assert_int_equal(aws_endpoint_make(AWS_EC2, regions[i], &variant, url), -EINVAL);
}

/* ---- the environment ---- */

#define VARIABLES_MAX 6

struct variable {
	const char *name, *value;
};

static const struct variable *environment; /* of the row that is tested; ends with a NULL name or is full */

static const char *fake_getenv(const char *name)
{
	for (unsigned i = 0; i < VARIABLES_MAX && environment[i].name; i++) {
		if (str_equal(environment[i].name, name))
			return environment[i].value;
	}
	return NULL;
}

static const struct cloud_config config = { .getenv = fake_getenv };

static void test_init__urls_of_both_services(void **state)
{
	static const struct {
		struct variable env[VARIABLES_MAX];
		const char *ec2, *sts;
	} rows[] = {
		{ { { "AWS_REGION", "us-east-1" } },
		  "https://ec2.us-east-1.amazonaws.com",
		  "https://sts.us-east-1.amazonaws.com" },
		{ { { "AWS_REGION", "" }, { "AWS_DEFAULT_REGION", "eu-west-3" } },
		  "https://ec2.eu-west-3.amazonaws.com",
		  "https://sts.eu-west-3.amazonaws.com" },
		{ { { "AWS_REGION", "us-east-1" }, { "AWS_DEFAULT_REGION", "eu-west-3" } },
		  "https://ec2.us-east-1.amazonaws.com",
		  "https://sts.us-east-1.amazonaws.com" },
		{ { { "AWS_REGION", "us-east-1" }, { "AWS_ENDPOINT_URL", "http://127.0.0.1:5000" } },
		  "http://127.0.0.1:5000",
		  "http://127.0.0.1:5000" },
		{ { { "AWS_REGION", "us-east-1" },
		    { "AWS_ENDPOINT_URL", "http://127.0.0.1:5000" },
		    { "AWS_ENDPOINT_URL_EC2", "https://vpce-1.ec2.us-east-1.vpce.amazonaws.com/x" } },
		  "https://vpce-1.ec2.us-east-1.vpce.amazonaws.com/x",
		  "http://127.0.0.1:5000" },
		{ { { "AWS_REGION", "us-east-1" }, { "AWS_ENDPOINT_URL_STS", "https://sts.internal" } },
		  "https://ec2.us-east-1.amazonaws.com",
		  "https://sts.internal" },
		{ { { "AWS_REGION", "us-east-1" },
		    { "AWS_ENDPOINT_URL_STS", "https://sts.internal" },
		    { "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true" },
		    { "AWS_USE_FIPS_ENDPOINT", "true" } },
		  "https://ec2-fips.us-east-1.amazonaws.com",
		  "https://sts-fips.us-east-1.amazonaws.com" },
		{ { { "AWS_REGION", "us-east-1" },
		    { "AWS_USE_DUALSTACK_ENDPOINT", "TRUE" },
		    { "AWS_USE_FIPS_ENDPOINT", "false" } },
		  "https://ec2.us-east-1.api.aws",
		  "https://sts.us-east-1.api.aws" },
		{ { { "AWS_REGION", "us-east-1" }, { "AWS_STS_REGIONAL_ENDPOINTS", "legacy" } },
		  "https://ec2.us-east-1.amazonaws.com",
		  "https://sts.amazonaws.com" },
		{ { { "AWS_REGION", "us-east-1" }, { "AWS_STS_REGIONAL_ENDPOINTS", "regional" } },
		  "https://ec2.us-east-1.amazonaws.com",
		  "https://sts.us-east-1.amazonaws.com" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct aws_endpoints endpoints;
		char url[AWS_URL_SIZE];
		struct err err = { 0 };

		environment = rows[i].env;
		/* No metadata: whoever asks it for the region crashes. */
		if (aws_endpoints_init(&endpoints, NULL, &config, &err) < 0)
			fail_msg("row %zu: %s", i, err.msg);
		assert_int_equal(aws_endpoint(&endpoints, AWS_EC2, 0, url, &err), 0);
		assert_string_equal(url, rows[i].ec2);
		assert_int_equal(aws_endpoint(&endpoints, AWS_STS, 0, url, &err), 0);
		assert_string_equal(url, rows[i].sts);
		aws_endpoints_done(&endpoints);
	}
}

static void test_init__refused_by_name(void **state)
{
	static const struct {
		struct variable env[VARIABLES_MAX];
		const char *blamed;
	} rows[] = {
		{ { { "AWS_REGION", "us west" } }, "us west" },
		{ { { "AWS_USE_FIPS_ENDPOINT", "perhaps" } }, "AWS_USE_FIPS_ENDPOINT" },
		{ { { "AWS_USE_DUALSTACK_ENDPOINT", "2" } }, "AWS_USE_DUALSTACK_ENDPOINT" },
		{ { { "AWS_STS_REGIONAL_ENDPOINTS", "global" } }, "AWS_STS_REGIONAL_ENDPOINTS" },
		{ { { "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "x" } }, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS" },
		{ { { "AWS_ENDPOINT_URL_EC2", "ec2.example" } }, "AWS_ENDPOINT_URL_EC2" },
		{ { { "AWS_ENDPOINT_URL", "gopher://ec2.example" } }, "AWS_ENDPOINT_URL" },
		{ { { "AWS_ENDPOINT_URL_STS", "https://sts.example/?a=b" } }, "AWS_ENDPOINT_URL_STS" },
		{ { { "AWS_ENDPOINT_URL", "https://x" }, { "AWS_USE_FIPS_ENDPOINT", "true" } },
		  "AWS_USE_FIPS_ENDPOINT" },
		{ { { "AWS_ENDPOINT_URL_STS", "https://x" }, { "AWS_USE_DUALSTACK_ENDPOINT", "true" } },
		  "AWS_ENDPOINT_URL_STS" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct aws_endpoints endpoints;
		struct err err = { 0 };

		environment = rows[i].env;
		if (aws_endpoints_init(&endpoints, NULL, &config, &err) == 0)
			fail_msg("row %zu went well", i);
		assert_int_equal(err.class, ERR_INVALID);
		if (!strstr(err.msg, rows[i].blamed))
			fail_msg("row %zu: %s", i, err.msg);
	}
}

static void test_metadata_url__by_mode(void **state)
{
	static const struct {
		struct variable env[VARIABLES_MAX];
		const char *url; /* NULL: refused */
	} rows[] = {
		{ { { NULL, NULL } }, "http://169.254.169.254" },
		{ { { "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv4" } }, "http://169.254.169.254" },
		{ { { "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv6" } }, "http://[fd00:ec2::254]" },
		{ { { "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6" },
		    { "AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1338" } },
		  "http://127.0.0.1:1338" },
		{ { { "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv5" } }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *url = NULL;
		struct err err = { 0 };

		environment = rows[i].env;
		assert_int_equal(aws_metadata_url(&config, &url, &err), rows[i].url ? 0 : -1);
		if (rows[i].url)
			assert_string_equal(url, rows[i].url);
		else
			assert_int_equal(err.class, ERR_INVALID);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_make__every_partition_and_variant),
		check_unit_test(test_make__no_region),
		check_unit_test(test_init__urls_of_both_services),
		check_unit_test(test_init__refused_by_name),
		check_unit_test(test_metadata_url__by_mode),
	};

	return cmocka_run_group_tests_name("aws_endpoint", tests, NULL, NULL);
}
