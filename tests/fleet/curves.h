/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: what pods do on one node
 *
 * A curve is a list of pods: when each is placed on the node and how long it runs once it has an address. Made from a
 * seed, sized by how many pods the node may have at once (the scheduler places no more).
 *
 *   steady  half the node, one pod in about 20 s replaced by a new one; 1 h
 *   burst   a rollout of 6/11 of the node at once (60 of 110), then every 5 min a cron burst of 2/11 (20 of 110) whose
 *           pods run 30-90 s; 1 h
 *   churn   jobs of 20-60 s: 1 a second, and 2 a second during 20 s of every 2 min (of 110; smaller nodes in proportion);
 *           30 min
 *   daily   24 h: a sine from almost nothing at 4 h to the full node at 16 h, with noise; pods run 10-50 min
 */
#ifndef TESTS_SIM_CURVES_H
#define TESTS_SIM_CURVES_H

#include <stdint.h>

enum curve_kind { CURVE_STEADY, CURVE_BURST, CURVE_CHURN, CURVE_DAILY, CURVE_COUNT };

struct curve_pod {
	int64_t at_us;   /* from the start of the curve */
	int64_t life_us; /* from the moment it has its address */
};

struct curve {
	struct curve_pod *pods; /* owned; by time */
	unsigned count, alloc;
	int64_t duration_us;
};

/** curve_name() - "steady", .... */
const char *curve_name(enum curve_kind kind);
/** curve_make() - @pods_max: the node's. Return: 0 or -ENOMEM. */
int curve_make(enum curve_kind kind, unsigned pods_max, uint64_t seed, struct curve *ret);
void curve_done(struct curve *curve);

#endif
