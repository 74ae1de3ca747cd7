/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin's words to the daemon. */
#ifndef CNI_CLIENT_H
#define CNI_CLIENT_H

#include <stdint.h>

#include "cni/plugin.h"

struct cnierr;
struct err;
struct proto_pending;
struct proto_reply;
struct proto_request;

/* ms over conf.timeout_ms that an ADD waits: the daemon uses up the time it was given and then still says why. */
#define CLIENT_GRACE_MS 1000
/* ms, or conf.timeout_ms if that is less, for what the daemon answers at once: CONFIRM and DEL. It is one thread that
 * never blocks; more means that it hangs. */
#define CLIENT_PROMPT_MS 5000
/* The same for taking back a reservation: the daemon reclaims what is never confirmed, so that little is lost. */
#define CLIENT_UNDO_MS 1000

/* The same for STATUS, which runtimes ask every few seconds and wait for. */
#define CLIENT_STATUS_MS 1000

/** client_request() - the request of @op for this pod interface. */
void client_request(const struct cni_run *run, enum proto_op op, struct proto_request *ret);

/**
 * client_add() - ask for an address
 * Return: 0 with a reply that is ok and has an address, -1. A reservation may exist after a failure for which
 * *ret_undo is true.
 */
int client_add(const struct cni_run *run, struct proto_reply *ret, bool *ret_undo, struct cnierr *cnierr);

/** client_confirm() - say that the pod is wired. @ret: what client_confirmed() waits for; proto_pending_done(). */
int client_confirm(const struct cni_run *run, struct proto_pending *ret, struct cnierr *cnierr);
/** client_confirmed() - hear that the lease is bound. */
int client_confirmed(const struct proto_pending *pending, struct cnierr *cnierr);

/** client_check() - the lease as the daemon has it. Return: 0 with a reply that is ok, -1. */
int client_check(const struct cni_run *run, struct proto_reply *ret, struct cnierr *cnierr);

/** client_status() - Return: 0 with @ret filled, -1 when the daemon gave no answer. */
int client_status(const struct cni_run *run, struct proto_reply *ret, struct err *err);

/** client_gc() - one round of @request. Return: 0 with @ret filled, -1 when the daemon gave no answer. */
int client_gc(const struct cni_run *run, const struct proto_request *request, struct proto_reply *ret, struct err *err);

/** client_del() - free the lease, within @most_ms. Return: 0 with @ret filled, -1 when the daemon gave no answer. */
int client_del(const struct cni_run *run, int64_t most_ms, struct proto_reply *ret, struct err *err);

#endif
