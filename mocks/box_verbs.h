/* SPDX-License-Identifier: Apache-2.0 */
/* What vpcbox can do: one function per verb. Each prints its own output; what it returns is about failing. */
#ifndef MOCKS_BOX_VERBS_H
#define MOCKS_BOX_VERBS_H

struct box_opts;
struct err;

/* Return of all: 0, or -1 with @err set. */
int box_up(const struct box_opts *opts, struct err *err);
int box_down(const struct box_opts *opts, struct err *err);
/** box_pods() - also -1 when one pod of many failed; the others stay. */
int box_pods(const struct box_opts *opts, struct err *err);
/** box_matrix() - also -1 when something does not hold. */
int box_matrix(const struct box_opts *opts, struct err *err);
int box_kill(const struct box_opts *opts, struct err *err);
int box_start(const struct box_opts *opts, struct err *err);
/** box_exec() - returns only when it fails. */
int box_exec(const struct box_opts *opts, struct err *err);

#endif
