/* SPDX-License-Identifier: Apache-2.0 */
#include "form.h"

#include <stdio.h>
#include <string.h>

#include "berth/str.h"

#define EC2_VERSION "2016-11-15"
#define STS_VERSION "2011-06-15"

static void encode(struct strbuf *form, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";

	while (*text) {
		size_t run = strspn(text, plain);
		unsigned char c;
		char escaped[3];

		strbuf_add_bytes(form, text, run);
		text += run;
		if (!*text)
			return;
		c = (unsigned char)*text++;
		escaped[0] = '%';
		escaped[1] = hex[c >> 4];
		escaped[2] = hex[c & 15];
		strbuf_add_bytes(form, escaped, sizeof(escaped));
	}
}

static void begin(struct strbuf *form, const char *action, const char *version)
{
	strbuf_add(form, "Action=");
	encode(form, action);
	strbuf_add(form, "&Version=");
	strbuf_add(form, version);
}

void ec2_form_begin(struct strbuf *form, const char *action)
{
	begin(form, action, EC2_VERSION);
}

void sts_form_begin(struct strbuf *form, const char *action)
{
	begin(form, action, STS_VERSION);
}

void ec2_form_add(struct strbuf *form, const char *name, const char *value)
{
	strbuf_add(form, "&");
	encode(form, name);
	strbuf_add(form, "=");
	encode(form, value);
}

void ec2_form_add_uint(struct strbuf *form, const char *name, unsigned value)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%u", value);
	ec2_form_add(form, name, text);
}
