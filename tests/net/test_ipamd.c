/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon as plugin, operator and supervisor meet it, under a cloud that answers late, badly or not at all. */
#include "tests/net/ipamd_world.h"

#include <fcntl.h>
#include <netinet/in.h>

#define FOUR "[\"10.0.1.21\",\"10.0.1.22\",\"10.0.1.23\",\"10.0.1.24\"]"
#define ONE  "[\"10.0.1.21\"]"
#define NONE "[]"

#define SOON_MS 300 /* an ADD that shall fail waits this long */
#define LATE_MS 400 /* an answer of the cloud that comes late; the same without the fault takes a tenth */

/* ---- ADD ---- */

static void test_add__again_with_the_same_key(void **state)
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

static void test_add__empty_pool_waits_for_the_cloud(void **state)
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

static void test_del__cancels_the_add_that_waits(void **state)
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

static void test_del__older_sandbox_of_the_same_pod(void **state)
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

static void test_del__unknown_key(void **state)
{
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	start(w);
	del(w, "nobody");
}

/* ---- CONFIRM, CHECK, reclaim ---- */

static void assert_not_found(struct world *w, enum proto_op op, const char *container)
{
	_cleanup_reply_ struct proto_reply reply;

	call(w, op, container, &reply);
	assert_false(reply.ok);
	assert_int_equal(reply.error.class, ERR_NOTFOUND);
}

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
	w->config.unconfirmed_us = SOON_MS * USEC_PER_MSEC;
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

static void test_why__subnet_full(void **state)
{
	struct world *w = *state;

	make_cloud(w, 4, NONE);
	refuse(w, "AssignPrivateIpAddresses", 400, "InsufficientFreeAddressesInSubnet");
	start(w);
	add_fails(w, "a", SOON_MS, "subnet_full");
	assert_true(is_counted(w, 0, 0, 0));
}

static void test_why__permission(void **state)
{
	struct world *w = *state;

	make_cloud(w, 4, NONE);
	refuse(w, "AssignPrivateIpAddresses", 403, "UnauthorizedOperation");
	start(w);
	add_fails(w, "a", SOON_MS, "permission");
}

static void test_why__throttled(void **state)
{
	struct world *w = *state;

	make_cloud(w, 4, NONE);
	fault(w, "AssignPrivateIpAddresses", (struct fault){ .kind = FAULT_THROTTLE, .count = FAULT_FOREVER });
	start(w);
	add_fails(w, "a", SOON_MS, "throttled"); /* while the provider still tries, so no call has failed yet */
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

static const struct fault metadata_hangs = { .kind = FAULT_HANG, .count = FAULT_FOREVER, .ms = SOON_MS };

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
	start(w);
	add_fails(w, "a", SOON_MS, "metadata");
}

/* ---- the store ---- */

/* The run directory gets a small file system of its own. */
static void mount_run_dir(struct world *w)
{
	assert_int_equal(fs_mkdir_p(w->config.run_dir, 0700), 0);
	assert_int_equal(mount("tmpfs", w->config.run_dir, "tmpfs", 0, "size=1m,mode=700"), 0);
	w->mounted = w->config.run_dir;
}

static const char *filler(const struct world *w, char path[static PATH_MAX])
{
	return check_path(path, PATH_MAX, w->config.run_dir, "filler");
}

static void fill_disk(const struct world *w)
{
	char path[PATH_MAX], zeros[4096] = { 0 };
	int fd = open(filler(w, path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		continue;
	(void)close(fd);
}

static void empty_disk(const struct world *w)
{
	char path[PATH_MAX];

	assert_int_equal(fs_unlink(filler(w, path)), 0);
}

/* ADDs until one is refused. Return: how many were served; their addresses in @texts. */
static unsigned add_until_refused(struct world *w, char texts[][PREFIX_STRLEN], enum fail_reason *ret_reason)
{
	char name[16];
	unsigned n;

	for (n = 0; n < PODS_MAX; n++) {
		_cleanup_reply_ struct proto_reply reply;

		(void)snprintf(name, sizeof(name), "pod%u", n);
		call(w, PROTO_ADD, name, &reply);
		if (!reply.ok) {
			*ret_reason = reply.reason;
			break;
		}
		(void)prefix_str(&reply.address, texts[n]);
	}
	return n;
}

static void make_big_cloud(struct world *w)
{
	char have[1024] = "[";

	for (unsigned i = 0; i < 40; i++) {
		size_t len = strlen(have);

		(void)snprintf(have + len, sizeof(have) - len, "%s\"10.0.1.%u\"", i ? "," : "", 20 + i);
	}
	(void)str_copy(have + strlen(have), 2, "]");
	make_cloud(w, 40, have);
}

static void test_store__disk_full(void **state)
{
	char texts[PODS_MAX + 1][PREFIX_STRLEN], text[PREFIX_STRLEN], name[16];
	enum fail_reason reason = FAIL_NONE;
	struct world *w = *state;
	unsigned served;

	make_big_cloud(w);
	mount_run_dir(w);
	start(w);
	until(has_conflist(w));
	fill_disk(w);
	served = add_until_refused(w, texts, &reason);
	assert_int_equal(reason, FAIL_STATE);
	assert_true(is_counted(w, 40, served, 0));
	assert_int_equal(count_of(w, "free"), 40 - served);
	empty_disk(w);
	(void)snprintf(name, sizeof(name), "pod%u", served);
	(void)add(w, name, texts[served]);
	stop(w);
	start(w);
	for (unsigned i = 0; i <= served; i++) {
		(void)snprintf(name, sizeof(name), "pod%u", i);
		assert_string_equal(add(w, name, text), texts[i]);
	}
	assert_true(is_counted(w, 40, served + 1, 0));
}

/* Each CONFIRM writes, until the log of the store is as full as the disk. */
static void exhaust_store(struct world *w, const char *container)
{
	enum fail_reason reason = FAIL_NONE;

	fill_disk(w);
	for (unsigned i = 0; i < 1000 && reason == FAIL_NONE; i++) {
		_cleanup_reply_ struct proto_reply reply;

		call(w, PROTO_CONFIRM, container, &reply);
		reason = reply.ok ? FAIL_NONE : reply.reason;
	}
	assert_int_equal(reason, FAIL_STATE);
}

/* No intent can be stored, so nothing is bought: that is no fault of the subnet. */
static void test_store__disk_full_and_pool_empty(void **state)
{
	char text[PREFIX_STRLEN], again[PREFIX_STRLEN];
	_cleanup_reply_ struct proto_reply reply = { 0 };
	struct world *w = *state;

	make_cloud(w, 4, ONE);
	mount_run_dir(w);
	start(w);
	(void)add(w, "a", text);
	exhaust_store(w, "a");
	add_fails(w, "b", SOON_MS, "state");
	assert_int_equal(calls(w, "AssignPrivateIpAddresses"), 0);
	call(w, PROTO_DEL, "a", &reply);
	assert_false(reply.ok);
	assert_int_equal(reply.reason, FAIL_STATE);
	assert_string_equal(add(w, "a", again), text); /* what the store still has is still a lease */
	empty_disk(w);
	(void)add(w, "b", again);
	del(w, "a");
	assert_int_equal(count_of(w, "leased"), 1);
}

static void test_store__run_dir_read_only(void **state)
{
	struct ipamd *d = NULL;
	struct world *w = *state;
	struct err err = { 0 };

	make_cloud(w, 4, FOUR);
	mount_run_dir(w);
	start(w);
	stop(w);
	assert_int_equal(mount("tmpfs", w->mounted, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_int_equal(ipamd_open(&w->config, &d, &err), -1);
	assert_null(d);
	assert_true(err.msg[0] != '\0');
}

/* ---- a restart ---- */

static void test_restart__leases_and_cooldowns(void **state)
{
	char a[PREFIX_STRLEN], b[PREFIX_STRLEN], text[PREFIX_STRLEN];
	struct world *w = *state;

	make_cloud(w, 3, "[\"10.0.1.21\",\"10.0.1.22\",\"10.0.1.23\"]");
	w->config.cooldown_us = HOUR_US;
	start(w);
	(void)add(w, "a", a);
	(void)add(w, "b", b);
	(void)add(w, "gone", text);
	must_call(w, PROTO_CONFIRM, "a");
	del(w, "gone");
	stop(w);
	assert_true(has_conflist(w));
	start(w);
	assert_string_equal(add(w, "a", text), a);
	assert_string_equal(add(w, "b", text), b);
	assert_true(is_counted(w, 3, 2, 0));
	assert_int_equal(count_of(w, "cooling"), 1);
	add_fails(w, "c", SOON_MS, "cooling");
}

/* Socket up, cloud unknown: what the daemon before this one promised holds. */
static void test_restart__metadata_hangs(void **state)
{
	char a[PREFIX_STRLEN], b[PREFIX_STRLEN], c[PREFIX_STRLEN], text[PREFIX_STRLEN];
	_cleanup_reply_ struct proto_reply reply = { 0 };
	struct world *w = *state;
	int waits, fresh;

	make_cloud(w, 4, FOUR);
	w->config.cooldown_us = HOUR_US;
	start(w);
	(void)add(w, "a", a);
	(void)add(w, "b", b);
	(void)add(w, "c", c);
	must_call(w, PROTO_CONFIRM, "a");
	stop(w);
	fault(w, "imds", metadata_hangs);
	start(w);
	del(w, "a");
	assert_not_found(w, PROTO_CONFIRM, "a");
	must_call(w, PROTO_CONFIRM, "b");
	must_call(w, PROTO_CHECK, "b");
	assert_not_found(w, PROTO_CHECK, "a");
	fresh = ask(w, "d");
	until(count_of(w, "waiting") == 1);
	waits = ask(w, "c");
	until(count_of(w, "waiting") == 2);
	heal(w);
	answer_ok(fresh, text);
	assert_string_not_equal(text, a); /* it cools */
	answer_ok(waits, text);
	assert_string_equal(text, c);
	assert_true(is_counted(w, 4, 3, 0));
	assert_int_equal(count_of(w, "cooling"), 1);
}

/* What was confirmed while the cloud was unknown is not taken back for want of a CONFIRM, nor after the next restart. */
static void test_restart__early_confirm_binds(void **state)
{
	char b[PREFIX_STRLEN], text[PREFIX_STRLEN];
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	start(w);
	(void)add(w, "b", b);
	(void)add(w, "lost", text);
	stop(w);
	fault(w, "imds", metadata_hangs);
	start(w);
	must_call(w, PROTO_CONFIRM, "b");
	heal(w);
	w->config.unconfirmed_us = USEC_PER_MSEC;
	stop(w);
	start(w);
	until(count_of(w, "leased") == 1);
	must_call(w, PROTO_CHECK, "b");
	assert_string_equal(add(w, "b", text), b);
}

/* The store is gone, the pod is not; its DEL finds it whenever it comes. */
static void test_restart__adopted_pod(void **state)
{
	struct proto_request request = request_of(PROTO_DEL, "pod");
	_cleanup_reply_ struct proto_reply reply = { 0 };
	char name[LEASE_IFNAME_SIZE], text[PREFIX_STRLEN];
	struct world *w = *state;

	make_cloud(w, 1, ONE);
	w->config.cooldown_us = HOUR_US;
	make_pod(&request.key, "10.0.1.21/32");
	proto_host_ifname(&request.key, name);
	start(w);
	until(has_conflist(w));
	assert_true(is_counted(w, 1, 1, 0));
	call(w, PROTO_CHECK, "pod", &reply);
	assert_true(reply.ok);
	assert_string_equal(prefix_str(&reply.address, text), "10.0.1.21/32");
	assert_string_equal(reply.host_ifname, name);
	stop(w);
	fault(w, "imds", metadata_hangs);
	start(w);
	must_call(w, PROTO_CHECK, "pod");
	del(w, "pod");
	until(!has_link(name));
	heal(w);
	until(count_of(w, "total") == 1);
	assert_int_equal(count_of(w, "leased"), 0);
	assert_int_equal(count_of(w, "cooling"), 1);
}

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

/* ---- readiness ---- */

static void test_conflist__only_with_an_address(void **state)
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

/* ---- spooled DELs ---- */

static void spool(const struct world *w, const char *name, const char *bytes, size_t size)
{
	char dir[PATH_MAX], path[PATH_MAX];

	assert_int_equal(fs_mkdir_p(check_path(dir, sizeof(dir), w->config.run_dir, PROTO_SPOOL_DIR), 0700), 0);
	assert_int_equal(fs_write_atomic(check_path(path, sizeof(path), dir, name), bytes, size, 0600), 0);
}

static bool is_spooled(const struct world *w, const char *name)
{
	char dir[PATH_MAX], path[PATH_MAX];

	(void)check_path(dir, sizeof(dir), w->config.run_dir, PROTO_SPOOL_DIR);
	return fs_exists(check_path(path, sizeof(path), dir, name));
}

static void test_spool__replayed_at_start(void **state)
{
	struct proto_request request = request_of(PROTO_DEL, "gone");
	_cleanup_free_ char *line = NULL;
	struct world *w = *state;
	char text[PREFIX_STRLEN];
	size_t size;

	make_cloud(w, 4, FOUR);
	start(w);
	(void)add(w, "kept", text);
	(void)add(w, "gone", text);
	stop(w);
	line = proto_request_encode(&request, &size);
	assert_non_null(line);
	spool(w, "0123456789abcdef", line, size);
	start(w);
	until(!is_spooled(w, "0123456789abcdef"));
	assert_int_equal(count_of(w, "leased"), 1);
	must_call(w, PROTO_CHECK, "kept");
}

/* Read once, reported, gone: or every start and every minute would meet it again. */
static void test_spool__garbage(void **state)
{
	struct proto_request request = request_of(PROTO_ADD, "a");
	_cleanup_free_ char *line = NULL, *big = calloc(1, PROTO_REQUEST_MAX + 2);
	struct world *w = *state;
	size_t size;

	make_cloud(w, 4, FOUR);
	line = proto_request_encode(&request, &size);
	assert_true(line && big);
	memset(big, 'x', PROTO_REQUEST_MAX + 1);
	spool(w, "garbage", "\x01\xff{", 3);
	spool(w, "empty", "", 0);
	spool(w, "add", line, size);
	spool(w, "big", big, PROTO_REQUEST_MAX + 1);
	spool(w, ".temporary", "half", 4); /* a plugin is writing it */
	start(w);
	until(has_conflist(w));
	until(!is_spooled(w, "garbage") && !is_spooled(w, "empty") && !is_spooled(w, "add") && !is_spooled(w, "big"));
	assert_true(is_spooled(w, ".temporary"));
	assert_true(is_counted(w, 4, 0, 0));
}

/* ---- /metrics ---- */

#define METRICS_PORT 9479
#define PAGE_MAX     (1U << 20)

/* Return: the body, owned. */
static char *metrics_page(void)
{
	static const char get[] = "GET /metrics HTTP/1.0\r\n\r\n";
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(METRICS_PORT),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char *page = NULL, *body;

	assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(fs_write_all(fd, get, sizeof(get) - 1), 0);
	assert_int_equal(fs_read_fd(fd, PAGE_MAX, &page, NULL), 0);
	(void)close(fd);
	assert_true(str_starts(page, "HTTP/1."));
	body = strstr(page, "\r\n\r\n");
	assert_non_null(body);
	memmove(page, body + 4, strlen(body + 4) + 1);
	return page;
}

static void assert_sample(const char *page, const char *series, long long value)
{
	char line[192];

	(void)snprintf(line, sizeof(line), "\n%s %lld\n", series, value);
	if (!strstr(page, line))
		fail_msg("no '%s %lld' in %s", series, value, page);
}

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
		(void)snprintf(series, sizeof(series), "berth_addresses{state=\"%s\"}", states[i]);
		assert_sample(page, series, count_of(w, states[i]));
	}
	assert_sample(page, "berth_addresses{state=\"leased\"}", 1);
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
		world_test(test_add__again_with_the_same_key),
		world_test(test_add__empty_pool_waits_for_the_cloud),
		world_test(test_add__throttled_once),
		world_test(test_add__first_come_first_served),
		world_test(test_add__holder_passes_the_queue),
		world_test(test_add__plugin_goes_away),
		world_test(test_add__daemon_ends),
		world_test(test_del__cancels_the_add_that_waits),
		world_test(test_del__older_sandbox_of_the_same_pod),
		world_test(test_del__unknown_key),
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
		world_test(test_store__disk_full),
		world_test(test_store__disk_full_and_pool_empty),
		world_test(test_store__run_dir_read_only),
		world_test(test_restart__leases_and_cooldowns),
		world_test(test_restart__metadata_hangs),
		world_test(test_restart__early_confirm_binds),
		world_test(test_restart__adopted_pod),
		world_test(test_open__second_daemon),
		world_test(test_conflist__only_with_an_address),
		world_test(test_spool__replayed_at_start),
		world_test(test_spool__garbage),
		world_test(test_page__agrees_with_the_state),
	};

	return cmocka_run_group_tests(tests, world_group_setup, NULL);
}
