/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon keeps: on a disk that is full, over a restart, and from plugins that found nobody. */
#include "tests/net/ipamd_world.h"

#include <fcntl.h>
#include <inttypes.h>

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
		(void)prefix_str(&reply.addresses[0].address, texts[n]);
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

static void test_store__disk_full__aws_40_30(void **state)
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

static void test_restart__leases_and_cooldowns__aws_1127(void **state)
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

/* The store of the daemon, between two of them. */
static struct store *open_idle_store(const struct world *w)
{
	_cleanup_free_ char *boot_id = NULL;
	struct store_aside aside;
	struct store *store = NULL;
	char path[PATH_MAX];

	assert_int_equal(fs_read("/proc/sys/kernel/random/boot_id", 64, &boot_id, NULL), 0);
	boot_id[strcspn(boot_id, "\n")] = '\0';
	(void)check_path(path, sizeof(path), w->config.run_dir, "leases.db");
	assert_int_equal(store_open(path, boot_id, &store, &aside, NULL), 0);
	assert_int_equal(aside.why, STORE_KEPT);
	return store;
}

/* The pods of a boot are gone with it; the node's addresses are still its own. */
static void test_restart__in_another_boot__gcp_9(void **state)
{
	char text[PREFIX_STRLEN], path[PATH_MAX];
	struct world *w = *state;
	struct store *store;

	make_cloud(w, 4, FOUR);
	start(w);
	(void)add(w, "a", text);
	must_call(w, PROTO_CONFIRM, "a");
	stop(w);
	store = open_idle_store(w);
	assert_int_equal(store_fact_put(store, STORE_BOOT_ID, "another", NULL), 0);
	store_close(store);
	start(w);
	until(is_counted(w, 4, 0, 0));
	assert_not_found(w, PROTO_CHECK, "a");
	(void)check_path(path, sizeof(path), w->config.run_dir, "leases.db.other-boot");
	assert_true(fs_exists(path));
}

static int count_cooldown(const struct ipaddr *addr, int64_t until_us, void *arg)
{
	(void)addr;
	(void)until_us;
	(*(unsigned *)arg)++;
	return 0;
}

/* Addresses that rested long ago do not pile up; what has just rested is kept, for its flows. */
static void test_restart__old_cooldowns_go(void **state)
{
	struct ipaddr addrs[2][IP_FAMILIES] = { { { 0 }, { IP_V6, { 0x26 } } }, { { 0 }, { IP_V6, { 0x27 } } } };
	const struct lease_key none = { .container = "none" };
	int64_t now_us = clock_now(&clock_boot);
	struct world *w = *state;
	struct store *store;
	unsigned count = 0;

	make_cloud(w, 4, FOUR);
	start(w);
	stop(w);
	store = open_idle_store(w);
	assert_int_equal(store_lease_release(store, &none, addrs[0], now_us - HOUR_US, NULL), 0);
	assert_int_equal(store_lease_release(store, &none, addrs[1], now_us - 1, NULL), 0);
	store_close(store);
	start(w);
	until(is_counted(w, 4, 0, 0));
	stop(w);
	store = open_idle_store(w);
	assert_int_equal(store_cooldowns(store, count_cooldown, &count, NULL), 0);
	assert_int_equal(count, 1);
	store_close(store);
}

/* The plugin is told every address of a lease. */
static void test_check__of_each_family(void **state)
{
	struct lease lease = { .key = request_of(PROTO_CHECK, "a").key, .state = LEASE_BOUND, .since_us = 1 };
	_cleanup_reply_ struct proto_reply reply = { 0 };
	char text[PREFIX_STRLEN], name[LEASE_IFNAME_SIZE];
	struct world *w = *state;
	struct store *store;

	make_cloud(w, 4, FOUR);
	start(w);
	stop(w);
	store = open_idle_store(w);
	assert_int_equal(ipaddr_parse("10.0.1.21", &lease.addrs[0]), 0);
	assert_int_equal(ipaddr_parse("2600::21", &lease.addrs[1]), 0);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	store_close(store);
	fault(w, "imds", metadata_hangs);
	start(w);
	call(w, PROTO_CHECK, "a", &reply);
	assert_true(reply.ok);
	assert_int_equal(reply.address_count, 2);
	assert_string_equal(prefix_str(&reply.addresses[0].address, text), "10.0.1.21/32");
	assert_string_equal(ipaddr_str(&reply.addresses[0].gateway, text), "169.254.1.1");
	assert_string_equal(prefix_str(&reply.addresses[1].address, text), "2600::21/128");
	assert_string_equal(ipaddr_str(&reply.addresses[1].gateway, text), "fe80::1");
	proto_host_ifname(&lease.key, name);
	assert_string_equal(reply.host_ifname, name);
	del(w, "a");
}

/* Socket up, cloud unknown: what the daemon before this one promised holds. */
static void test_restart__metadata_hangs(void **state)
{
	char a[PREFIX_STRLEN], b[PREFIX_STRLEN], c[PREFIX_STRLEN], text[PREFIX_STRLEN];
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

#define ENDING 20U /* pods that end together */

/* Links are deleted behind the answer, and one takes 14 to 60 ms. A namespace that lives on would keep its own. */
static void test_stop__links_of_pods_that_ended_are_gone(void **state)
{
	char hosts[ENDING][LEASE_IFNAME_SIZE], name[16], peer[16], text[PREFIX_STRLEN];
	struct world *w = *state;
	_cleanup_net_ struct net *net = NULL;

	make_cloud(w, ENDING, NONE);
	start(w);
	must(net_open(&net, &err));
	for (unsigned i = 0; i < ENDING; i++) {
		struct net_veth veth = { .name = hosts[i], .peer_netns_fd = -1, .peer_name = peer };
		struct proto_request request;

		(void)snprintf(name, sizeof(name), "end%u", i);
		(void)snprintf(peer, sizeof(peer), "pod%u", i);
		request = request_of(PROTO_DEL, name);
		proto_host_ifname(&request.key, hosts[i]);
		(void)add(w, name, text);
		must(net_veth_add(net, &veth, &err));
	}
	for (unsigned i = 0; i < ENDING; i++) {
		(void)snprintf(name, sizeof(name), "end%u", i);
		del(w, name);
	}
	stop(w);
	for (unsigned i = 0; i < ENDING; i++)
		assert_false(has_link(hosts[i]));
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
	w->config.unconfirmed_us = USEC_PER_MSEC;
	start(w);
	must_call(w, PROTO_CONFIRM, "b");
	heal(w);
	until(count_of(w, "leased") == 1);
	must_call(w, PROTO_CHECK, "b");
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
	assert_string_equal(prefix_str(&reply.addresses[0].address, text), "10.0.1.21/32");
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

/* ---- spooled DELs ---- */

static void spool(const struct world *w, const char *name, const char *bytes, size_t size)
{
	char dir[PATH_MAX], path[PATH_MAX];

	assert_int_equal(fs_mkdir_p(check_path(dir, sizeof(dir), w->config.run_dir, PROTO_SPOOL_DIR), 0700), 0);
	assert_int_equal(fs_write_atomic(check_path(path, sizeof(path), dir, name), bytes, size, 0600), 0);
}

/* As if it had been written 11 s ago. */
static void grow_old(const struct world *w, const char *name)
{
	struct timespec times[2];
	char dir[PATH_MAX], path[PATH_MAX];

	assert_int_equal(clock_gettime(CLOCK_REALTIME, &times[0]), 0);
	times[0].tv_sec -= 11;
	times[1] = times[0];
	(void)check_path(dir, sizeof(dir), w->config.run_dir, PROTO_SPOOL_DIR);
	assert_int_equal(utimensat(AT_FDCWD, check_path(path, sizeof(path), dir, name), times, 0), 0);
}

static bool is_spooled(const struct world *w, const char *name)
{
	char dir[PATH_MAX], path[PATH_MAX];

	(void)check_path(dir, sizeof(dir), w->config.run_dir, PROTO_SPOOL_DIR);
	return fs_exists(check_path(path, sizeof(path), dir, name));
}

static void test_spool__replayed_at_start__azure_5(void **state)
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

/* A DEL that came while the daemon hung, and the same sandbox once more: what was spooled is of the lease before. */
static void test_spool__replayed_before_an_add_of_its_key(void **state)
{
	struct proto_request request = request_of(PROTO_DEL, "again");
	_cleanup_free_ char *line = NULL;
	struct world *w = *state;
	char first[PREFIX_STRLEN], second[PREFIX_STRLEN], name[17];
	size_t size;

	make_cloud(w, 4, FOUR);
	start(w);
	(void)add(w, "again", first);
	line = proto_request_encode(&request, &size);
	assert_non_null(line);
	(void)snprintf(name, sizeof(name), "%016" PRIx64, proto_key_hash(&request.key));
	spool(w, name, line, size);
	(void)add(w, "again", second);
	assert_false(is_spooled(w, name));
	assert_string_not_equal(first, second); /* that one cools down */
	/* So it is with a daemon that was not there. */
	stop(w);
	spool(w, name, line, size);
	start(w);
	(void)add(w, "again", first);
	assert_false(is_spooled(w, name));
	assert_string_not_equal(first, second);
	assert_int_equal(count_of(w, "leased"), 1);
}

/* It may be a DEL of that key, and would be done later. A folder stands for what cannot be read. */
static void test_spool__that_cannot_be_read_is_no_reason_to_go_on(void **state)
{
	struct proto_request request = request_of(PROTO_ADD, "again");
	char path[PATH_MAX], text[PREFIX_STRLEN];
	struct proto_reply reply;
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	start(w);
	(void)add(w, "again", text);
	(void)snprintf(path, sizeof(path), "%s/" PROTO_SPOOL_DIR "/%016" PRIx64, w->config.run_dir,
		       proto_key_hash(&request.key));
	assert_int_equal(fs_mkdir_p(path, 0755), 0);
	send_request(w, &request, &reply);
	assert_false(reply.ok);
	assert_int_equal(rmdir(path), 0);
	(void)add(w, "again", text);
}

/* Read once, reported, gone: or every start and every minute would meet it again. */
static void test_spool__garbage(void **state)
{
	struct proto_request request = request_of(PROTO_ADD, "a");
	_cleanup_free_ char *line = NULL, *big = calloc(1, PROTO_REQUEST_MAX + 2);
	struct world *w = *state;
	char text[PREFIX_STRLEN];
	size_t size;

	make_cloud(w, 4, FOUR);
	start(w);
	(void)add(w, "a", text);
	stop(w);
	line = proto_request_encode(&request, &size);
	assert_true(line && big);
	memset(big, 'x', PROTO_REQUEST_MAX + 1);
	spool(w, "garbage", "\x01\xff{", 3);
	spool(w, "empty", "", 0);
	spool(w, "add", line, size);
	spool(w, "big", big, PROTO_REQUEST_MAX + 1);
	spool(w, ".temporary", "half", 4); /* a plugin is writing it */
	spool(w, ".killed", "half", 4);    /* and one was killed while it did, a while ago */
	grow_old(w, ".killed");
	start(w);
	until(!is_spooled(w, "garbage") && !is_spooled(w, "empty") && !is_spooled(w, "add") && !is_spooled(w, "big"));
	until(!is_spooled(w, ".killed"));
	assert_true(is_spooled(w, ".temporary"));
	assert_true(is_counted(w, 4, 1, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_store__disk_full__aws_40_30),
		world_test(test_store__disk_full_and_pool_empty),
		world_test(test_store__run_dir_read_only),
		world_test(test_restart__leases_and_cooldowns__aws_1127),
		world_test(test_restart__in_another_boot__gcp_9),
		world_test(test_check__of_each_family),
		world_test(test_restart__old_cooldowns_go),
		world_test(test_restart__metadata_hangs),
		world_test(test_stop__links_of_pods_that_ended_are_gone),
		world_test(test_restart__early_confirm_binds),
		world_test(test_restart__adopted_pod),
		world_test(test_spool__replayed_at_start__azure_5),
		world_test(test_spool__replayed_before_an_add_of_its_key),
		world_test(test_spool__that_cannot_be_read_is_no_reason_to_go_on),
		world_test(test_spool__garbage),
	};

	return cmocka_run_group_tests(tests, world_group_setup, NULL);
}
