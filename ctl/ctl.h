/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator types: one file per command, one table in main.c. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>
#include <stdio.h>

struct err;
struct json_t;

/** struct ctl - what every command gets. */
struct ctl {
	const char *socket_path;
	bool json; /* print the document instead of drawing it */
	bool colour;
	FILE *out; /* borrowed */
};

/** ctl_state() - the daemon's state document. @ret: owned (json_decref). Errors: those of proto_call(), or the daemon's. */
int ctl_state(const struct ctl *ctl, struct json_t **ret, struct err *err);

/** ctl_status() - one screen: who the node is, NICs with one square per address, what is short and why. */
int ctl_status(const struct ctl *ctl, struct err *err);
/** status_draw() - the drawing alone, of a state document. Errors: PROTOCOL if it is not one. */
int status_draw(const struct ctl *ctl, const struct json_t *state, struct err *err);

#endif
