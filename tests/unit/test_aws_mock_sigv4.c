/* SPDX-License-Identifier: Apache-2.0 */
/* The mock's check of signatures against vectors that were computed by others (botocore, and a signer in Python). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mocks/aws/sigv4.h"
#include "mocks/httpd.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define BODY                                                                                                           \
	"Action=DescribeNetworkInterfaces&Filter.1.Name=attachment.instance-id&Filter.1.Value.1=i-0123456789abcdef0"   \
	"&Version=2016-11-15"
#define TOKEN     "IQoJb3JpZ2luX2VjEKX//////////wEaCXVzLWVhc3QtMSJHMEUCIQD+/=="
#define PLAIN_SIG "d21e214567040a580656f11029657517060efa65217592ef98f25d5e0bdc996e"
#define TOKEN_SIG "7b95b121987e8099abc84950c71b60394127d463240c9f995e2c8695df556e2d"
#define SCOPE     "AKIDEXAMPLE/20260101/us-west-2/ec2/aws4_request"
#define PLAIN     "content-type;host;x-amz-date"

struct fixture {
	struct httpd_request request;
	char path[2];
	char authorization[512];
};

static void add(struct fixture *f, const char *name, const char *value)
{
	f->request.headers[f->request.header_count++] = (struct httpd_header){ .name = name, .value = value };
}

static void make(struct fixture *f, const char *signed_headers, const char *signature)
{
	*f = (struct fixture){ .path = "/" };
	f->request.method = "POST";
	f->request.path = f->path;
	f->request.query = "";
	f->request.body = BODY;
	f->request.body_size = strlen(BODY);
	(void)snprintf(f->authorization, sizeof(f->authorization),
		       "AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=%s, Signature=%s", signed_headers,
		       signature);
	add(f, "Host", "ec2.us-west-2.amazonaws.com");
	add(f, "Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
	add(f, "X-Amz-Date", "20260101T000000Z");
	add(f, "Authorization", f->authorization);
	add(f, "User-Agent", "not signed");
}

static enum sigv4_result check(struct fixture *f, const char *secret)
{
	struct sigv4 sig;
	enum sigv4_result result = sigv4_parse(&f->request, &sig);

	return result == SIGV4_OK ? sigv4_verify(&f->request, &sig, secret) : result;
}

static void test_sigv4_verify__golden(void **state)
{
	struct fixture f;

	(void)state;
	make(&f, PLAIN, PLAIN_SIG);
	assert_int_equal(check(&f, SECRET), SIGV4_OK);
	make(&f, PLAIN ";x-amz-security-token", TOKEN_SIG);
	add(&f, "X-Amz-Security-Token", TOKEN);
	assert_int_equal(check(&f, SECRET), SIGV4_OK);
}

static void test_sigv4_verify__header_blanks_are_folded(void **state)
{
	struct fixture f;

	(void)state;
	make(&f, PLAIN, PLAIN_SIG);
	f.request.headers[1].value = "  application/x-www-form-urlencoded;   charset=utf-8 ";
	assert_int_equal(check(&f, SECRET), SIGV4_OK);
}

static void test_sigv4_verify__anything_changed(void **state)
{
	struct fixture f;

	(void)state;
	make(&f, PLAIN, PLAIN_SIG);
	assert_int_equal(check(&f, "another"), SIGV4_MISMATCH);
	make(&f, PLAIN, PLAIN_SIG);
	f.request.body = "Action=X";
	f.request.body_size = 8;
	assert_int_equal(check(&f, SECRET), SIGV4_MISMATCH);
	make(&f, PLAIN, PLAIN_SIG);
	f.request.headers[0].value = "ec2.eu-west-1.amazonaws.com";
	assert_int_equal(check(&f, SECRET), SIGV4_MISMATCH);
	make(&f, PLAIN, PLAIN_SIG);
	f.request.query = "a=b";
	assert_int_equal(check(&f, SECRET), SIGV4_MISMATCH);
	make(&f, PLAIN, PLAIN_SIG);
	f.request.method = "PUT";
	assert_int_equal(check(&f, SECRET), SIGV4_MISMATCH);
	make(&f, PLAIN, TOKEN_SIG);
	assert_int_equal(check(&f, SECRET), SIGV4_MISMATCH);
	make(&f, PLAIN, "d21e");
	assert_int_equal(check(&f, SECRET), SIGV4_MISMATCH);
}

static void test_sigv4_verify__what_must_be_signed(void **state)
{
	struct fixture f;

	(void)state;
	make(&f, PLAIN, PLAIN_SIG);
	add(&f, "X-Amz-Security-Token", TOKEN); /* sent and not signed */
	assert_int_equal(check(&f, SECRET), SIGV4_INCOMPLETE);
	make(&f, "content-type;host", PLAIN_SIG);
	assert_int_equal(check(&f, SECRET), SIGV4_INCOMPLETE);
	make(&f, "accept;" PLAIN, PLAIN_SIG); /* signed and not sent */
	assert_int_equal(check(&f, SECRET), SIGV4_INCOMPLETE);
	make(&f, "host;content-type;x-amz-date", PLAIN_SIG);
	assert_int_equal(check(&f, SECRET), SIGV4_INCOMPLETE);
}

static void test_sigv4_parse__not_a_signature(void **state)
{
	static const char *const bad[] = {
		"Basic dXNlcjpwYXNz",
		"AWS4-HMAC-SHA256 Credential=AKID, SignedHeaders=host, Signature=00",
		"AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host",
		"AWS4-HMAC-SHA256 Credential=" SCOPE "/more, SignedHeaders=host, Signature=00",
		"AWS4-HMAC-SHA256 Credential=A/b/c/d/aws4_request, SignedHeaders=host, Signature=00",
		"",
	};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make(&f, PLAIN, PLAIN_SIG);
		f.request.headers[3].value = bad[i];
		assert_int_equal(check(&f, SECRET), SIGV4_INCOMPLETE);
	}
	make(&f, PLAIN, PLAIN_SIG);
	f.request.headers[2].value = "2026-01-01";
	assert_int_equal(check(&f, SECRET), SIGV4_INCOMPLETE);
	make(&f, PLAIN, PLAIN_SIG);
	f.request.headers[3].name = "X-Authorization";
	assert_int_equal(check(&f, SECRET), SIGV4_MISSING);
}

static void test_sigv4_parse__time(void **state)
{
	struct fixture f;
	struct sigv4 sig;

	(void)state;
	make(&f, PLAIN, PLAIN_SIG);
	assert_int_equal(sigv4_parse(&f.request, &sig), SIGV4_OK);
	assert_int_equal(sig.time_us, INT64_C(1767225600) * 1000000);
	assert_string_equal(sig.access_key, "AKIDEXAMPLE");
	assert_string_equal(sig.region, "us-west-2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sigv4_verify__golden),
		cmocka_unit_test(test_sigv4_verify__header_blanks_are_folded),
		cmocka_unit_test(test_sigv4_verify__anything_changed),
		cmocka_unit_test(test_sigv4_verify__what_must_be_signed),
		cmocka_unit_test(test_sigv4_parse__not_a_signature),
		cmocka_unit_test(test_sigv4_parse__time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
