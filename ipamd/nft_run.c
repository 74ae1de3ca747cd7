/* SPDX-License-Identifier: Apache-2.0 */
/* The nft program, fed one batch. */
#include <assert.h>
#include <stddef.h>

#include "ipamd/hostnet.h"
#include "ipamd/program.h"

int nft_run(const char *batch, int64_t deadline_us, int *ret_pid, struct err *err)
{
	static const char *const args[] = { "-f", "-", NULL };
	const struct program nft = { .name = "nft", .args = args, .input = batch };

	assert(batch);
	return program_run(&nft, deadline_us, ret_pid, err);
}
