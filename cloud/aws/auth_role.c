/* SPDX-License-Identifier: Apache-2.0 */
#include "auth_role.h"

#include <string.h>

#include "berth/err.h"
#include "berth/str.h"
#include "creds.h"
#include "meta.h"

#define DOMAIN "credentials"

#define ROLE_PATH    "iam/security-credentials/"
#define ROLE_LEN_MAX 128U /* IAM: role names have at most 64 characters */
#define ROLE_CHARS   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+=,.@-"

static int role_path(struct aws_meta *meta, int64_t deadline_us, struct strbuf *ret, struct err *err)
{
	_cleanup_wiped_ char *role = NULL;
	size_t len;

	if (aws_meta_get(meta, ROLE_PATH, deadline_us, &role, err) < 0) {
		if (err && err->class == ERR_NOTFOUND)
			return err_set(err, ERR_AUTH, DOMAIN, "the instance has none, and nothing else is configured");
		return -1;
	}
	/* The name becomes part of a path. */
	len = strcspn(role, "\r\n");
	if (len == 0 || len > ROLE_LEN_MAX || strspn(role, ROLE_CHARS) < len)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "not a role name");
	strbuf_add(ret, ROLE_PATH);
	strbuf_add_bytes(ret, role, len);
	return ret->failed ? err_set(err, ERR_RETRY, DOMAIN, "no memory") : 0;
}

int aws_role_fetch(struct aws_meta *meta, int64_t deadline_us, struct aws_creds *ret, struct err *err)
{
	_cleanup_strbuf_ struct strbuf path = { 0 };
	_cleanup_wiped_ char *text = NULL;

	if (role_path(meta, deadline_us, &path, err) < 0 || aws_meta_get(meta, path.text, deadline_us, &text, err) < 0)
		return -1;
	return aws_creds_decode(text, ret, err);
}
