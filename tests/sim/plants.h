/* SPDX-License-Identifier: Apache-2.0 */
/* Mistakes in the daemon, on purpose. */
#ifndef TESTS_SIM_PLANTS_H
#define TESTS_SIM_PLANTS_H

/** plants_reset() - count from the start, before each run. */
void plants_reset(void);

#endif
