/* SPDX-License-Identifier: Apache-2.0 */
#include "creds.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
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

int aws_creds_copy(const struct aws_creds *from, struct aws_creds *ret)
{
	int r = aws_creds_set(ret, from->access_key.text, from->secret_key.text, from->token.text);

	if (r < 0)
		return r;
	ret->expires_us = from->expires_us;
	ret->generation = from->generation;
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
	/* The metadata service tells of a failure with status 200. */
	if (!str_equal(code, "Success") || !*access_key || !*secret_key) {
		err_set(err, ERR_AUTH, DOMAIN, "no keys are handed out: %s", code);
		err_set_ident(err, code);
		return -1;
	}
	if (*expires && aws_time_parse(expires, &expires_us) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "bad expiration");
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

bool aws_token_usable(const char *token)
{
	size_t len = strlen(token);

	for (size_t i = 0; i < len; i++) {
		if (!isgraph((unsigned char)token[i]))
			return false;
	}
	return len > 0;
}

int aws_token_read(const char *path, struct secret *ret, struct err *err)
{
	char *text;
	size_t size;
	int r = fs_read(path, AWS_TOKEN_MAX + 1, &text, &size);

	if (r == -ENOMEM)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	if (r < 0)
		return err_set_errno(err, ERR_AUTH, DOMAIN, -r, "token file %s", path);
	while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
		text[--size] = '\0';
	if (size > AWS_TOKEN_MAX || strlen(text) != size || !aws_token_usable(text))
		r = err_set(err, ERR_AUTH, DOMAIN, "token file %s: not a token", path);
	else if (secret_set(ret, text, size) < 0)
		r = err_set(err, ERR_RETRY, DOMAIN, "no memory");
	crypto_wipe(text, size);
	free(text);
	return r;
}

void aws_err_withhold(struct err *err, const struct secret *secret)
{
	if (!err)
		return;
	if (secret_shows(secret, err->ident))
		err_set_ident(err, "");
	if (secret_shows(secret, err->msg))
		(void)str_copy(err->msg, sizeof(err->msg), "withheld: the other side's message repeats a secret");
}
