/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: verifying a signature
 *
 *   canonical = METHOD \n path \n query, sorted \n each signed "name:value\n" \n signed names \n hex(sha256(body))
 *   to sign   = "AWS4-HMAC-SHA256" \n date \n scope \n hex(sha256(canonical))
 *   key       = HMAC(HMAC(HMAC(HMAC("AWS4" secret, day), region), service), "aws4_request")
 *
 * Everything that is signed must have come over the wire: a signed header that was not sent is INCOMPLETE, as is one
 * that must be signed (host, x-amz-date, x-amz-security-token when present) and is not. The path is taken as it was
 * sent; EC2 has no path but "/".
 */
#include "sigv4.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../httpd.h"
#include "berth/clock.h"
#include "berth/str.h"

#define ALGORITHM   "AWS4-HMAC-SHA256"
#define DIGEST_SIZE 32
#define QUERY_MAX   64 /* parameters of a query string */

struct digest {
	uint8_t bytes[DIGEST_SIZE];
};

static bool hmac(const void *key, size_t key_size, const char *text, struct digest *ret)
{
	return HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)text, strlen(text), ret->bytes, NULL);
}

static bool sha256_hex(const char *bytes, size_t size, char ret[static 2 * DIGEST_SIZE + 1])
{
	struct digest digest;

	if (!EVP_Digest(bytes, size, digest.bytes, NULL, EVP_sha256(), NULL))
		return false;
	(void)str_hex(ret, digest.bytes, DIGEST_SIZE);
	return true;
}

/* ---- reading ---- */

static bool digits(const char *text, size_t count)
{
	return strspn(text, "0123456789") >= count;
}

static bool number_at(const char *text, size_t count, int *ret)
{
	char part[5] = { 0 };
	uint64_t value;

	memcpy(part, text, count);
	if (str_u64(part, 0, 9999, &value) < 0)
		return false;
	*ret = (int)value;
	return true;
}

static bool date_parse(struct sigv4 *sig)
{
	const char *d = sig->amz_date;
	struct tm tm = { 0 };

	if (strlen(d) != 16 || !digits(d, 8) || d[8] != 'T' || !digits(d + 9, 6) || d[15] != 'Z')
		return false;
	if (!number_at(d, 4, &tm.tm_year) || !number_at(d + 4, 2, &tm.tm_mon) || !number_at(d + 6, 2, &tm.tm_mday) ||
	    !number_at(d + 9, 2, &tm.tm_hour) || !number_at(d + 11, 2, &tm.tm_min) || !number_at(d + 13, 2, &tm.tm_sec))
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	sig->time_us = (int64_t)timegm(&tm) * USEC_PER_SEC;
	return true;
}

/* AKID/yyyymmdd/region/service/aws4_request */
static bool credential_parse(char *text, struct sigv4 *sig)
{
	char *part[5];

	for (unsigned i = 0; i < 5; i++) {
		part[i] = strsep(&text, "/");
		if (!part[i] || !*part[i])
			return false;
	}
	return !text && str_equal(part[4], "aws4_request") && digits(part[1], 8) &&
	       str_copy(sig->access_key, sizeof(sig->access_key), part[0]) == 0 &&
	       str_copy(sig->date, sizeof(sig->date), part[1]) == 0 &&
	       str_copy(sig->region, sizeof(sig->region), part[2]) == 0 &&
	       str_copy(sig->service, sizeof(sig->service), part[3]) == 0;
}

static bool authorization_parse(char *text, struct sigv4 *sig)
{
	bool credential = false, signed_headers = false, signature = false;

	if (!str_starts(text, ALGORITHM " "))
		return false;
	text += strlen(ALGORITHM " ");
	while (text && *text) {
		char *item = strsep(&text, ",");

		item += strspn(item, " ");
		char *value = strchr(item, '=');

		if (!value)
			return false;
		*value++ = '\0';
		if (str_equal(item, "Credential"))
			credential = credential_parse(value, sig);
		else if (str_equal(item, "SignedHeaders"))
			signed_headers = str_copy(sig->signed_headers, sizeof(sig->signed_headers), value) == 0;
		else if (str_equal(item, "Signature"))
			signature = str_copy(sig->signature, sizeof(sig->signature), value) == 0;
		else
			return false;
	}
	return credential && signed_headers && signature;
}

enum sigv4_result sigv4_parse(const struct httpd_request *request, struct sigv4 *ret)
{
	const char *authorization = httpd_header(request, "Authorization");
	const char *date = httpd_header(request, "X-Amz-Date");
	struct sigv4 sig = { 0 };

	if (!authorization)
		return SIGV4_MISSING;
	_cleanup_free_ char *copy = strdup(authorization);

	if (!copy || !authorization_parse(copy, &sig) || !date)
		return SIGV4_INCOMPLETE;
	if (str_copy(sig.amz_date, sizeof(sig.amz_date), date) < 0 || !date_parse(&sig))
		return SIGV4_INCOMPLETE;
	*ret = sig;
	return SIGV4_OK;
}

/* ---- canonical request ---- */

/* Outer blanks go, runs of blanks become one. */
static void add_trimmed(struct strbuf *out, const char *value)
{
	value += strspn(value, " \t");
	for (; *value; value++) {
		if (*value == ' ' || *value == '\t') {
			value += strspn(value, " \t") - 1;
			if (value[1])
				strbuf_add(out, " ");
		} else {
			strbuf_add_bytes(out, value, 1);
		}
	}
}

static bool add_header(struct strbuf *out, const struct httpd_request *request, const char *name)
{
	bool found = false;

	for (unsigned i = 0; i < request->header_count; i++) {
		if (strcasecmp(request->headers[i].name, name) != 0)
			continue;
		if (found)
			strbuf_add(out, ",");
		else
			strbuf_printf(out, "%s:", name);
		found = true;
		add_trimmed(out, request->headers[i].value);
	}
	if (found)
		strbuf_add(out, "\n");
	return found;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add_query(struct strbuf *out, const char *query)
{
	_cleanup_free_ char *copy = strdup(query);
	char *rest = copy, *parts[QUERY_MAX];
	unsigned count = 0;

	if (!copy)
		return false;
	while (rest && *rest) {
		if (count == QUERY_MAX)
			return false;
		parts[count++] = strsep(&rest, "&");
	}
	qsort(parts, count, sizeof(parts[0]), by_text);
	for (unsigned i = 0; i < count; i++)
		strbuf_printf(out, "%s%s%s", i ? "&" : "", parts[i], strchr(parts[i], '=') ? "" : "=");
	return true;
}

static bool is_lower(const char *name)
{
	for (; *name; name++)
		if (isupper((unsigned char)*name))
			return false;
	return true;
}

/* The signed headers must be sorted, in lower case, sent, and hold those that protect the request. */
static bool add_signed_headers(struct strbuf *out, const struct httpd_request *request, const struct sigv4 *sig)
{
	_cleanup_free_ char *copy = strdup(sig->signed_headers);
	char *rest = copy;
	const char *last = "";
	bool host = false, date = false, token = !httpd_header(request, "X-Amz-Security-Token");

	for (unsigned count = 0; rest; count++) {
		const char *name = strsep(&rest, ";");

		if (count == SIGV4_SIGNED_MAX || !*name || !is_lower(name) || strcmp(last, name) >= 0 ||
		    !add_header(out, request, name))
			return false;
		host |= str_equal(name, "host");
		date |= str_equal(name, "x-amz-date");
		token |= str_equal(name, "x-amz-security-token");
		last = name;
	}
	return host && date && token;
}

static bool signature(const struct sigv4 *sig, const char *secret, const char *canonical_hash,
		      char ret[static 2 * DIGEST_SIZE + 1])
{
	char first[SIGV4_SCOPE_LEN + 8], to_sign[4 * SIGV4_SCOPE_LEN];
	struct digest day, region, service, key, result;
	int len = snprintf(first, sizeof(first), "AWS4%s", secret);

	if (len < 0 || (size_t)len >= sizeof(first))
		return false;
	len = snprintf(to_sign, sizeof(to_sign), ALGORITHM "\n%s\n%s/%s/%s/aws4_request\n%s", sig->amz_date, sig->date,
		       sig->region, sig->service, canonical_hash);
	if (len < 0 || (size_t)len >= sizeof(to_sign))
		return false;
	if (!hmac(first, strlen(first), sig->date, &day) || !hmac(&day, DIGEST_SIZE, sig->region, &region) ||
	    !hmac(&region, DIGEST_SIZE, sig->service, &service) || !hmac(&service, DIGEST_SIZE, "aws4_request", &key) ||
	    !hmac(&key, DIGEST_SIZE, to_sign, &result))
		return false;
	(void)str_hex(ret, result.bytes, DIGEST_SIZE);
	return true;
}

enum sigv4_result sigv4_verify(const struct httpd_request *request, const struct sigv4 *sig, const char *secret)
{
	_cleanup_strbuf_ struct strbuf canonical = { 0 };
	char hash[2 * DIGEST_SIZE + 1], expected[2 * DIGEST_SIZE + 1];

	strbuf_printf(&canonical, "%s\n%s\n", request->method, request->path);
	if (!add_query(&canonical, request->query))
		return SIGV4_INCOMPLETE;
	strbuf_add(&canonical, "\n");
	if (!add_signed_headers(&canonical, request, sig))
		return SIGV4_INCOMPLETE;
	if (!sha256_hex(request->body, request->body_size, hash))
		return SIGV4_MISMATCH;
	strbuf_printf(&canonical, "\n%s\n%s", sig->signed_headers, hash);
	if (canonical.failed || !sha256_hex(canonical.text, canonical.len, hash) ||
	    !signature(sig, secret, hash, expected))
		return SIGV4_MISMATCH;
	if (strlen(sig->signature) != 2 * DIGEST_SIZE || CRYPTO_memcmp(sig->signature, expected, 2 * DIGEST_SIZE) != 0)
		return SIGV4_MISMATCH;
	return strncmp(sig->date, sig->amz_date, 8) == 0 ? SIGV4_OK : SIGV4_MISMATCH;
}
