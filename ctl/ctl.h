/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator types: one file per command, one table in main.c. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>
#include <stdio.h>

struct err;
struct json_t;
struct proto_reply;
struct proto_request;

/** struct ctl - what every command gets. */
struct ctl {
	const char *socket_path;
	bool json; /* print the document instead of drawing it */
	bool colour;
	const char *arg; /* of the command; NULL: none */
	FILE *out;       /* borrowed */
};

/** ctl_call() - ask the daemon. @ret: a reply that is ok, owned. Errors: those of proto_call(), or the daemon's. */
int ctl_call(const struct ctl *ctl, const struct proto_request *request, struct proto_reply *ret, struct err *err);
/** ctl_state() - the daemon's state document. @ret: owned (json_decref). Errors: those of proto_call(), or the daemon's. */
int ctl_state(const struct ctl *ctl, struct json_t **ret, struct err *err);

/** ctl_status() - one screen: who the node is, NICs with one square per address, what is short and why. */
int ctl_status(const struct ctl *ctl, struct err *err);
/** status_draw() - the drawing alone, of a state document. Errors: PROTOCOL if it is not one. */
int status_draw(const struct ctl *ctl, const struct json_t *state, struct err *err);

/** ctl_pause() - tell the daemon what to leave undone in the cloud: none, releases, all. Errors: INVALID (other word). */
int ctl_pause(const struct ctl *ctl, struct err *err);

#endif
