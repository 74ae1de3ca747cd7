/* SPDX-License-Identifier: Apache-2.0 */
/* Compiler attributes and the ownership idioms of the project. */
#ifndef BERTH_ATTR_H
#define BERTH_ATTR_H

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f)      __attribute__((cleanup(f)))
#define _must_check_      __attribute__((warn_unused_result))
#define _printf_(fmt, va) __attribute__((format(printf, fmt, va)))
#define _noreturn_        __attribute__((noreturn))
#define _unused_          __attribute__((unused))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/** take_ptr(p) - give the pointer away: yields @p and leaves NULL behind, so that a _cleanup_ on it does nothing. */
#define take_ptr(p)                                                                                                    \
	__extension__({                                                                                                \
		__auto_type took_ = (p);                                                                               \
		(p) = NULL;                                                                                            \
		took_;                                                                                                 \
	})

/** take_fd(fd) - the same for a file descriptor; -1 stays behind. */
#define take_fd(fd)                                                                                                    \
	__extension__({                                                                                                \
		int took_ = (fd);                                                                                      \
		(fd) = -1;                                                                                             \
		took_;                                                                                                 \
	})

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

#define _cleanup_free_  _cleanup_(cleanup_free)
#define _cleanup_close_ _cleanup_(cleanup_close)

#endif
