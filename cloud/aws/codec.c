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
#include "codec.h"

#include <errno.h>
#include <expat.h>
#include <limits.h>
#include <string.h>

#include "../crypto.h"
#include "berth/err.h"
#include "berth/str.h"
#include "creds.h"

#define DOMAIN "ec2"

#define DEPTH_MAX 32   /* elements; EC2's deepest answer has about 12 */
#define PATH_MAX_ 1024 /* bytes of a path */
#define TEXT_MAX  8192 /* bytes of one text that we read; a page token is about 1 KiB */

enum kind { STR, STR_DUP, SECRET, UINT, BOOL, MAC, ADDR, SUBNET, CALL };

struct decoder;

struct field {
	const char *path;
	enum kind kind;
	size_t offset, size;
	int (*call)(struct decoder *d, const char *text); /* kind CALL: 0 or -errno */
};

struct shape {
	const char *action; /* the root is this and "Response" */
	const char *item;   /* "" = none, "." = the root itself */
	const struct field *root_fields;
	const struct field *item_fields;
	int (*begin)(struct decoder *d); /* an item starts: sets d->item; 0 or -errno */
	int (*end)(struct decoder *d);   /* an item is complete; 0 or -errno */
};

struct decoder {
	XML_Parser parser;
	const struct shape *shape;
	void *out;            /* of root_fields */
	void *item;           /* of item_fields; NULL outside an item */
	char path[PATH_MAX_]; /* below the root */
	size_t path_len;
	unsigned depth;
	bool root_seen;
	bool collecting;
	struct strbuf text;
	const char *failed; /* static; NULL = fine */
	bool no_memory;
	/* Members of the list entry that is being read. */
	struct prefix entry_addr;
	bool entry_has_addr, entry_primary;
	char entry_key[EC2_TEXT_SIZE], entry_value[EC2_TEXT_SIZE];
	uint64_t entry_card, entry_card_nics;
	const char *wanted;
};

static void stop(struct decoder *d, const char *why)
{
	if (!d->failed)
		d->failed = why;
	(void)XML_StopParser(d->parser, XML_FALSE);
}

/* ---- values ---- */

static int store_str(char *dst, size_t size, const char *text)
{
	return str_copy(dst, size, text) < 0 ? -EINVAL : 0;
}

static int store(const struct field *f, void *base, const char *text)
{
	char *at = (char *)base + f->offset;

	switch (f->kind) {
	case STR:
		return store_str(at, f->size, text);
	case STR_DUP: {
		char *copy = strdup(text);

		if (!copy)
			return -ENOMEM;
		free(*(char **)(void *)at);
		*(char **)(void *)at = copy;
		return 0;
	}
	case SECRET:
		return secret_set((struct secret *)(void *)at, text, strlen(text));
	case UINT: {
		uint64_t value;

		if (str_u64(text, 0, UINT_MAX, &value) < 0)
			return -EINVAL;
		if (f->size == sizeof(unsigned))
			*(unsigned *)(void *)at = (unsigned)value;
		else
			*(uint64_t *)(void *)at = value;
		return 0;
	}
	case BOOL:
		return str_bool(text, (bool *)(void *)at);
	case MAC:
		return macaddr_parse(text, (struct macaddr *)(void *)at);
	case ADDR:
		return ipaddr_parse(text, (struct ipaddr *)(void *)at);
	case SUBNET:
		return prefix_parse(text, (struct prefix *)(void *)at);
	case CALL:
		break;
	}
	return -EINVAL;
}

static const struct field *field_find(const struct field *fields, const char *path)
{
	for (const struct field *f = fields; f && f->path; f++) {
		if (strcmp(f->path, path) == 0)
			return f;
	}
	return NULL;
}

/* The rest of the path below the item, "" for the item itself, NULL when we are elsewhere. */
static const char *below_item(const struct decoder *d)
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

static const struct field *field_here(const struct decoder *d, void **base)
{
	const char *rest = below_item(d);
	const struct field *f = NULL;

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

static void outcome(struct decoder *d, int r)
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

static bool root_fits(const struct decoder *d, const char *name)
{
	size_t len = strlen(d->shape->action);

	/* The error document's root is "Response", or "ErrorResponse" in STS's dialect. */
	if (len == 0)
		return strcmp(name, "Response") == 0 || strcmp(name, "ErrorResponse") == 0;
	return strncmp(name, d->shape->action, len) == 0 && strcmp(name + len, "Response") == 0;
}

static bool path_push(struct decoder *d, const char *name)
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

static void path_pop(struct decoder *d)
{
	char *slash = strrchr(d->path, '/');

	d->path_len = slash ? (size_t)(slash - d->path) : 0;
	d->path[d->path_len] = '\0';
}

static void item_begin(struct decoder *d)
{
	const char *rest = below_item(d);

	if (rest && *rest == '\0' && d->shape->begin)
		outcome(d, d->shape->begin(d));
}

static void XMLCALL on_start(void *ctx, const XML_Char *qname, _unused_ const XML_Char **attributes)
{
	struct decoder *d = ctx;
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
	struct decoder *d = ctx;
	const char *rest = below_item(d);
	const char *text = d->text.text && d->text.len > 0 ? d->text.text : "";
	void *base = NULL;
	const struct field *f;

	if (d->failed)
		return;
	f = d->depth > 1 ? field_here(d, &base) : NULL;
	if (f)
		outcome(d, f->kind == CALL ? f->call(d, text) : store(f, base, text));
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
	struct decoder *d = ctx;

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

static int parse(struct decoder *d, const char *xml, size_t size)
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

static int decode(struct decoder *d, const struct shape *shape, const char *xml, size_t size, struct err *err)
{
	d->shape = shape;
	if (parse(d, xml, size) == 0)
		return 0;
	return err_set(err, d->no_memory ? ERR_RETRY : ERR_PROTOCOL, DOMAIN, "%s answer: %s", shape->action, d->failed);
}

/* ---- network interfaces ---- */

#define NIC(path_, kind_, member_)                                                                                     \
	{                                                                                                              \
		.path = (path_), .kind = (kind_), .offset = offsetof(struct ec2_nic, member_),                         \
		.size = sizeof(((struct ec2_nic *)0)->member_)                                                         \
	}
#define CALLS(path_, call_)                                                                                            \
	{                                                                                                              \
		.path = (path_), .kind = CALL, .call = (call_)                                                         \
	}
#define END_OF_FIELDS                                                                                                  \
	{                                                                                                              \
		.path = NULL                                                                                           \
	}

static int entry_addr(struct decoder *d, const char *text)
{
	d->entry_has_addr = true;
	return prefix_parse(text, &d->entry_addr);
}

static int entry_primary(struct decoder *d, const char *text)
{
	return str_bool(text, &d->entry_primary);
}

static void entry_reset(struct decoder *d)
{
	d->entry_has_addr = d->entry_primary = false;
	d->entry_key[0] = d->entry_value[0] = '\0';
}

static int entry_addr_end(struct decoder *d, _unused_ const char *text)
{
	struct ec2_nic *n = d->item;
	int r = 0;

	if (!d->entry_has_addr)
		r = -EINVAL;
	else if (!d->entry_primary)
		r = cloud_nic_add_block(&n->nic, &d->entry_addr);
	entry_reset(d);
	return r;
}

static int entry_prefix_end(struct decoder *d, const char *text)
{
	d->entry_primary = false;
	return entry_addr_end(d, text);
}

static int entry_key(struct decoder *d, const char *text)
{
	return store_str(d->entry_key, sizeof(d->entry_key), text);
}

/* Values of other people's tags may be long in bytes; we only need those of ours, which are not. */
static int entry_value(struct decoder *d, const char *text)
{
	(void)str_copy(d->entry_value, sizeof(d->entry_value), text);
	return 0;
}

static int entry_tag_end(struct decoder *d, _unused_ const char *text)
{
	struct ec2_nic *n = d->item;

	if (str_equal(d->entry_key, EC2_TAG_OWNER))
		(void)str_copy(n->owner, sizeof(n->owner), d->entry_value);
	else if (str_equal(d->entry_key, "node.berth.io/no_manage") ||
		 str_equal(d->entry_key, "node.k8s.amazonaws.com/no_manage"))
		n->no_manage = !str_equal(d->entry_value, "false");
	entry_reset(d);
	return 0;
}

static int group_id(struct decoder *d, const char *text)
{
	struct ec2_nic *n = d->item;

	if (n->group_count >= EC2_GROUPS_MAX)
		return -ENOSPC;
	return store_str(n->groups[n->group_count++], EC2_ID_SIZE, text);
}

static int description(struct decoder *d, const char *text)
{
	struct ec2_nic *n = d->item;

	/* For people only: cutting it is fine. */
	(void)str_copy(n->description, sizeof(n->description), text);
	return 0;
}

/* IPv6-only interfaces may carry an empty element. */
static int primary_addr(struct decoder *d, const char *text)
{
	struct ec2_nic *n = d->item;

	return *text ? ipaddr_parse(text, &n->nic.primary_addr) : 0;
}

static const struct field nic_fields[] = {
	NIC("networkInterfaceId", STR, nic.id),
	NIC("macAddress", MAC, nic.mac),
	NIC("subnetId", STR, subnet),
	NIC("interfaceType", STR, type),
	NIC("status", STR, status),
	NIC("requesterManaged", BOOL, requester_managed),
	NIC("operator/managed", BOOL, operator_managed),
	NIC("attachment/attachmentId", STR, nic.handle),
	NIC("attachment/instanceId", STR, instance),
	NIC("attachment/status", STR, attachment_status),
	NIC("attachment/deviceIndex", UINT, nic.slot),
	NIC("attachment/networkCardIndex", UINT, card),
	NIC("attachment/deleteOnTermination", BOOL, delete_on_termination),
	CALLS("description", description),
	CALLS("privateIpAddress", primary_addr),
	CALLS("groupSet/item/groupId", group_id),
	CALLS("privateIpAddressesSet/item/privateIpAddress", entry_addr),
	CALLS("privateIpAddressesSet/item/primary", entry_primary),
	CALLS("privateIpAddressesSet/item", entry_addr_end),
	CALLS("ipv4PrefixSet/item/ipv4Prefix", entry_addr),
	CALLS("ipv4PrefixSet/item", entry_prefix_end),
	CALLS("tagSet/item/key", entry_key),
	CALLS("tagSet/item/value", entry_value),
	CALLS("tagSet/item", entry_tag_end),
	END_OF_FIELDS,
};

void ec2_nic_done(struct ec2_nic *nic)
{
	cloud_nic_done(&nic->nic);
	memset(nic, 0, sizeof(*nic));
}

void ec2_nics_done(struct ec2_nics *nics)
{
	for (unsigned i = 0; i < nics->count; i++)
		ec2_nic_done(&nics->nics[i]);
	free(nics->nics);
	memset(nics, 0, sizeof(*nics));
}

struct nics_out {
	struct ec2_nics *nics;
	char *next; /* owned */
};

static int nics_begin(struct decoder *d)
{
	struct ec2_nics *nics = ((struct nics_out *)d->out)->nics;
	struct ec2_nic *longer;

	if (nics->count >= EC2_NICS_MAX)
		return -ENOSPC;
	longer = reallocarray(nics->nics, nics->count + 1, sizeof(*longer));
	if (!longer)
		return -ENOMEM;
	nics->nics = longer;
	d->item = &longer[nics->count++];
	memset(d->item, 0, sizeof(struct ec2_nic));
	entry_reset(d);
	return 0;
}

static int nic_complete(struct decoder *d)
{
	const struct ec2_nic *n = d->item;

	return n && n->nic.id[0] ? 0 : -EINVAL;
}

static const struct field nics_root[] = {
	{ .path = "nextToken", .kind = STR_DUP, .offset = offsetof(struct nics_out, next) },
	END_OF_FIELDS,
};

static const struct shape nics_shape = {
	.action = "DescribeNetworkInterfaces",
	.item = "networkInterfaceSet/item",
	.root_fields = nics_root,
	.item_fields = nic_fields,
	.begin = nics_begin,
	.end = nic_complete,
};

int ec2_decode_nics(const char *xml, size_t size, struct ec2_nics *ret, char **ret_next, struct err *err)
{
	struct nics_out out = { .nics = ret };
	struct decoder d = { .out = &out };
	unsigned before = ret->count;

	if (decode(&d, &nics_shape, xml, size, err) < 0) {
		free(out.next);
		while (ret->count > before)
			ec2_nic_done(&ret->nics[--ret->count]);
		return -1;
	}
	if (out.next && !*out.next) {
		free(out.next);
		out.next = NULL;
	}
	*ret_next = out.next;
	return 0;
}

static int create_begin(struct decoder *d)
{
	/* A second one would be appended to the first. */
	if (((struct ec2_nic *)d->out)->nic.id[0])
		return -EINVAL;
	d->item = d->out;
	return 0;
}

static const struct shape create_shape = {
	.action = "CreateNetworkInterface",
	.item = "networkInterface",
	.item_fields = nic_fields,
	.begin = create_begin,
	.end = nic_complete,
};

int ec2_decode_create(const char *xml, size_t size, struct ec2_nic *ret, struct err *err)
{
	struct ec2_nic nic = { 0 };
	struct decoder d = { .out = &nic };

	if (decode(&d, &create_shape, xml, size, err) == 0 && nic.nic.id[0]) {
		*ret = nic;
		return 0;
	}
	ec2_nic_done(&nic);
	return d.failed ? -1 : err_set(err, ERR_PROTOCOL, DOMAIN, "CreateNetworkInterface answer: no interface");
}

/* ---- the small answers ---------------------------------------------------------------------------------------------
 */

int ec2_decode_attach(const char *xml, size_t size, char ret[static EC2_ID_SIZE], struct err *err)
{
	static const struct field fields[] = {
		{ .path = "attachmentId", .kind = STR, .offset = 0, .size = EC2_ID_SIZE },
		END_OF_FIELDS,
	};
	static const struct shape shape = { .action = "AttachNetworkInterface", .item = "", .root_fields = fields };
	char id[EC2_ID_SIZE] = "";
	struct decoder d = { .out = id };

	if (decode(&d, &shape, xml, size, err) < 0)
		return -1;
	if (!id[0])
		return err_set(err, ERR_PROTOCOL, DOMAIN, "AttachNetworkInterface answer: no attachment");
	memcpy(ret, id, sizeof(id));
	return 0;
}

static int assigned(struct decoder *d, const char *text)
{
	struct prefix prefix;

	if (prefix_parse(text, &prefix) < 0)
		return -EINVAL;
	return cloud_nic_add_block(d->out, &prefix);
}

int ec2_decode_assign(const char *xml, size_t size, struct cloud_nic *ret, struct err *err)
{
	static const struct field fields[] = {
		{ .path = "networkInterfaceId",
		  .kind = STR,
		  .offset = offsetof(struct cloud_nic, id),
		  .size = EC2_ID_SIZE },
		CALLS("assignedPrivateIpAddressesSet/item/privateIpAddress", assigned),
		CALLS("assignedIpv4PrefixSet/item/ipv4Prefix", assigned),
		END_OF_FIELDS,
	};
	static const struct shape shape = { .action = "AssignPrivateIpAddresses", .item = "", .root_fields = fields };
	struct cloud_nic nic = { 0 };
	struct decoder d = { .out = &nic };

	if (decode(&d, &shape, xml, size, err) < 0) {
		cloud_nic_done(&nic);
		return -1;
	}
	*ret = nic;
	return 0;
}

struct type_out {
	struct ec2_type item;
	struct ec2_type wanted; /* zero until it was found */
};

static int type_begin(struct decoder *d)
{
	d->item = &((struct type_out *)d->out)->item;
	memset(d->item, 0, sizeof(struct ec2_type));
	return 0;
}

static int card_index(struct decoder *d, const char *text)
{
	return str_u64(text, 0, UINT_MAX, &d->entry_card);
}

static int card_nics(struct decoder *d, const char *text)
{
	return str_u64(text, 0, UINT_MAX, &d->entry_card_nics);
}

static int card_end(struct decoder *d, _unused_ const char *text)
{
	struct ec2_type *type = d->item;

	if (d->entry_card == 0)
		type->nics_card0 = d->entry_card_nics;
	d->entry_card = d->entry_card_nics = 0;
	return 0;
}

static int hypervisor(struct decoder *d, const char *text)
{
	struct ec2_type *type = d->item;

	type->nitro = type->nitro || str_equal(text, "nitro");
	return 0;
}

/* Bare metal has no hypervisor, and takes prefixes too. */
static int bare_metal(struct decoder *d, const char *text)
{
	struct ec2_type *type = d->item;

	type->nitro = type->nitro || str_equal(text, "true");
	return 0;
}

static int type_end(struct decoder *d)
{
	struct type_out *out = d->out;

	if (str_equal(out->item.name, d->wanted))
		out->wanted = out->item;
	return 0;
}

#define TYPE(path_, kind_, member_)                                                                                    \
	{                                                                                                              \
		.path = (path_), .kind = (kind_), .offset = offsetof(struct ec2_type, member_),                        \
		.size = sizeof(((struct ec2_type *)0)->member_)                                                        \
	}

int ec2_decode_type(const char *xml, size_t size, const char *name, struct ec2_type *ret, struct err *err)
{
	static const struct field fields[] = {
		TYPE("instanceType", STR, name),
		TYPE("networkInfo/maximumNetworkInterfaces", UINT, nics_total),
		TYPE("networkInfo/ipv4AddressesPerInterface", UINT, ipv4_per_nic),
		TYPE("networkInfo/ipv6AddressesPerInterface", UINT, ipv6_per_nic),
		TYPE("networkInfo/maximumNetworkCards", UINT, cards),
		CALLS("hypervisor", hypervisor),
		CALLS("bareMetal", bare_metal),
		CALLS("networkInfo/networkCards/item/networkCardIndex", card_index),
		CALLS("networkInfo/networkCards/item/maximumNetworkInterfaces", card_nics),
		CALLS("networkInfo/networkCards/item", card_end),
		END_OF_FIELDS,
	};
	static const struct shape shape = {
		.action = "DescribeInstanceTypes",
		.item = "instanceTypeSet/item",
		.item_fields = fields,
		.begin = type_begin,
		.end = type_end,
	};
	struct type_out out = { 0 };
	struct decoder d = { .out = &out, .wanted = name };

	if (decode(&d, &shape, xml, size, err) < 0)
		return -1;
	if (out.wanted.ipv4_per_nic == 0 || (out.wanted.nics_total == 0 && out.wanted.nics_card0 == 0))
		return err_set(err, ERR_PROTOCOL, DOMAIN, "DescribeInstanceTypes answer: no limits of %s", name);
	*ret = out.wanted;
	return 0;
}

struct subnet_out {
	char id[EC2_ID_SIZE];
	struct prefix prefix;
};

static int subnet_begin(struct decoder *d)
{
	d->item = d->out;
	memset(d->item, 0, sizeof(struct subnet_out));
	return 0;
}

int ec2_decode_subnet(const char *xml, size_t size, const char *id, struct prefix *ret, struct err *err)
{
	static const struct field fields[] = {
		{ .path = "subnetId", .kind = STR, .offset = offsetof(struct subnet_out, id), .size = EC2_ID_SIZE },
		{ .path = "cidrBlock", .kind = SUBNET, .offset = offsetof(struct subnet_out, prefix) },
		END_OF_FIELDS,
	};
	static const struct shape shape = {
		.action = "DescribeSubnets",
		.item = "subnetSet/item",
		.item_fields = fields,
		.begin = subnet_begin,
	};
	struct subnet_out out = { 0 };
	struct decoder d = { .out = &out };

	if (decode(&d, &shape, xml, size, err) < 0)
		return -1;
	if (!str_equal(out.id, id) || out.prefix.addr.family != IP_V4)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "DescribeSubnets answer: no IPv4 range of %s", id);
	*ret = out.prefix;
	return 0;
}

int ec2_decode_ack(const char *xml, size_t size, const char *action, struct err *err)
{
	static const struct field fields[] = {
		{ .path = "return", .kind = BOOL, .offset = 0, .size = sizeof(bool) },
		END_OF_FIELDS,
	};
	const struct shape shape = { .action = action, .item = "", .root_fields = fields };
	bool done = true;
	struct decoder d = { .out = &done };

	if (decode(&d, &shape, xml, size, err) < 0)
		return -1;
	return done ? 0 : err_set(err, ERR_PROTOCOL, DOMAIN, "%s answer: not done", action);
}

static int expiration(struct decoder *d, const char *text)
{
	return aws_time_parse(text, &((struct aws_creds *)d->out)->expires_us);
}

#define STS_CREDS "AssumeRoleWithWebIdentityResult/Credentials/"

int sts_decode_creds(const char *xml, size_t size, struct aws_creds *ret, struct err *err)
{
	static const struct field fields[] = {
		{ .path = STS_CREDS "AccessKeyId", .kind = SECRET, .offset = offsetof(struct aws_creds, access_key) },
		{ .path = STS_CREDS "SecretAccessKey",
		  .kind = SECRET,
		  .offset = offsetof(struct aws_creds, secret_key) },
		{ .path = STS_CREDS "SessionToken", .kind = SECRET, .offset = offsetof(struct aws_creds, token) },
		CALLS(STS_CREDS "Expiration", expiration),
		END_OF_FIELDS,
	};
	static const struct shape shape = { .action = "AssumeRoleWithWebIdentity", .item = "", .root_fields = fields };
	struct aws_creds creds = { 0 };
	struct decoder d = { .out = &creds };

	/* Now, so that growing later leaves no piece of a secret behind. */
	(void)strbuf_reserve(&d.text, TEXT_MAX);
	if (decode(&d, &shape, xml, size, err) == 0 && creds.access_key.size > 0 && creds.secret_key.size > 0 &&
	    creds.token.size > 0 && creds.expires_us > 0) {
		*ret = creds;
		return 0;
	}
	aws_creds_done(&creds);
	return d.failed ? -1 : err_set(err, ERR_PROTOCOL, DOMAIN, "%s answer: no credentials", shape.action);
}

/* The first one counts. */
static int error_code(struct decoder *d, const char *text)
{
	struct ec2_error *out = d->out;

	if (!out->code[0])
		(void)str_copy(out->code, sizeof(out->code), text);
	return 0;
}

static int error_message(struct decoder *d, const char *text)
{
	struct ec2_error *out = d->out;

	if (!out->message[0])
		(void)str_copy(out->message, sizeof(out->message), text);
	return 0;
}

int ec2_decode_error(const char *xml, size_t size, struct ec2_error *ret)
{
	static const struct field fields[] = {
		CALLS("Errors/Error/Code", error_code),
		CALLS("Errors/Error/Message", error_message),
		CALLS("Error/Code", error_code),
		CALLS("Error/Message", error_message),
		END_OF_FIELDS,
	};
	static const struct shape shape = { .action = "", .item = "", .root_fields = fields };
	struct ec2_error out = { 0 };
	struct decoder d = { .out = &out };
	struct err err;

	if (decode(&d, &shape, xml, size, &err) < 0 || !out.code[0])
		return -1;
	*ret = out;
	return 0;
}
