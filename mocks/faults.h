/* SPDX-License-Identifier: Apache-2.0 */
/* Faults on demand: what goes wrong with the next calls of one action of a mock cloud. Shared by all of them. */
#ifndef MOCKS_FAULTS_H
#define MOCKS_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct json_t;

#define FAULTS_MAX    64      /* switches set at one time; tests use a handful */
#define FAULT_FOREVER (-1)    /* as count: until faults_clear() */
#define FAULT_MS_MAX  3600000 /* ms; longer than any client waits */

enum fault_kind {
	FAULT_LATENCY,     /* wait ms, then do it and answer */
	FAULT_THROTTLE,    /* the cloud's own throttling answer; nothing is done */
	FAULT_ERROR,       /* status, code and message as given; nothing is done */
	FAULT_LOST_ANSWER, /* do it, then close the connection without an answer */
	FAULT_LATE_ANSWER, /* do it, then answer after ms */
	FAULT_HTML502,     /* a gateway's page instead of an answer; nothing is done */
	FAULT_GARBAGE,     /* do it, then answer 200 with bytes that are no document */
	FAULT_HANG,        /* do nothing, say nothing for ms, then close the connection */
	FAULT_HALF,        /* do it, then send half of the answer and close the connection */
	FAULT_KIND_COUNT
};

struct fault {
	char action[64]; /* of the cloud's API, "imds" for metadata, "*" for any */
	char match[128]; /* only calls whose detail (metadata: the path) contains this; "" = all */
	enum fault_kind kind;
	int64_t count; /* calls left, FAULT_FOREVER */
	int64_t ms;
	int status;    /* ERROR: HTTP status; THROTTLE: 0 = the cloud's own */
	char code[64]; /* ERROR, THROTTLE: the cloud's word; "" = its usual one */
	char message[256];
};

struct faults {
	struct fault items[FAULTS_MAX];
	unsigned count;
};

/**
 * fault_parse() - {"action":"...","kind":"...","count":N,"ms":M,"code":"...","message":"...","status":N,"match":"..."}
 *
 * Only action and kind are required; count is 1, ms is 1000, status is 500 when absent.
 * Errors: PROTOCOL.
 */
int fault_parse(const struct json_t *json, struct fault *ret, struct err *err);
/** faults_add() - switch one on, behind those that are set. Return: 0, or -ENOSPC beyond FAULTS_MAX. */
int faults_add(struct faults *faults, const struct fault *fault);
/** faults_take() - use up one call of the first switch that fits. Return: is there one? Then *ret is a copy. */
bool faults_take(struct faults *faults, const char *action, const char *detail, struct fault *ret);
void faults_clear(struct faults *faults);
/** fault_kind_name() - "latency", "throttle", ... */
const char *fault_kind_name(enum fault_kind kind);

#endif
