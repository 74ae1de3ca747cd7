/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: reading the XML of EC2 and STS
 *
 * A shape says what one answer looks like: the root element, the path of its repeated element ("item"), and two tables
 * of fields, one below the root and one below the item. While expat walks, the path from the root is kept as text; an
 * element whose path is in a table has its text collected and stored when it ends, every other element passes by with
 * its whole subtree. "status" directly in an interface and "status" in its attachment are therefore different things,
 * and a new element of EC2, whatever its name, cannot be taken for an old one.
 *
 *   DescribeNetworkInterfacesResponse / networkInterfaceSet/item / attachment/status
 *   root                                item                       field
 *
 * Foreign bytes meet these limits: depth, length of a path, length of one text, number of items; no DOCTYPE, so no
 * entity of the document's own is ever expanded.
 */
#include "xml.h"

#include <errno.h>
#include <expat.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../crypto.h"
#include "berth/err.h"
#include "berth/ipaddr.h"

#define DOMAIN "ec2"

#define DEPTH_MAX 32   /* elements; EC2's deepest answer has about 12 */
#define TEXT_MAX  8192 /* bytes of one text that we read; a page token is about 1 KiB */

static void stop(struct xml_decoder *d, const char *why)
{
	if (!d->failed)
		d->failed = why;
	(void)XML_StopParser(d->parser, XML_FALSE);
}

/* ---- values ---- */

static int store(const struct xml_field *f, void *base, const char *text)
{
	char *at = (char *)base + f->offset;

	switch (f->kind) {
	case FIELD_STR:
		return str_copy(at, f->size, text) < 0 ? -EINVAL : 0;
	case FIELD_STR_DUP: {
		char *copy = strdup(text);

		if (!copy)
			return -ENOMEM;
		free(*(char **)(void *)at);
		*(char **)(void *)at = copy;
		return 0;
	}
	case FIELD_SECRET:
		return secret_set((struct secret *)(void *)at, text, strlen(text));
	case FIELD_UINT: {
		uint64_t value;

		if (str_u64(text, 0, UINT_MAX, &value) < 0)
			return -EINVAL;
		if (f->size == sizeof(unsigned))
			*(unsigned *)(void *)at = (unsigned)value;
		else
			*(uint64_t *)(void *)at = value;
		return 0;
	}
	case FIELD_BOOL:
		return str_bool(text, (bool *)(void *)at);
	case FIELD_MAC:
		return macaddr_parse(text, (struct macaddr *)(void *)at);
	case FIELD_ADDR:
		return ipaddr_parse(text, (struct ipaddr *)(void *)at);
	case FIELD_SUBNET:
		return prefix_parse(text, (struct prefix *)(void *)at);
	case FIELD_CALL:
		break;
	}
	return -EINVAL;
}

static const struct xml_field *field_find(const struct xml_field *fields, const char *path)
{
	for (const struct xml_field *f = fields; f && f->path; f++) {
		if (strcmp(f->path, path) == 0)
			return f;
	}
	return NULL;
}

/* The rest of the path below the item, "" for the item itself, NULL when we are elsewhere. */
static const char *below_item(const struct xml_decoder *d)
{
	const char *item = d->shape->item;
	size_t len = strlen(item);

	if (len == 0)
		return NULL;
	if (strcmp(item, ".") == 0)
		return d->path;
	if (strncmp(d->path, item, len) != 0)
		return NULL;
	if (d->path[len] == '\0')
		return d->path + len;
	return d->path[len] == '/' ? d->path + len + 1 : NULL;
}

static const struct xml_field *field_here(const struct xml_decoder *d, void **base)
{
	const char *rest = below_item(d);
	const struct xml_field *f = NULL;

	if (rest && *rest && d->item) {
		f = field_find(d->shape->item_fields, rest);
		*base = d->item;
	}
	if (!f) {
		f = field_find(d->shape->root_fields, d->path);
		*base = d->out;
	}
	return f;
}

static void outcome(struct xml_decoder *d, int r)
{
	if (r == -ENOMEM) {
		d->no_memory = true;
		stop(d, "no memory");
	} else if (r == -ENOSPC) {
		stop(d, "too many items");
	} else if (r < 0) {
		stop(d, "a value is not what it should be");
	}
}

/* ---- walking ---- */

static const char *local_name(const char *name)
{
	const char *colon = strrchr(name, ':');

	return colon ? colon + 1 : name;
}

static bool root_fits(const struct xml_decoder *d, const char *name)
{
	size_t len = strlen(d->shape->action);

	/* The error document's root is "Response", or "ErrorResponse" in STS's dialect. */
	if (len == 0)
		return strcmp(name, "Response") == 0 || strcmp(name, "ErrorResponse") == 0;
	return strncmp(name, d->shape->action, len) == 0 && strcmp(name + len, "Response") == 0;
}

static bool path_push(struct xml_decoder *d, const char *name)
{
	size_t len = strlen(name);

	if (d->path_len + len + 2 > sizeof(d->path))
		return false;
	if (d->path_len > 0)
		d->path[d->path_len++] = '/';
	memcpy(d->path + d->path_len, name, len + 1);
	d->path_len += len;
	return true;
}

static void path_pop(struct xml_decoder *d)
{
	char *slash = strrchr(d->path, '/');

	d->path_len = slash ? (size_t)(slash - d->path) : 0;
	d->path[d->path_len] = '\0';
}

static void item_begin(struct xml_decoder *d)
{
	const char *rest = below_item(d);

	if (rest && *rest == '\0' && d->shape->begin)
		outcome(d, d->shape->begin(d));
}

static void XMLCALL on_start(void *ctx, const XML_Char *qname, _unused_ const XML_Char **attributes)
{
	struct xml_decoder *d = ctx;
	const char *name = local_name(qname);
	void *base;

	if (d->failed)
		return;
	if (++d->depth > DEPTH_MAX) {
		stop(d, "nested too deeply");
		return;
	}
	if (d->depth == 1) {
		d->root_seen = root_fits(d, name);
		if (!d->root_seen)
			stop(d, "not the answer to this request");
	} else if (!path_push(d, name)) {
		stop(d, "element names are too long");
	}
	if (d->failed)
		return;
	item_begin(d);
	strbuf_clear(&d->text);
	d->collecting = d->depth > 1 && field_here(d, &base) != NULL;
}

static void XMLCALL on_end(void *ctx, _unused_ const XML_Char *qname)
{
	struct xml_decoder *d = ctx;
	const char *rest = below_item(d);
	const char *text = d->text.text && d->text.len > 0 ? d->text.text : "";
	void *base = NULL;
	const struct xml_field *f;

	if (d->failed)
		return;
	f = d->depth > 1 ? field_here(d, &base) : NULL;
	if (f)
		outcome(d, f->kind == FIELD_CALL ? f->call(d, text) : store(f, base, text));
	if (!d->failed && rest && *rest == '\0' && d->shape->end) {
		outcome(d, d->shape->end(d));
		d->item = NULL;
	}
	d->collecting = false;
	strbuf_clear(&d->text);
	if (d->depth > 1)
		path_pop(d);
	d->depth--;
}

static void XMLCALL on_text(void *ctx, const XML_Char *text, int len)
{
	struct xml_decoder *d = ctx;

	if (d->failed || !d->collecting)
		return;
	if (d->text.len + (size_t)len > TEXT_MAX) {
		stop(d, "a text is too long");
		return;
	}
	strbuf_add_bytes(&d->text, text, (size_t)len);
	if (d->text.failed)
		outcome(d, -ENOMEM);
}

static void XMLCALL on_doctype(void *ctx, _unused_ const XML_Char *name, _unused_ const XML_Char *sysid,
			       _unused_ const XML_Char *pubid, _unused_ int internal)
{
	stop(ctx, "document type declarations are refused");
}

static int parse(struct xml_decoder *d, const char *xml, size_t size)
{
	if (size > INT_MAX) {
		d->failed = "answer is too large";
		return -1;
	}
	d->parser = XML_ParserCreate("UTF-8");
	if (!d->parser) {
		d->no_memory = true;
		d->failed = "no memory";
		return -1;
	}
	XML_SetUserData(d->parser, d);
	XML_SetElementHandler(d->parser, on_start, on_end);
	XML_SetCharacterDataHandler(d->parser, on_text);
	XML_SetStartDoctypeDeclHandler(d->parser, on_doctype);
	if (XML_Parse(d->parser, xml, (int)size, 1) != XML_STATUS_OK && !d->failed) {
		d->no_memory = XML_GetErrorCode(d->parser) == XML_ERROR_NO_MEMORY;
		d->failed = "not well-formed XML";
	}
	XML_ParserFree(d->parser);
	wiped_strbuf_done(&d->text);
	return d->failed ? -1 : 0;
}

int xml_decode(struct xml_decoder *d, const struct xml_shape *shape, const char *xml, size_t size, struct err *err)
{
	d->shape = shape;
	/* A failure shows when the first text comes. */
	if (d->secret)
		(void)strbuf_reserve(&d->text, TEXT_MAX);
	if (parse(d, xml, size) == 0)
		return 0;
	return err_set(err, d->no_memory ? ERR_RETRY : ERR_PROTOCOL, DOMAIN, "%s answer: %s", shape->action, d->failed);
}
