/* SPDX-License-Identifier: Apache-2.0 */
#include "query.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "berth/str.h"

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Decode in place: the result is never longer. */
static int decode(char *text)
{
	char *to = text;

	for (; *text; text++) {
		char c = *text;

		if (c == '+') {
			c = ' ';
		} else if (c == '%') {
			int high = hex_value(text[1]), low = high < 0 ? -1 : hex_value(text[2]);

			if (low < 0 || (high == 0 && low == 0))
				return -EINVAL;
			c = (char)(high * 16 + low);
			text += 2;
		}
		*to++ = c;
	}
	*to = '\0';
	return 0;
}

static int add_param(struct query *query, char *pair)
{
	char *equals = strchr(pair, '=');

	if (query->count == QUERY_PARAMS_MAX)
		return -E2BIG;
	if (!equals)
		return -EINVAL;
	*equals = '\0';
	if (decode(pair) < 0 || decode(equals + 1) < 0)
		return -EINVAL;
	query->params[query->count++] = (struct query_param){ .name = pair, .value = equals + 1 };
	return 0;
}

int query_parse(const char *body, size_t size, struct query *ret)
{
	struct query query = { 0 };
	char *rest;
	int rc = 0;

	if (memchr(body, '\0', size))
		return -EINVAL;
	query.text = strndup(body, size);
	query.params = calloc(QUERY_PARAMS_MAX, sizeof(*query.params));
	rest = query.text;
	if (!query.text || !query.params)
		rc = -ENOMEM;
	while (rc == 0 && rest && *rest) {
		char *pair = strsep(&rest, "&");

		if (*pair)
			rc = add_param(&query, pair);
	}
	if (rc < 0) {
		query_done(&query);
		return rc;
	}
	*ret = query;
	return 0;
}

void query_done(struct query *query)
{
	free(query->params);
	free(query->text);
	*query = (struct query){ 0 };
}

const char *query_get(const struct query *query, const char *name)
{
	for (unsigned i = 0; i < query->count; i++)
		if (str_equal(query->params[i].name, name))
			return query->params[i].value;
	return NULL;
}

const char *query_getf(const struct query *query, const char *fmt, ...)
{
	char name[QUERY_NAME_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	return query_get(query, name);
}

bool query_has(const struct query *query, const char *name)
{
	size_t len = strlen(name);

	for (unsigned i = 0; i < query->count; i++)
		if (str_starts(query->params[i].name, name) &&
		    (query->params[i].name[len] == '\0' || query->params[i].name[len] == '.'))
			return true;
	return false;
}

/* "Filter.1.Value.12" -> "Filter.N.Value.N" */
static void generic_name(const char *name, char ret[static QUERY_NAME_MAX])
{
	size_t len = 0;

	for (const char *at = name; *at && len + 1 < QUERY_NAME_MAX;) {
		size_t digits = at > name && at[-1] == '.' ? strspn(at, "0123456789") : 0;

		if (digits && (at[digits] == '.' || at[digits] == '\0')) {
			ret[len++] = 'N';
			at += digits;
		} else {
			ret[len++] = *at++;
		}
	}
	ret[len] = '\0';
}

static bool word_in(const char *word, const char *words)
{
	size_t len = strlen(word);

	for (const char *at = strstr(words, word); at; at = strstr(at + 1, word))
		if ((at == words || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
			return true;
	return false;
}

const char *query_unknown(const struct query *query, const char *allowed)
{
	char generic[QUERY_NAME_MAX];

	for (unsigned i = 0; i < query->count; i++) {
		generic_name(query->params[i].name, generic);
		if (!generic[0] || !word_in(generic, allowed))
			return query->params[i].name;
	}
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	const struct query_param *x = a, *y = b;

	return strcmp(x->name, y->name);
}

char *query_canonical(const struct query *query, const char *but)
{
	_cleanup_free_ struct query_param *sorted = calloc(query->count + 1, sizeof(*sorted));
	struct strbuf out = { 0 };

	if (!sorted)
		return NULL;
	for (unsigned i = 0; i < query->count; i++)
		sorted[i] = query->params[i];
	qsort(sorted, query->count, sizeof(*sorted), by_name);
	for (unsigned i = 0; i < query->count; i++)
		if (!str_equal(sorted[i].name, but))
			strbuf_printf(&out, "%s=%s\n", sorted[i].name, sorted[i].value);
	return strbuf_take(&out);
}

bool query_match(const char *pattern, const char *text)
{
	const char *star = NULL, *resume = NULL;

	while (*text) {
		const char *p = *pattern == '\\' && pattern[1] ? pattern + 1 : pattern;

		if (*pattern == '*') {
			star = ++pattern;
			resume = text;
		} else if (*p && (*p == *text || (*pattern == '?'))) {
			pattern = p + 1;
			text++;
		} else if (star) {
			pattern = star;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}
