/* SPDX-License-Identifier: Apache-2.0 */
/* An operator's switch: a real daemon that leaves changes in the cloud undone, told by what berthctl calls. */
#include "ctl/ctl.h"
#include "tests/net/ipamd_world.h"

/* `berthctl pause WHAT`. Return: what it printed, owned. */
static char *berthctl_pause(struct world *w, const char *what, bool json)
{
	char *text = NULL;
	size_t size;
	struct ctl ctl = { .socket_path = w->socket, .json = json, .arg = what, .out = open_memstream(&text, &size) };

	assert_non_null(ctl.out);
	must(ctl_pause(&ctl, &err));
	assert_int_equal(fclose(ctl.out), 0);
	return text;
}

static void pause_is(struct world *w, const char *what)
{
	json_auto_t *state = state_of(w);

	assert_string_equal(json_string_value(json_object_get(state, "pause")), what);
}

static void set_pause(struct world *w, const char *what)
{
	free(berthctl_pause(w, what, false));
	pause_is(w, what);
}

static void test_pause__all_changes_nothing_in_the_cloud(void **state)
{
	struct world *w = *state;
	char text[PREFIX_STRLEN];

	make_cloud(w, 4, NONE);
	w->config.pause = PAUSE_ALL;
	start(w);
	pause_is(w, "all");
	add_fails(w, "a", SOON_MS, "paused");
	assert_int_equal(calls(w, "AssignPrivateIpAddresses"), 0);
	set_pause(w, "none");
	(void)add(w, "a", text);
	assert_int_equal(calls(w, "AssignPrivateIpAddresses"), 1);
}

/* Pods are served from what the node has. */
static void test_pause__all_serves_what_is_there(void **state)
{
	struct world *w = *state;
	char text[PREFIX_STRLEN];

	make_cloud(w, 4, FOUR);
	start(w);
	(void)add(w, "a", text);
	set_pause(w, "all");
	(void)add(w, "b", text);
	del(w, "a");
	assert_int_equal(count_of(w, "leased"), 1);
}

static void test_pause__releases_keeps_the_surplus_and_buys(void **state)
{
	struct world *w = *state;
	char text[PREFIX_STRLEN];

	make_cloud(w, 6, FOUR);
	w->config.pause = PAUSE_RELEASES;
	w->config.release_delay_us = 0;
	start(w);
	for (const char *container = "abcde"; *container; container++) {
		const char name[] = { *container, '\0' };

		(void)add(w, name, text);
	}
	assert_true(calls(w, "AssignPrivateIpAddresses") >= 1);
	for (const char *container = "abcde"; *container; container++) {
		const char name[] = { *container, '\0' };

		del(w, name);
	}
	until(count_of(w, "free") >= 5);
	assert_int_equal(calls(w, "UnassignPrivateIpAddresses"), 0);
	set_pause(w, "none");
	until(calls(w, "UnassignPrivateIpAddresses") >= 1);
}

static void test_ctl_pause__what_it_prints(void **state)
{
	static const struct {
		const char *what, *text;
	} rows[] = {
		{ "all", "pause: all: nothing changes in the cloud; pods are served from what the node has\n" },
		{ "releases", "pause: releases: nothing is given back to the cloud; addresses are still bought\n" },
		{ "none", "pause: none: the daemon buys and gives back addresses by itself\n" },
	};
	struct world *w = *state;
	char want[256];

	make_cloud(w, 4, FOUR);
	start(w);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = berthctl_pause(w, rows[i].what, false);
		_cleanup_free_ char *json = berthctl_pause(w, rows[i].what, true);

		(void)snprintf(want, sizeof(want),
			       "%suntil the daemon starts again; the setting `pause` is for longer\n", rows[i].text);
		assert_string_equal(text, want);
		(void)snprintf(want, sizeof(want), "{\"pause\":\"%s\"}\n", rows[i].what);
		assert_string_equal(json, want);
		pause_is(w, rows[i].what);
	}
}

static void test_ctl_pause__refused(void **state)
{
	struct world *w = *state;
	struct ctl ctl = { .socket_path = w->socket, .arg = "everything", .out = stdout };
	struct err e = { 0 };

	assert_int_equal(ctl_pause(&ctl, &e), -1);
	assert_int_equal(e.class, ERR_INVALID);
	assert_string_equal(e.msg, "'everything' is not none, releases or all");
	/* No daemon: said, not printed as done. */
	ctl.arg = "all";
	assert_int_equal(ctl_pause(&ctl, &e), -1);
	assert_int_equal(e.class, ERR_NOTFOUND);
}

/* What an operator said lasts until the next start; what is configured lasts. */
static void test_pause__ends_with_the_daemon(void **state)
{
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	w->config.pause = PAUSE_RELEASES;
	start(w);
	set_pause(w, "all");
	stop(w);
	start(w);
	pause_is(w, "releases");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_pause__all_changes_nothing_in_the_cloud),
		world_test(test_pause__all_serves_what_is_there),
		world_test(test_pause__releases_keeps_the_surplus_and_buys),
		world_test(test_ctl_pause__what_it_prints),
		world_test(test_ctl_pause__refused),
		world_test(test_pause__ends_with_the_daemon),
	};

	return cmocka_run_group_tests_name("pause", tests, world_group_setup, NULL);
}
