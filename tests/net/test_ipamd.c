/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon as plugin, operator and supervisor meet it, under a cloud that answers late, badly or not at all. */
#include "tests/net/ipamd_world.h"

/* ---- ADD ---- */

static void test_add__again_with_the_same_key__aws_40_26(void **state)
{
	char first[PREFIX_STRLEN], again[PREFIX_STRLEN], other[PREFIX_STRLEN];
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	start(w);
	assert_string_equal(add(w, "a", first), add(w, "a", again));
	assert_string_not_equal(first, add(w, "b", other));
	must_call(w, PROTO_CONFIRM, "a");
	assert_string_equal(first, add(w, "a", again));
	assert_true(is_counted(w, 4, 2, 0));
}

static void test_add__empty_pool_waits_for_the_cloud__azure_9(void **state)
{
	int64_t since_us;
	char text[PREFIX_STRLEN];
	struct world *w = *state;

	make_cloud(w, 4, NONE);
	start(w);
	fault(w, "AssignPrivateIpAddresses", (struct fault){ .kind = FAULT_LATENCY, .count = 1, .ms = LATE_MS });
	since_us = clock_now(&clock_boot);
	(void)add(w, "a", text);
	assert_true(clock_now(&clock_boot) - since_us >= LATE_MS * USEC_PER_MSEC);
	assert_true(is_counted(w, 1, 1, 0));
	assert_int_equal(calls(w, "AssignPrivateIpAddresses"), 1);
}

static void test_add__throttled_once(void **state)
{
	char text[PREFIX_STRLEN];
	struct world *w = *state;

	make_cloud(w, 4, NONE);
	start(w);
	fault(w, "AssignPrivateIpAddresses", (struct fault){ .kind = FAULT_THROTTLE, .count = 1 });
	(void)add(w, "a", text);
	assert_int_equal(calls(w, "AssignPrivateIpAddresses"), 2);
}

/* One address for all; @count pods wait for it, in this order. */
static void make_queue(struct world *w, const char *const *pods, int *fds, unsigned count)
{
	char text[PREFIX_STRLEN];

	make_cloud(w, 1, ONE);
	start(w);
	(void)add(w, "holder", text);
	for (unsigned i = 0; i < count; i++) {
		fds[i] = ask(w, pods[i]);
		until(is_counted(w, 1, 1, i + 1));
	}
}

static void test_add__first_come_first_served(void **state)
{
	static const char *const pods[] = { "a", "b", "c" };
	struct world *w = *state;
	char text[PREFIX_STRLEN];
	int fds[3];

	make_queue(w, pods, fds, 3);
	for (unsigned i = 0; i < 3; i++) {
		del(w, i ? pods[i - 1] : "holder");
		answer_ok(fds[i], text);
		assert_string_equal(text, "10.0.1.21/32");
		assert_true(is_counted(w, 1, 1, 2 - i));
		for (unsigned later = i + 1; later < 3; later++)
			assert_false(is_answered(fds[later]));
	}
}

static void test_add__holder_passes_the_queue(void **state)
{
	static const char *const pods[] = { "a" };
	struct world *w = *state;
	char text[PREFIX_STRLEN];
	int fd;

	make_queue(w, pods, &fd, 1);
	(void)add(w, "holder", text);
	assert_false(is_answered(fd));
	(void)close(fd);
}

static void test_add__plugin_goes_away(void **state)
{
	static const char *const pods[] = { "a", "b", "c" };
	struct world *w = *state;
	char text[PREFIX_STRLEN];
	int fds[3];

	make_queue(w, pods, fds, 3);
	(void)close(fds[2]); /* the last, the first: the queue keeps its ends */
	until(count_of(w, "waiting") == 2);
	(void)close(fds[0]);
	until(count_of(w, "waiting") == 1);
	fds[0] = ask(w, "d");
	until(count_of(w, "waiting") == 2);
	del(w, "holder");
	answer_ok(fds[1], text);
	del(w, "b");
	answer_ok(fds[0], text);
	del(w, "d");
	until(count_of(w, "free") == 1);
	assert_true(is_counted(w, 1, 0, 0));
}

static void test_add__daemon_ends(void **state)
{
	static const char *const pods[] = { "a" };
	_cleanup_reply_ struct proto_reply reply = { 0 };
	struct world *w = *state;
	int fd;

	make_queue(w, pods, &fd, 1);
	stop(w);
	answer(fd, &reply);
	assert_false(reply.ok);
	assert_int_equal(reply.reason, FAIL_STARTING);
}

/* ---- DEL ---- */

static void test_del__cancels_the_add_that_waits__azure_1(void **state)
{
	static const char *const pods[] = { "a", "b" };
	_cleanup_reply_ struct proto_reply reply = { 0 };
	struct world *w = *state;
	char text[PREFIX_STRLEN];
	int fds[2];

	make_queue(w, pods, fds, 2);
	del(w, "a");
	answer(fds[0], &reply);
	assert_false(reply.ok);
	assert_int_equal(reply.error.class, ERR_CONFLICT);
	assert_int_equal(count_of(w, "waiting"), 1);
	del(w, "holder");
	answer_ok(fds[1], text);
}

static void test_del__older_sandbox_of_the_same_pod__aws_40_28(void **state)
{
	char newer[PREFIX_STRLEN], text[PREFIX_STRLEN];
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	start(w);
	(void)add(w, "old", text); /* every pod of these tests is default/web */
	(void)add(w, "new", newer);
	del(w, "old");
	del(w, "old");
	assert_int_equal(count_of(w, "leased"), 1);
	assert_string_equal(add(w, "new", text), newer);
}

static void test_del__unknown_key__aws_40_26(void **state)
{
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	start(w);
	del(w, "nobody");
}

/* ---- CONFIRM, CHECK, reclaim ---- */

static void test_confirm__unknown_key(void **state)
{
	char text[PREFIX_STRLEN];
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	start(w);
	until(has_conflist(w));
	assert_not_found(w, PROTO_CONFIRM, "a");
	assert_not_found(w, PROTO_CHECK, "a");
	(void)add(w, "a", text);
	del(w, "a");
	assert_not_found(w, PROTO_CONFIRM, "a");
}

static void test_reclaim__what_nobody_confirms(void **state)
{
	char name[16], text[PREFIX_STRLEN];
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	w->config.unconfirmed_us = USEC_PER_SEC;
	w->config.cooldown_us = HOUR_US;
	start(w);
	(void)add(w, "kept", text);
	must_call(w, PROTO_CONFIRM, "kept");
	for (int i = 0; i < 3; i++) {
		(void)snprintf(name, sizeof(name), "lost%d", i);
		(void)add(w, name, text);
	}
	assert_int_equal(count_of(w, "leased"), 4);
	until(count_of(w, "leased") == 1);
	assert_int_equal(count_of(w, "cooling"), 3);
	must_call(w, PROTO_CHECK, "kept");
	assert_not_found(w, PROTO_CONFIRM, "lost0");
}

/* ---- why there is no address ---- */

/* One pod waits until status names the reason; another one, that waits less long, is told the same. */
static void assert_blocked(struct world *w, const char *reason)
{
	int fd;

	start(w);
	fd = ask(w, "patient");
	until(is_blocked(w, reason));
	add_fails(w, "a", SOON_MS, reason);
	(void)close(fd);
}

static void test_why__subnet_full(void **state)
{
	struct world *w = *state;

	make_cloud(w, 4, NONE);
	refuse(w, "AssignPrivateIpAddresses", 400, "InsufficientFreeAddressesInSubnet");
	assert_blocked(w, "subnet_full");
	assert_int_equal(count_of(w, "total"), 0);
}

static void test_why__permission(void **state)
{
	struct world *w = *state;

	make_cloud(w, 4, NONE);
	refuse(w, "AssignPrivateIpAddresses", 403, "UnauthorizedOperation");
	assert_blocked(w, "permission");
}

/* While the provider still tries, so that no call has failed yet. */
static void test_why__throttled(void **state)
{
	struct world *w = *state;

	make_cloud(w, 4, NONE);
	fault(w, "AssignPrivateIpAddresses", (struct fault){ .kind = FAULT_THROTTLE, .count = FAULT_FOREVER });
	assert_blocked(w, "throttled");
}

static void test_why__late_is_not_throttled(void **state)
{
	char text[PREFIX_STRLEN];
	struct world *w = *state;

	make_cloud(w, 4, NONE);
	start(w);
	fault(w, "AssignPrivateIpAddresses", (struct fault){ .kind = FAULT_THROTTLE, .count = 1 });
	(void)add(w, "a", text); /* throttled once, long ago */
	fault(w, "AssignPrivateIpAddresses", (struct fault){ .kind = FAULT_LATENCY, .count = 1, .ms = 1500 });
	add_fails(w, "b", SOON_MS, "pending");
}

static void test_why__nic_limit(void **state)
{
	char text[PREFIX_STRLEN];
	struct world *w = *state;

	make_cloud(w, 1, ONE);
	start(w);
	(void)add(w, "holder", text);
	add_fails(w, "a", SOON_MS, "nic_limit");
}

static void test_why__cooling(void **state)
{
	char text[PREFIX_STRLEN];
	struct world *w = *state;

	make_cloud(w, 1, ONE);
	w->config.cooldown_us = HOUR_US;
	start(w);
	(void)add(w, "holder", text);
	del(w, "holder");
	add_fails(w, "a", SOON_MS, "cooling");
}

static void test_why__metadata_hangs(void **state)
{
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	fault(w, "imds", metadata_hangs);
	start(w);
	add_fails(w, "a", SOON_MS / 3, "starting");
	assert_false(has_conflist(w));
}

static void test_why__metadata_has_nothing(void **state)
{
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	refuse(w, "imds", 404, "");
	assert_blocked(w, "metadata");
}

/* ---- readiness ---- */

static void test_open__second_daemon(void **state)
{
	struct ipamd *d = NULL;
	struct world *w = *state;
	struct err err = { 0 };
	char text[PREFIX_STRLEN];

	make_cloud(w, 4, FOUR);
	start(w);
	(void)add(w, "a", text);
	assert_int_equal(ipamd_open(&w->config, &d, &err), -1);
	assert_null(d);
	assert_int_equal(err.class, ERR_CONFLICT);
	must_call(w, PROTO_CHECK, "a");
}

static void test_conflist__only_with_an_address__gcp_18(void **state)
{
	_cleanup_reply_ struct proto_reply before = { 0 }, after = { 0 };
	struct world *w = *state;

	make_cloud(w, 4, NONE);
	w->config.warm_ips = 1;
	fault(w, "AssignPrivateIpAddresses", (struct fault){ .kind = FAULT_LATENCY, .count = 1, .ms = LATE_MS });
	start(w);
	until(is_busy(w, "assign"));
	call(w, PROTO_STATUS, "any", &before);
	assert_false(before.ok);
	assert_false(has_conflist(w));
	until(has_conflist(w));
	assert_int_equal(count_of(w, "free"), 1);
	call(w, PROTO_STATUS, "any", &after);
	assert_true(after.ok);
}

/* ---- /metrics ---- */

static unsigned occurrences(const char *text, const char *part)
{
	unsigned n = 0;

	for (; (text = strstr(text, part)); text++)
		n++;
	return n;
}

/* HELP, TYPE, then samples of that family and of no other; each series once; every value a number. */
static void check_line(const char *line, const char *page, char family[static 128])
{
	const char *value = strrchr(line, ' ');
	char series[192];

	if (str_starts(line, "# HELP ")) {
		(void)snprintf(family, 128, "%.*s", (int)strcspn(line + 7, " "), line + 7);
		assert_true(str_starts(family, "berth_"));
		return;
	}
	if (str_starts(line, "# TYPE ")) {
		assert_true(str_starts(line + 7, family) && line[7 + strlen(family)] == ' ');
		return;
	}
	if (!str_starts(line, family))
		fail_msg("a sample outside its family %s: %s", family, line);
	assert_true(value && value[1] && value[1 + strspn(value + 1, "0123456789.")] == '\0');
	(void)snprintf(series, sizeof(series), "\n%.*s ", (int)(value - line), line);
	if (occurrences(page, series) > 1)
		fail_msg("twice:%s", series);
}

static void check_page(const char *page)
{
	_cleanup_free_ char *copy = strdup(page);
	char family[128] = "", *save = NULL;

	assert_non_null(copy);
	assert_true(page[strlen(page) - 1] == '\n');
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		check_line(line, page, family);
}

static void test_page__agrees_with_the_state(void **state)
{
	static const char *const states[] = { "free", "leased", "cooling", "pending", "lost" };
	char text[PREFIX_STRLEN], series[64], *page;
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	w->config.cooldown_us = HOUR_US;
	(void)str_copy(w->config.metrics_address, sizeof(w->config.metrics_address), "127.0.0.1:9479");
	start(w);
	(void)add(w, "a", text);
	(void)add(w, "b", text);
	del(w, "b");
	page = metrics_page();
	check_page(page);
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		(void)snprintf(series, sizeof(series), "berth_addresses{family=\"ipv4\",state=\"%s\"}", states[i]);
		assert_sample(page, series, count_of(w, states[i]));
	}
	assert_sample(page, "berth_addresses{family=\"ipv4\",state=\"leased\"}", 1);
	assert_sample(page, "berth_nics{state=\"ready\"}", 1);
	assert_sample(page, "berth_pods_waiting", 0);
	assert_sample(page, "berth_ready", 1);
	assert_sample(page, "berth_add_duration_seconds_count{result=\"ok\"}", 2);
	assert_sample(page, "berth_del_duration_seconds_count", 1);
	assert_sample(page, "berth_jobs_total{op=\"list\",result=\"ok\"}", 1);
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_add__again_with_the_same_key__aws_40_26),
		world_test(test_add__empty_pool_waits_for_the_cloud__azure_9),
		world_test(test_add__throttled_once),
		world_test(test_add__first_come_first_served),
		world_test(test_add__holder_passes_the_queue),
		world_test(test_add__plugin_goes_away),
		world_test(test_add__daemon_ends),
		world_test(test_del__cancels_the_add_that_waits__azure_1),
		world_test(test_del__older_sandbox_of_the_same_pod__aws_40_28),
		world_test(test_del__unknown_key__aws_40_26),
		world_test(test_confirm__unknown_key),
		world_test(test_reclaim__what_nobody_confirms),
		world_test(test_why__subnet_full),
		world_test(test_why__permission),
		world_test(test_why__throttled),
		world_test(test_why__late_is_not_throttled),
		world_test(test_why__nic_limit),
		world_test(test_why__cooling),
		world_test(test_why__metadata_hangs),
		world_test(test_why__metadata_has_nothing),
		world_test(test_open__second_daemon),
		world_test(test_conflist__only_with_an_address__gcp_18),
		world_test(test_page__agrees_with_the_state),
	};

	return cmocka_run_group_tests(tests, world_group_setup, NULL);
}
