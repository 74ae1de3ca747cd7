/* SPDX-License-Identifier: Apache-2.0 */
#include "xml.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "berth/clock.h"

static void indent(struct xml *xml)
{
	for (unsigned i = 0; i < xml->depth; i++)
		strbuf_add(xml->out, "    ");
}

void xml_open(struct xml *xml, const char *name, const char *attrs)
{
	indent(xml);
	strbuf_printf(xml->out, "<%s%s%s>\n", name, attrs ? " " : "", attrs ? attrs : "");
	xml->depth++;
}

void xml_close(struct xml *xml, const char *name)
{
	xml->depth--;
	indent(xml);
	strbuf_printf(xml->out, "</%s>\n", name);
}

void xml_empty(struct xml *xml, const char *name)
{
	indent(xml);
	strbuf_printf(xml->out, "<%s/>\n", name);
}

static void add_escaped(struct strbuf *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		switch (c) {
		case '<':
			strbuf_add(out, "&lt;");
			break;
		case '>':
			strbuf_add(out, "&gt;");
			break;
		case '&':
			strbuf_add(out, "&amp;");
			break;
		case '"':
			strbuf_add(out, "&quot;");
			break;
		default: /* XML 1.0 has no way to write other control characters */
			if (c >= 0x20 || c == '\t' || c == '\n' || c == '\r')
				strbuf_add_bytes(out, text, 1);
		}
	}
}

void xml_text(struct xml *xml, const char *name, const char *value)
{
	indent(xml);
	strbuf_printf(xml->out, "<%s>", name);
	add_escaped(xml->out, value);
	strbuf_printf(xml->out, "</%s>\n", name);
}

void xml_textf(struct xml *xml, const char *name, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	xml_text(xml, name, text);
}

void xml_bool(struct xml *xml, const char *name, bool value)
{
	xml_text(xml, name, value ? "true" : "false");
}

void xml_uint(struct xml *xml, const char *name, uint64_t value)
{
	xml_textf(xml, name, "%llu", (unsigned long long)value);
}

void time_text(int64_t wall_us, bool seconds_only, char ret[static 32])
{
	time_t seconds = (time_t)(wall_us / USEC_PER_SEC);
	struct tm tm = { 0 };

	(void)gmtime_r(&seconds, &tm);
	size_t len = strftime(ret, 32, "%Y-%m-%dT%H:%M:%S", &tm);

	if (seconds_only)
		(void)snprintf(ret + len, 32 - len, "Z");
	else
		(void)snprintf(ret + len, 32 - len, ".%03dZ", (int)(wall_us / USEC_PER_MSEC % 1000));
}

void xml_time(struct xml *xml, const char *name, int64_t wall_us)
{
	char text[32];

	time_text(wall_us, false, text);
	xml_text(xml, name, text);
}
