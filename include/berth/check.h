/* SPDX-License-Identifier: Apache-2.0 */
/* CHECK(): an assertion on our own state that stays in every build. Never on foreign data: that is an error, no bug. */
#ifndef BERTH_CHECK_H
#define BERTH_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#include "berth/attr.h"

/** check_failed() - say where and what, then abort; use CHECK(). */
static inline _noreturn_ void check_failed(const char *file, int line, const char *what)
{
	(void)fprintf(stderr, "%s:%d: check failed: %s\n", file, line, what);
	abort();
}

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (__builtin_expect(!(condition), 0))                                                                 \
			check_failed(__FILE__, __LINE__, #condition);                                                  \
	} while (0)

/** CHECK_NEVER() - a place that control never reaches. */
#define CHECK_NEVER(what) check_failed(__FILE__, __LINE__, what)

#endif
