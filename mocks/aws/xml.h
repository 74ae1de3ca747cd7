/* SPDX-License-Identifier: Apache-2.0 */
/* Writing XML the way EC2 does: prologue, four spaces a level, empty lists as <x/>. */
#ifndef MOCKS_AWS_XML_H
#define MOCKS_AWS_XML_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/attr.h"
#include "berth/str.h"

struct xml {
	struct strbuf *out; /* borrowed */
	unsigned depth;
};

/** xml_open() - <name>; @attrs is put in as it is and may be NULL. */
void xml_open(struct xml *xml, const char *name, const char *attrs);
void xml_close(struct xml *xml, const char *name);
/** xml_empty() - <name/>, as EC2 writes a list without items. */
void xml_empty(struct xml *xml, const char *name);
/** xml_text() - <name>value</name>, escaped. */
void xml_text(struct xml *xml, const char *name, const char *value);
_printf_(3, 4) void xml_textf(struct xml *xml, const char *name, const char *fmt, ...);
void xml_bool(struct xml *xml, const char *name, bool value);
void xml_uint(struct xml *xml, const char *name, uint64_t value);
/** xml_time() - a wall-clock time in µs as 2026-01-01T00:00:00.000Z. */
void xml_time(struct xml *xml, const char *name, int64_t wall_us);

/** time_text() - the same into @ret; without milliseconds when @seconds_only. */
void time_text(int64_t wall_us, bool seconds_only, char ret[static 32]);

#endif
