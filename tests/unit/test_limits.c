/* SPDX-License-Identifier: Apache-2.0 */
/* What a node may have, as it is remembered: whole, of the same node and settings, or not at all. */
#include "ipamd/ipamd.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/stores.h"

static const struct cloud_limits known = {
	.nics_max = 4,
	.can_attach_nic = true,
	.units = { { .per_nic_max = 14, .len = 28, .single_len = 32 }, { .per_nic_max = 14, .len = 80 } },
};

struct world {
	struct ipamd d;
	struct cloud_identity identity;
	char path[PATH_MAX];
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w)
		return -1;
	(void)str_copy(w->identity.type, sizeof(w->identity.type), "m5.xlarge");
	w->d.identity = &w->identity;
	w->d.config.families.serves[0] = true;
	new_path(w->path);
	w->d.store = open_store(w->path);
	limits_remember(&w->d, &known);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	store_close(w->d.store);
	free(w);
	return 0;
}

static bool recalls(struct world *w)
{
	struct cloud_limits limits = { 0 };

	if (!limits_recall(&w->d, &limits))
		return false;
	assert_int_equal(limits.nics_max, known.nics_max);
	assert_int_equal(limits.can_attach_nic, known.can_attach_nic);
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		assert_int_equal(limits.units[i].per_nic_max, known.units[i].per_nic_max);
		assert_int_equal(limits.units[i].len, known.units[i].len);
		assert_int_equal(limits.units[i].single_len, known.units[i].single_len);
	}
	return true;
}

static void test_limits_recall__what_was_remembered(void **state)
{
	struct world *w = *state;

	assert_true(recalls(w));
	store_close(w->d.store);
	w->d.store = open_store(w->path);
	assert_true(recalls(w));
}

static void test_limits_recall__of_others(void **state)
{
	struct world *w = *state;

	w->d.config.prefixes = true;
	assert_false(recalls(w));
	w->d.config.prefixes = false;
	w->d.config.families.serves[1] = true;
	assert_false(recalls(w));
	w->d.config.families.serves[1] = false;
	(void)str_copy(w->identity.type, sizeof(w->identity.type), "m5.large");
	assert_false(recalls(w));
}

static void test_limits_recall__damaged(void **state)
{
	static const char *const values[] = { "",
					      "4",
					      "4 1 14 28 32 14 80",
					      "4 1 14 28 32 14 80 0 7",
					      "4 1 14 28 32 14 80 x",
					      "-4 1 14 28 32 14 80 0",
					      "4  14 28 32 14 80 0",
					      "99999999999999 1 14 28 32 14 80 0" };
	struct world *w = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
		assert_int_equal(store_fact_put(w->d.store, "limits m5.xlarge 1000", values[i], NULL), 0);
		if (recalls(w))
			fail_msg("'%s' was believed", values[i]);
	}
	limits_remember(&w->d, &known);
	assert_true(recalls(w));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_limits_recall__what_was_remembered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits_recall__of_others, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits_recall__damaged, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
