/* SPDX-License-Identifier: Apache-2.0 */
/* The trace that a runtime's call belongs to (W3C Trace Context), so that its log and ours can be read together. */
#ifndef CNI_TRACE_H
#define CNI_TRACE_H

#include <stdbool.h>

#define TRACE_ID_SIZE 33 /* bytes with the terminator */

/** trace_id() - of a TRACEPARENT. Return: false, and nothing written, when it is none as the standard has them. */
bool trace_id(const char *traceparent, char ret[static TRACE_ID_SIZE]);

#endif
