/* SPDX-License-Identifier: Apache-2.0 */
/* Walking one XML answer by a table of paths; xml.c says how. The only door to expat. Context of all: any thread. */
#ifndef BERTH_AWS_XML_H
#define BERTH_AWS_XML_H

#include <stdbool.h>
#include <stddef.h>

#include "berth/attr.h"
#include "berth/str.h"

struct err;
struct xml_decoder;

#define XML_PATH_SIZE 1024 /* bytes of a path below the root, terminator included */

enum field_kind {
	FIELD_STR,     /* char[size]; a longer text is an error */
	FIELD_STR_DUP, /* char *, owned */
	FIELD_SECRET,  /* struct secret */
	FIELD_UINT,    /* unsigned or uint64_t, by size */
	FIELD_BOOL,    /* bool */
	FIELD_MAC,     /* struct macaddr */
	FIELD_ADDR,    /* struct ipaddr */
	FIELD_SUBNET,  /* struct prefix */
	FIELD_CALL,    /* the field's own function */
};

/** struct xml_field - where the text of the element at a path goes; a table ends with FIELD_END. */
struct xml_field {
	const char *path;
	enum field_kind kind;
	size_t offset, size;
	int (*call)(struct xml_decoder *d, const char *text); /* kind FIELD_CALL: 0 or -errno */
};

/** struct xml_shape - what one answer looks like. */
struct xml_shape {
	const char *action; /* the root is this and "Response" */
	const char *item;   /* "" = none, "." = the root itself */
	const struct xml_field *root_fields;
	const struct xml_field *item_fields;
	int (*begin)(struct xml_decoder *d); /* an item starts: sets d->item; 0 or -errno */
	int (*end)(struct xml_decoder *d);   /* an item is complete; 0 or -errno */
};

/** struct xml_decoder - one walk; in the caller's frame. */
struct xml_decoder {
	void *parser; /* XML_Parser */
	const struct xml_shape *shape;
	void *out;                /* of root_fields */
	void *item;               /* of item_fields; NULL outside an item */
	char path[XML_PATH_SIZE]; /* below the root */
	size_t path_len;
	unsigned depth;
	bool root_seen;
	bool collecting;
	struct strbuf text;
	const char *failed; /* static; NULL = fine */
	bool no_memory;
	void *scratch; /* borrowed; of begin, end and the fields' functions, nobody else's */
	bool secret;   /* texts are: their buffer never moves and so leaves no copy behind */
};

#define FIELD_CALLS(path_, call_)                                                                                      \
	{                                                                                                              \
		.path = (path_), .kind = FIELD_CALL, .call = (call_)                                                   \
	}
#define FIELD_END                                                                                                      \
	{                                                                                                              \
		.path = NULL                                                                                           \
	}

/**
 * xml_decode() - walk a document of @size bytes
 * @d: zeroed but for out, scratch and secret; @shape: what is in it
 * Return: 0, or -1 with d->failed set. Errors: PROTOCOL (another document, a limit), RETRY (no memory).
 */
_must_check_ int xml_decode(struct xml_decoder *d, const struct xml_shape *shape, const char *xml, size_t size,
			    struct err *err);

#endif
