/* SPDX-License-Identifier: Apache-2.0 */
#include "creds.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "berth/clock.h"
#include "berth/err.h"
#include "berth/json.h"
#include "berth/str.h"

#define DOMAIN "credentials"

void aws_creds_done(struct aws_creds *creds)
{
	secret_done(&creds->access_key);
	secret_done(&creds->secret_key);
	secret_done(&creds->token);
}

int aws_creds_set(struct aws_creds *creds, const char *access_key, const char *secret_key, const char *token)
{
	struct aws_creds made = { 0 };
	int r = secret_set(&made.access_key, access_key, strlen(access_key));

	if (r == 0)
		r = secret_set(&made.secret_key, secret_key, strlen(secret_key));
	if (r == 0 && token && *token)
		r = secret_set(&made.token, token, strlen(token));
	if (r < 0) {
		aws_creds_done(&made);
		return r;
	}
	*creds = made;
	return 0;
}

int aws_time_parse(const char *text, int64_t *ret_us)
{
	struct tm tm = { 0 };
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!rest)
		return -EINVAL;
	if (*rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	if (!str_equal(rest, "Z"))
		return -EINVAL;
	*ret_us = (int64_t)timegm(&tm) * USEC_PER_SEC;
	return 0;
}

/* jansson does not wipe what it frees. */
static void wipe_member(json_t *json, const char *key)
{
	json_t *value = json_object_get(json, key);

	if (json_is_string(value))
		crypto_wipe((void *)(uintptr_t)json_string_value(value), json_string_length(value));
}

static int creds_decode_json(json_t *json, struct aws_creds *ret, struct err *err)
{
	const char *code = "Success", *access_key = "", *secret_key = "", *token = "", *expires = "";
	int64_t expires_us = 0;

	if (json_get_str_opt(json, DOMAIN, "Code", &code, err) < 0 ||
	    json_get_str_opt(json, DOMAIN, "AccessKeyId", &access_key, err) < 0 ||
	    json_get_str_opt(json, DOMAIN, "SecretAccessKey", &secret_key, err) < 0 ||
	    json_get_str_opt(json, DOMAIN, "Token", &token, err) < 0 ||
	    json_get_str_opt(json, DOMAIN, "Expiration", &expires, err) < 0)
		return -1;
	/* A failure comes with status 200. */
	if (!str_equal(code, "Success") || !*access_key || !*secret_key) {
		err_set(err, ERR_AUTH, DOMAIN, "instance role hands out no keys: %s", code);
		err_set_ident(err, code);
		return -1;
	}
	if (*expires && aws_time_parse(expires, &expires_us) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "bad expiration: %s", expires);
	if (aws_creds_set(ret, access_key, secret_key, token) < 0)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	ret->expires_us = expires_us;
	return 0;
}

int aws_creds_decode(const char *text, struct aws_creds *ret, struct err *err)
{
	json_t *json;
	int r;

	if (json_parse(text, strlen(text), DOMAIN, &json, err) < 0)
		return -1;
	r = creds_decode_json(json, ret, err);
	wipe_member(json, "SecretAccessKey");
	wipe_member(json, "Token");
	json_decref(json);
	return r;
}
