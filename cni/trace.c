/* SPDX-License-Identifier: Apache-2.0 */
/* traceparent: https://www.w3.org/TR/trace-context/#traceparent-header-field-values */
#include "cni/trace.h"

#include <string.h>

#include "berth/attr.h"
#include "berth/str.h"

#define VERSION_DIGITS 2
#define ID_DIGITS      (TRACE_ID_SIZE - 1)
#define PARENT_DIGITS  16
#define FLAG_DIGITS    2

/* Cuts @count hex digits, lower case as the standard wants them, off the front. Return: NULL if they are not there. */
static const char *digits(const char **at, size_t count)
{
	const char *from = *at;

	if (strspn(from, "0123456789abcdef") != count)
		return NULL;
	*at += count;
	return from;
}

static bool is_all(char c, const char *text, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (text[i] != c)
			return false;
	return true;
}

static bool skip_dash(const char **at)
{
	return *(*at)++ == '-';
}

/* Version 00 has four parts; a later one may have more behind them, and ff is none. */
bool trace_id(const char *traceparent, char ret[static TRACE_ID_SIZE])
{
	const char *at = traceparent, *version, *id, *parent;

	version = digits(&at, VERSION_DIGITS);
	if (!version || is_all('f', version, VERSION_DIGITS) || !skip_dash(&at))
		return false;
	id = digits(&at, ID_DIGITS);
	if (!id || is_all('0', id, ID_DIGITS) || !skip_dash(&at))
		return false;
	parent = digits(&at, PARENT_DIGITS);
	if (!parent || is_all('0', parent, PARENT_DIGITS) || !skip_dash(&at) || !digits(&at, FLAG_DIGITS))
		return false;
	if (*at && (*at != '-' || is_all('0', version, VERSION_DIGITS)))
		return false;
	memcpy(ret, id, ID_DIGITS);
	ret[ID_DIGITS] = '\0';
	return true;
}
