/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: listing
 *
 * What all Describe actions share. An id list is strict: one unknown id refuses the call. Filters are lenient: they AND
 * together, the values of one OR. A page token says after which place in the order of creation to go on, so that what
 * is deleted in between is neither skipped over nor shown twice; it also counts pages, for pages that are short on
 * purpose.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "ec2.h"

#define FILTERS_MAX 200 /* filters, and values of one, in a request */

void ec2_offer(struct ec2_match *match, const char *value)
{
	for (unsigned i = 1; !match->hit && i <= FILTERS_MAX; i++) {
		const char *pattern = query_getf(match->query, "Filter.%u.Value.%u", match->filter, i);

		if (!pattern)
			return;
		match->hit = query_match(pattern, value);
	}
}

bool ec2_offer_tags(struct ec2_match *match, const char *name, const json_t *tags)
{
	void *iter = json_object_iter((json_t *)(uintptr_t)tags);

	if (str_starts(name, "tag:")) {
		const json_t *value = json_object_get(tags, name + 4);

		if (value)
			ec2_offer(match, json_string_value(value));
		return true;
	}
	if (!str_equal(name, "tag-key"))
		return false;
	for (; iter; iter = json_object_iter_next((json_t *)(uintptr_t)tags, iter))
		ec2_offer(match, json_object_iter_key(iter));
	return true;
}

/* ---- ids ---- */

static bool id_listed(const struct ec2_call *call, const struct ec2_lister *lister, const char *id)
{
	const char *wanted;

	if (!query_has(call->query, lister->id_param))
		return true;
	for (unsigned i = 1; (wanted = query_getf(call->query, "%s.%u", lister->id_param, i)); i++)
		if (str_equal(wanted, id))
			return true;
	return false;
}

static bool id_exists(struct ec2_call *call, const struct ec2_lister *lister, const char *id)
{
	for (unsigned i = 0; i < lister->count(call); i++) {
		const void *item = lister->item(call, i);

		if (item && str_equal(lister->id(item), id))
			return true;
	}
	return false;
}

static int check_ids(struct ec2_call *call, const struct ec2_lister *lister)
{
	_cleanup_strbuf_ struct strbuf missing = { 0 };
	unsigned count = 0;
	const char *id;

	for (unsigned i = 1; (id = query_getf(call->query, "%s.%u", lister->id_param, i)); i++)
		if (!id_exists(call, lister, id))
			strbuf_printf(&missing, "%s%s", count++ ? ", " : "", id);
	return count && missing.text ? lister->missing(call, missing.text, count > 1) : 0;
}

/* ---- filters ---- */

/* Return: 1 shown, 0 not, -1 no such filter. */
static int passes(struct ec2_call *call, const struct ec2_lister *lister, const void *item)
{
	const char *name;
	bool all = true;

	for (unsigned i = 1; i <= FILTERS_MAX && (name = query_getf(call->query, "Filter.%u.Name", i)); i++) {
		struct ec2_match match = { .query = call->query, .filter = i };

		if (!lister->field(call, item, name, &match))
			return ec2_refuse(call->err, 400, "InvalidParameterValue", "The filter '%.128s' is invalid",
					  name);
		all &= match.hit;
	}
	return all;
}

/* ---- pages ---- */

struct page {
	unsigned max;   /* items, 0 = all */
	uint64_t after; /* place in the order */
	unsigned number;
};

static void token_make(const struct ec2_lister *lister, const struct page *page, char *ret, size_t size)
{
	char plain[128];
	int len = snprintf(plain, sizeof(plain), "%s/%llu/%u", lister->set, (unsigned long long)page->after,
			   page->number);

	if (len > 0 && (size_t)len * 2 < size)
		(void)str_hex(ret, (const uint8_t *)plain, (size_t)len);
}

static int token_read(struct ec2_call *call, const struct ec2_lister *lister, struct page *page)
{
	const char *token = query_get(call->query, "NextToken");
	char plain[128] = { 0 }, *rest = plain;
	uint64_t after, number;

	if (!token || !*token)
		return 0;
	for (size_t i = 0; token[2 * i] && token[2 * i + 1] && i + 1 < sizeof(plain); i++) {
		static const char hex[] = "0123456789abcdef";
		const char *high = strchr(hex, token[2 * i]), *low = strchr(hex, token[2 * i + 1]);

		plain[i] = high && low ? (char)((high - hex) * 16 + (low - hex)) : '?';
	}
	const char *set = strsep(&rest, "/"), *a = strsep(&rest, "/"), *n = rest;

	if (!str_equal(set, lister->set) || !a || !n || str_u64(a, 0, UINT64_MAX, &after) < 0 ||
	    str_u64(n, 0, UINT32_MAX, &number) < 0)
		return ec2_refuse(call->err, 400, "InvalidParameterValue", "Unable to parse pagination token");
	page->after = after;
	page->number = (unsigned)number;
	return 0;
}

static int page_read(struct ec2_call *call, const struct ec2_lister *lister, struct page *page)
{
	if (ec2_param_uint(call, "MaxResults", INT32_MAX, &page->max) < 0 || token_read(call, lister, page) < 0)
		return -1;
	if (!query_get(call->query, "MaxResults"))
		return 0;
	if (lister->ids_or_pages && query_has(call->query, lister->id_param))
		return ec2_refuse(call->err, 400, "InvalidParameterCombination",
				  "The parameter %s cannot be used with the parameter maxResults", lister->set);
	if (page->max < lister->page_min)
		return ec2_refuse(call->err, 400, "InvalidParameterValue",
				  "Value ( %u ) for parameter maxResults is invalid. Expecting a value greater than or "
				  "equal to %u.",
				  page->max, lister->page_min);
	if (page->max > lister->page_max)
		page->max = lister->page_max;
	return 0;
}

/* A page may hold less than was asked for, even nothing, and go on nevertheless. */
static unsigned page_room(const struct ec2_call *call, const struct page *page)
{
	if (!page->max)
		return UINT32_MAX;
	if (!call->model->short_pages)
		return page->max;
	return page->number % 2 ? 0 : (page->max + 1) / 2;
}

static int put_items(struct ec2_call *call, const struct ec2_lister *lister, struct page *page, bool *ret_more)
{
	unsigned room = page_room(call, page);

	for (unsigned i = 0; i < lister->count(call); i++) {
		const void *item = lister->item(call, i);
		int shown;

		if (!item || lister->seq(item, i) <= page->after || !id_listed(call, lister, lister->id(item)))
			continue;
		shown = passes(call, lister, item);
		if (shown < 0)
			return -1;
		if (!shown)
			continue;
		if (!room) {
			*ret_more = true;
			return 0;
		}
		room--;
		page->after = lister->seq(item, i);
		xml_open(call->xml, "item", NULL);
		lister->put(call, item);
		xml_close(call->xml, "item");
	}
	return 0;
}

int ec2_list(struct ec2_call *call, const struct ec2_lister *lister)
{
	struct page page = { 0 };
	char token[256] = "";
	bool more = false;

	if (page_read(call, lister, &page) < 0 || check_ids(call, lister) < 0)
		return -1;
	xml_open(call->xml, lister->set, NULL);
	if (put_items(call, lister, &page, &more) < 0)
		return -1;
	xml_close(call->xml, lister->set);
	if (more) {
		page.number++;
		token_make(lister, &page, token, sizeof(token));
		xml_text(call->xml, "nextToken", token);
	}
	return 0;
}
