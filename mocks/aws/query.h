/* SPDX-License-Identifier: Apache-2.0 */
/* The parameters of one EC2 query request. */
#ifndef MOCKS_AWS_QUERY_H
#define MOCKS_AWS_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "berth/attr.h"

#define QUERY_PARAMS_MAX 4096 /* of one request; 1000 ids with filters stay below */
#define QUERY_NAME_MAX   128  /* bytes of a parameter's name */

struct query_param {
	const char *name;
	const char *value;
};

struct query {
	char *text;                 /* owned, what the parameters point into */
	struct query_param *params; /* owned */
	unsigned count;
};

/** query_parse() - decode a form. Return: 0, -EINVAL (bad escape, no '=', NUL inside), -E2BIG or -ENOMEM. */
int query_parse(const char *body, size_t size, struct query *ret);
void query_done(struct query *query);
/** query_get() - the value of that name, NULL when absent. */
const char *query_get(const struct query *query, const char *name);
/** query_getf() - the same, the name printf-ed. */
_printf_(2, 3) const char *query_getf(const struct query *query, const char *fmt, ...);
/** query_has() - is there a parameter of that name, or one below it ("Name.1", "Name.Child")? */
bool query_has(const struct query *query, const char *name);
/** query_unknown() - the first parameter whose name, each number written as N, is not one of the blank-separated
 *  words of
 *  @allowed. NULL = all are. */
const char *query_unknown(const struct query *query, const char *allowed);
/** query_canonical() - all parameters but @but in order of their names: two requests mean the same when it is equal.
 *  Return: owned or NULL. */
char *query_canonical(const struct query *query, const char *but);
/** query_match() - EC2's filter patterns: '*' any run, '?' one character, '\' takes the next literally. */
bool query_match(const char *pattern, const char *text);

#endif
