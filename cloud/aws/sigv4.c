/* SPDX-License-Identifier: Apache-2.0 */
#include "sigv4.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "berth/clock.h"
#include "berth/str.h"

#define ALGORITHM  "AWS4-HMAC-SHA256"
#define DAY_LEN    8 /* "20260101" */
#define KEY_PREFIX "AWS4"

int sigv4_date(int64_t time_us, char ret[static SIGV4_DATE_SIZE])
{
	time_t seconds = (time_t)(time_us / USEC_PER_SEC);
	struct tm tm;

	if (time_us < 0 || !gmtime_r(&seconds, &tm))
		return -EINVAL;
	return strftime(ret, SIGV4_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm) == SIGV4_DATE_SIZE - 1 ? 0 : -EINVAL;
}

static const char *signed_headers(const struct sigv4_request *request)
{
	return request->token ? "content-type;host;x-amz-date;x-amz-security-token" : "content-type;host;x-amz-date";
}

int sigv4_canonical(const struct sigv4_request *request, struct strbuf *ret)
{
	char date[SIGV4_DATE_SIZE], hash[CRYPTO_SHA256_HEX];
	int r = sigv4_date(request->time_us, date);

	if (r == 0)
		r = crypto_sha256_hex(request->body, request->body_size, hash);
	if (r < 0)
		return r;
	strbuf_add(ret, "POST\n");
	strbuf_add(ret, request->path);
	/* The empty line is the canonical query. */
	strbuf_add(ret, "\n\ncontent-type:");
	strbuf_add(ret, request->content_type);
	strbuf_add(ret, "\nhost:");
	strbuf_add(ret, request->host);
	strbuf_add(ret, "\nx-amz-date:");
	strbuf_add(ret, date);
	if (request->token) {
		strbuf_add(ret, "\nx-amz-security-token:");
		strbuf_add(ret, request->token);
	}
	strbuf_add(ret, "\n\n");
	strbuf_add(ret, signed_headers(request));
	strbuf_add(ret, "\n");
	strbuf_add(ret, hash);
	return ret->failed ? -ENOMEM : 0;
}

static void scope_add(const struct sigv4_request *request, const char *date, struct strbuf *ret)
{
	strbuf_add_bytes(ret, date, DAY_LEN);
	strbuf_add(ret, "/");
	strbuf_add(ret, request->region);
	strbuf_add(ret, "/");
	strbuf_add(ret, request->service);
	strbuf_add(ret, "/aws4_request");
}

int sigv4_string_to_sign(const struct sigv4_request *request, const char *canonical, struct strbuf *ret)
{
	char date[SIGV4_DATE_SIZE], hash[CRYPTO_SHA256_HEX];
	int r = sigv4_date(request->time_us, date);

	if (r == 0)
		r = crypto_sha256_hex(canonical, strlen(canonical), hash);
	if (r < 0)
		return r;
	strbuf_add(ret, ALGORITHM "\n");
	strbuf_add(ret, date);
	strbuf_add(ret, "\n");
	scope_add(request, date, ret);
	strbuf_add(ret, "\n");
	strbuf_add(ret, hash);
	return ret->failed ? -ENOMEM : 0;
}

int sigv4_key(const struct sigv4_request *request, uint8_t ret[static CRYPTO_SHA256_SIZE])
{
	const char *const parts[] = { request->region, request->service, "aws4_request" };
	_cleanup_secret_ struct secret start = { 0 };
	char date[SIGV4_DATE_SIZE];
	size_t secret_len = strlen(request->secret_key);
	int r = sigv4_date(request->time_us, date);

	if (r < 0)
		return r;
	start.size = strlen(KEY_PREFIX) + secret_len;
	start.text = malloc(start.size + 1);
	if (!start.text)
		return -ENOMEM;
	memcpy(start.text, KEY_PREFIX, strlen(KEY_PREFIX));
	memcpy(start.text + strlen(KEY_PREFIX), request->secret_key, secret_len + 1);
	r = crypto_hmac_sha256(start.text, start.size, date, DAY_LEN, ret);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++)
		r = crypto_hmac_sha256(ret, CRYPTO_SHA256_SIZE, parts[i], strlen(parts[i]), ret);
	return r;
}

static int signature(const struct sigv4_request *request, char hex[static CRYPTO_SHA256_HEX])
{
	_cleanup_strbuf_ struct strbuf canonical = { 0 };
	_cleanup_strbuf_ struct strbuf text = { 0 };
	uint8_t key[CRYPTO_SHA256_SIZE], mac[CRYPTO_SHA256_SIZE];
	int r = sigv4_canonical(request, &canonical);

	if (r == 0)
		r = sigv4_string_to_sign(request, canonical.text, &text);
	/* The canonical request holds the session token. */
	crypto_wipe(canonical.text, canonical.len);
	if (r == 0)
		r = sigv4_key(request, key);
	if (r == 0)
		r = crypto_hmac_sha256(key, sizeof(key), text.text, text.len, mac);
	crypto_wipe(key, sizeof(key));
	if (r == 0)
		str_hex(hex, mac, sizeof(mac));
	return r;
}

int sigv4_authorization(const struct sigv4_request *request, struct strbuf *ret)
{
	char date[SIGV4_DATE_SIZE], hex[CRYPTO_SHA256_HEX];
	int r = sigv4_date(request->time_us, date);

	if (r == 0)
		r = signature(request, hex);
	if (r < 0)
		return r;
	strbuf_add(ret, ALGORITHM " Credential=");
	strbuf_add(ret, request->access_key);
	strbuf_add(ret, "/");
	scope_add(request, date, ret);
	strbuf_add(ret, ", SignedHeaders=");
	strbuf_add(ret, signed_headers(request));
	strbuf_add(ret, ", Signature=");
	strbuf_add(ret, hex);
	return ret->failed ? -ENOMEM : 0;
}
