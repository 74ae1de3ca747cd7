/* SPDX-License-Identifier: Apache-2.0 */
/* Leases that nobody gives back, with a real store, real links and paths; time is the test's. */
#include "tests/unit/stores.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/str.h"
#include "ipamd/ipamd.h"
#include "tests/unit/pools.h"

#define LOOK_US (31 * USEC_PER_SEC) /* a little more than the period of the looks */

struct world {
	struct ipamd d;
	struct net *net;
	int64_t now_us;
};

static struct cloud no_cloud; /* nothing here is asked of it */

static void must(int rc, const struct err *err)
{
	if (rc < 0)
		fail_msg("%s", err->msg);
}

static int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct hostnet_config config = { .mark_mask = 0x7e, .rule_priority = 1024, .table_base = 48640 };
	struct store_aside aside;
	char path[PATH_MAX];

	if (!w || check_fds_setup(state) < 0 || unshare(CLONE_NEWNET) < 0)
		return -1;
	*state = w;
	w->now_us = START_US;
	w->d.listed = true;
	w->d.config.unconfirmed_us = 120 * USEC_PER_SEC;
	w->d.config.reclaim_period_us = LOOK_US - USEC_PER_SEC;
	(void)str_copy(w->d.config.network, sizeof(w->d.config.network), "berth");
	w->d.pool = pool_new(COOLDOWN_US, POOL_SERVES_V4);
	if (!w->d.pool || net_open(&w->net, NULL) < 0 || hostnet_open(&config, &w->d.hostnet, NULL) < 0 ||
	    executor_new(&no_cloud, &w->d.executor, NULL) < 0)
		return -1;
	add_nic(w->d.pool, 0);
	add_block(w->d.pool, 0, "10.0.1.16/28");
	return store_open(check_path(path, sizeof(path), check_tmpdir(), "leases.db"), "boot", &w->d.store, &aside,
			  NULL);
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	executor_free(w->d.executor);
	hostnet_close(w->d.hostnet);
	net_close(w->net);
	store_close(w->d.store);
	pool_free(w->d.pool);
	free(w->d.suspects);
	free(w);
	*state = NULL;
	return check_fds_teardown(state);
}

#define reclaim_test(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

/* A file stands for the namespace: only that its path is there is looked at. */
static void make_path(const char *path)
{
	int fd = open(path, O_CREAT | O_CLOEXEC | O_WRONLY, 0600);

	assert_true(fd >= 0);
	(void)close(fd);
}

static ino_t stat_inode(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

static void add_pod(struct world *w, unsigned number, const char *netns, bool bound)
{
	const struct lease_key key = key_of(number);
	const struct pod_name pod = { .name = "web" };
	const struct lease *lease;
	struct err err;
	bool is_new;

	lease = pool_lease(w->d.pool, &key, &pod, netns, w->now_us, &is_new);
	assert_non_null(lease);
	must(store_lease_put(w->d.store, lease, &err), &err);
	if (bound)
		assert_true(pool_lease_confirm(w->d.pool, &key, w->now_us));
}

static void add_link(struct world *w, unsigned number)
{
	const struct lease_key key = key_of(number);
	char ifname[LEASE_IFNAME_SIZE];
	struct err err;

	proto_host_ifname(&key, ifname);
	must(net_veth_add(w->net, &(struct net_veth){ .name = ifname, .peer_name = "peer", .peer_netns_fd = -1 }, &err),
	     &err);
}

static bool has_lease(const struct world *w, unsigned number)
{
	const struct lease_key key = key_of(number);

	return pool_lease_find(w->d.pool, &key);
}

static unsigned stored(const struct world *w)
{
	struct contents seen;
	struct err err;

	must(look(w->d.store, &seen, &err), &err);
	return seen.lease_count;
}

static void later(struct world *w, int64_t us)
{
	w->now_us += us;
	assert_true(reclaim_due(&w->d, w->now_us) > w->now_us);
}

static void test_reclaim_due__namespace_gone__aws_40_27__rule_13(void **state)
{
	struct world *w = *state;
	char path[PATH_MAX];

	(void)check_path(path, sizeof(path), check_tmpdir(), "netns-1");
	make_path(path);
	add_pod(w, 1, path, true);
	later(w, 0);
	later(w, LOOK_US);
	later(w, LOOK_US);
	assert_true(has_lease(w, 1));
	assert_int_equal(unlink(path), 0);
	later(w, LOOK_US);
	assert_true(has_lease(w, 1)); /* seen once */
	later(w, USEC_PER_SEC);
	assert_true(has_lease(w, 1)); /* no second look yet */
	later(w, LOOK_US);
	assert_false(has_lease(w, 1));
	assert_int_equal(stored(w), 0);
	assert_int_equal(w->d.stats.reclaimed, 1);
}

/* `ctr run --cni` names a namespace by a process of it; path and folder go with that process. */
static void test_reclaim_due__process_gone(void **state)
{
	struct world *w = *state;
	char path[PATH_MAX];
	int status;
	pid_t pid;

	if (stat_inode("/proc/self/ns/pid") != 0xeffffffcU)
		skip(); /* not the machine's first PID namespace: nobody can tell, and nothing is reclaimed */
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		(void)pause();
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	add_pod(w, 1, path, true);
	later(w, 0);
	later(w, LOOK_US);
	later(w, LOOK_US);
	assert_true(has_lease(w, 1));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	later(w, LOOK_US);
	assert_true(has_lease(w, 1));
	later(w, LOOK_US);
	assert_false(has_lease(w, 1));
}

static void test_reclaim_due__path_gone_but_link_there(void **state)
{
	struct world *w = *state;
	char path[PATH_MAX];

	add_pod(w, 1, check_path(path, sizeof(path), check_tmpdir(), "netns-1"), true);
	add_link(w, 1);
	for (unsigned i = 0; i < 4; i++)
		later(w, LOOK_US);
	assert_true(has_lease(w, 1));
}

/* Its own link died with its namespace; the one of that name is the next sandbox's. And what another plugin wired. */
static void test_reclaim_due__judged_by_the_path_alone__cni_d3_26(void **state)
{
	struct world *w = *state;
	char gone[PATH_MAX], here[PATH_MAX];
	const struct lease_key keys[] = { key_of(1), key_of(2), key_of(3), key_of(4) };

	(void)check_path(gone, sizeof(gone), check_tmpdir(), "netns-1");
	(void)check_path(here, sizeof(here), check_tmpdir(), "netns-2");
	make_path(here);
	for (unsigned i = 0; i < 4; i++) {
		add_pod(w, i + 1, i % 2 ? here : gone, true);
		pool_lease_label(w->d.pool, &keys[i],
				 &(struct lease_label){ .host_ifname = i < 2 ? "caliweb" : "", .delegated = i >= 2 });
	}
	must(net_veth_add(w->net, &(struct net_veth){ .name = "caliweb", .peer_name = "peer", .peer_netns_fd = -1 },
			  &(struct err){ 0 }),
	     &(struct err){ 0 });
	later(w, 0);
	later(w, LOOK_US);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(has_lease(w, i + 1), i % 2);
}

static void test_reclaim_due__came_back_between_two_looks__rule_13(void **state)
{
	struct world *w = *state;
	char path[PATH_MAX];

	add_pod(w, 1, check_path(path, sizeof(path), check_tmpdir(), "netns-1"), true);
	later(w, LOOK_US);
	make_path(path);
	later(w, LOOK_US);
	assert_int_equal(unlink(path), 0);
	later(w, LOOK_US);
	assert_true(has_lease(w, 1)); /* two looks in a row, not two in all */
	later(w, LOOK_US);
	assert_false(has_lease(w, 1));
}

static void test_reclaim_due__folder_not_visible(void **state)
{
	struct world *w = *state;

	add_pod(w, 1, "/nonexistent/netns/cni-1", true);
	for (unsigned i = 0; i < 4; i++)
		later(w, LOOK_US);
	assert_true(has_lease(w, 1));
}

static void test_reclaim_due__adopted_by_its_link_alone(void **state)
{
	struct world *w = *state;
	struct lease lease = { .state = LEASE_BOUND, .addrs = { ip("10.0.1.20") } };
	struct err err;

	adopted_key(&w->d, "bth0123456789a", &lease.key);
	assert_int_equal(pool_lease_restore(w->d.pool, &lease), 0);
	must(store_lease_put(w->d.store, &lease, &err), &err);
	later(w, LOOK_US);
	assert_non_null(pool_lease_find(w->d.pool, &lease.key));
	later(w, LOOK_US);
	assert_null(pool_lease_find(w->d.pool, &lease.key));
}

static void test_reclaim_due__never_confirmed(void **state)
{
	struct world *w = *state;

	add_pod(w, 1, "", false);
	add_pod(w, 2, "", true);
	later(w, w->d.config.unconfirmed_us - 1);
	assert_true(has_lease(w, 1));
	later(w, 1);
	assert_false(has_lease(w, 1));
	assert_true(has_lease(w, 2));
	assert_int_equal(stored(w), 1);
}

/* More at once than one turn gives up. */
static void test_reclaim_due__many(void **state)
{
	struct world *w = *state;
	char path[PATH_MAX], name[32];

	for (unsigned i = 0; i < 20; i++) {
		(void)snprintf(name, sizeof(name), "10.0.%u.0/28", 2 + i);
		add_block(w->d.pool, 0, name);
	}
	(void)check_path(path, sizeof(path), check_tmpdir(), "netns-1");
	for (unsigned i = 0; i < 300; i++)
		add_pod(w, i, path, true);
	for (unsigned i = 0; i < 4; i++)
		later(w, LOOK_US);
	assert_int_equal(stored(w), 0);
}

/* Whose end has a name that was asked for is looked for by it, and a look that fails says nothing. */
static void test_reclaim_due__adopted_and_the_kernel_does_not_answer(void **state)
{
	struct lease lease = { .state = LEASE_BOUND, .since_us = START_US };
	struct world *w = *state;
	int null = open("/dev/null", O_CLOEXEC | O_RDWR);
	struct err err;

	adopted_key(&w->d, "eni0123456789a", &lease.key);
	assert_int_equal(ipaddr_parse("10.0.1.17", &lease.addrs[0]), 0);
	restore_lease(&w->d, &lease, w->now_us);
	must(net_open(&w->d.net, &err), &err);
	/* Descriptors are given in order: the socket's is the next. */
	assert_int_equal(dup3(null, null + 1, O_CLOEXEC), null + 1);
	for (unsigned i = 0; i < 3; i++)
		later(w, LOOK_US);
	assert_non_null(pool_lease_find(w->d.pool, &lease.key));
	net_close(w->d.net);
	(void)close(null);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		reclaim_test(test_reclaim_due__namespace_gone__aws_40_27__rule_13),
		reclaim_test(test_reclaim_due__process_gone),
		reclaim_test(test_reclaim_due__path_gone_but_link_there),
		reclaim_test(test_reclaim_due__judged_by_the_path_alone__cni_d3_26),
		reclaim_test(test_reclaim_due__came_back_between_two_looks__rule_13),
		reclaim_test(test_reclaim_due__folder_not_visible),
		reclaim_test(test_reclaim_due__adopted_by_its_link_alone),
		reclaim_test(test_reclaim_due__adopted_and_the_kernel_does_not_answer),
		reclaim_test(test_reclaim_due__never_confirmed),
		reclaim_test(test_reclaim_due__many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
