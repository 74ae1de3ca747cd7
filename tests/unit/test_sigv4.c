/* SPDX-License-Identifier: Apache-2.0 */
/* Each folder of tests/golden/aws/sigv4 is one request with all intermediate texts, made by another implementation. */
#include "cloud/aws/sigv4.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "berth/clock.h"
#include "berth/str.h"
#include "tests/check.h"

#define ROOT "tests/golden/aws/sigv4/"

struct vector {
	char *input, *body, *canonical, *string_to_sign, *key, *authorization; /* owned */
	struct sigv4_request request;
};

static char *part(const char *name, const char *file)
{
	char path[256];

	(void)snprintf(path, sizeof(path), ROOT "%s/%s", name, file);
	return check_golden(path, NULL);
}

static int64_t parse_time(const char *text)
{
	struct tm tm = { 0 };

	assert_non_null(strptime(text, "%Y%m%dT%H%M%SZ", &tm));
	return (int64_t)timegm(&tm) * USEC_PER_SEC;
}

static void input_line(struct sigv4_request *r, const char *key, const char *value)
{
	if (str_equal(key, "time"))
		r->time_us = parse_time(value);
	else if (str_equal(key, "region"))
		r->region = value;
	else if (str_equal(key, "service"))
		r->service = value;
	else if (str_equal(key, "host"))
		r->host = value;
	else if (str_equal(key, "path"))
		r->path = value;
	else if (str_equal(key, "content-type"))
		r->content_type = value;
	else if (str_equal(key, "access-key"))
		r->access_key = value;
	else if (str_equal(key, "secret-key"))
		r->secret_key = value;
	else if (str_equal(key, "token"))
		r->token = value;
	else
		fail_msg("unknown key %s", key);
}

static void load(struct vector *v, const char *name)
{
	char *rest = NULL;

	memset(v, 0, sizeof(*v));
	v->input = part(name, "input");
	v->body = part(name, "body");
	v->canonical = part(name, "canonical-request");
	v->string_to_sign = part(name, "string-to-sign");
	v->key = part(name, "signing-key");
	v->authorization = part(name, "authorization");
	v->request.body = v->body;
	v->request.body_size = strlen(v->body);
	for (char *line = strtok_r(v->input, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *equals = strchr(line, '=');

		assert_non_null(equals);
		*equals = '\0';
		input_line(&v->request, line, equals + 1);
	}
}

static void unload(struct vector *v)
{
	free(v->input);
	free(v->body);
	free(v->canonical);
	free(v->string_to_sign);
	free(v->key);
	free(v->authorization);
}

static void check_vector(const char *name)
{
	struct strbuf canonical = { 0 }, text = { 0 }, authorization = { 0 };
	uint8_t key[CRYPTO_SHA256_SIZE];
	char hex[CRYPTO_SHA256_HEX];
	struct vector v;

	load(&v, name);
	assert_int_equal(sigv4_canonical(&v.request, &canonical), 0);
	assert_string_equal(canonical.text, v.canonical);
	assert_int_equal(sigv4_string_to_sign(&v.request, canonical.text, &text), 0);
	assert_string_equal(text.text, v.string_to_sign);
	assert_int_equal(sigv4_key(&v.request, key), 0);
	assert_string_equal(str_hex(hex, key, sizeof(key)), v.key);
	assert_int_equal(sigv4_authorization(&v.request, &authorization), 0);
	assert_string_equal(authorization.text, v.authorization);
	strbuf_done(&canonical);
	strbuf_done(&text);
	strbuf_done(&authorization);
	unload(&v);
}

static void test_sigv4__no_token(void **state)
{
	(void)state;
	check_vector("no-token");
}

static void test_sigv4__token(void **state)
{
	(void)state;
	check_vector("token");
}

static void test_sigv4__port_and_path(void **state)
{
	(void)state;
	check_vector("port-and-path");
}

static void test_sigv4__empty_body(void **state)
{
	(void)state;
	check_vector("empty-body");
}

static void test_sigv4__leap_day(void **state)
{
	(void)state;
	check_vector("leap-day");
}

static void test_date__range(void **state)
{
	char date[SIGV4_DATE_SIZE];

	(void)state;
	assert_int_equal(sigv4_date(0, date), 0);
	assert_string_equal(date, "19700101T000000Z");
	assert_int_equal(sigv4_date(-1, date), -EINVAL);
	assert_int_equal(sigv4_date(INT64_MAX, date), -EINVAL);
}

/* FIPS 180-4 and RFC 4231 test case 2: the door to the library hands over what it should. */
static void test_crypto__known_answers(void **state)
{
	uint8_t mac[CRYPTO_SHA256_SIZE];
	char hex[CRYPTO_SHA256_HEX];

	(void)state;
	assert_int_equal(crypto_sha256_hex("abc", 3, hex), 0);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(crypto_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac), 0);
	assert_string_equal(str_hex(hex, mac, sizeof(mac)),
			    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void test_secret__set_and_done(void **state)
{
	struct secret secret = { 0 };

	(void)state;
	assert_int_equal(secret_set(&secret, "one", 3), 0);
	assert_int_equal(secret_set(&secret, "three", 5), 0);
	assert_string_equal(secret.text, "three");
	secret_done(&secret);
	assert_null(secret.text);
	secret_done(&secret);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_sigv4__no_token),       check_unit_test(test_sigv4__token),
		check_unit_test(test_sigv4__port_and_path),  check_unit_test(test_sigv4__empty_body),
		check_unit_test(test_sigv4__leap_day),       check_unit_test(test_date__range),
		check_unit_test(test_crypto__known_answers), check_unit_test(test_secret__set_and_done),
	};

	return cmocka_run_group_tests_name("sigv4", tests, NULL, NULL);
}
