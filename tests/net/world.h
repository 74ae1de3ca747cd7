/* SPDX-License-Identifier: Apache-2.0 */
/* Two empty network namespaces for one test, gone after it whatever happened in it; and `ip` as a second opinion. */
#ifndef TESTS_NET_WORLD_H
#define TESTS_NET_WORLD_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/net.h"
#include "berth/str.h"
#include "berth/version.h"
#include "tests/check.h"

#define WORLD_IP_OUTPUT_MAX (4U << 20) /* bytes of one `ip` command */
#define WORLD_IP_ARGS_MAX   32

struct world {
	char a_name[32], b_name[32];
	int a_fd, b_fd;
	struct net *a, *b;
};

static inline void world_must(int rc, const struct err *err)
{
	if (rc < 0)
		fail_msg("%s: %s", err_class_name(err->class), err->msg);
}

/* What must succeed, with the error's own words when it does not. */
#define must(call)                                                                                                     \
	do {                                                                                                           \
		struct err err = { 0 };                                                                                \
		world_must((call), &err);                                                                              \
	} while (0)

/* What must fail, and with which class. The error stays in @e for more questions. */
#define must_fail(call, e, wanted)                                                                                     \
	do {                                                                                                           \
		(e) = (struct err){ 0 };                                                                               \
		assert_int_equal((call), -1);                                                                          \
		if ((e).class != (wanted))                                                                             \
			fail_msg("%s instead of %s: %s", err_class_name((e).class), err_class_name(wanted), (e).msg);  \
	} while (0)

static inline void world_ns_name(char name[static 32], const char *suffix)
{
	(void)snprintf(name, 32, "bnt%d%s", (int)getpid(), suffix);
}

static inline void world_ns(const char *suffix, char name[static 32], int *ret_fd, struct net **ret_net)
{
	char path[64];

	world_ns_name(name, suffix);
	must(netns_add(name, &err));
	(void)snprintf(path, sizeof(path), "/run/netns/%s", name);
	must(netns_open(path, ret_fd, &err));
	must(net_open_ns(*ret_fd, ret_net, &err));
}

static inline int world_teardown(void **state)
{
	struct world *world = *state;
	char name[32];

	world_ns_name(name, "a");
	(void)netns_del(name, NULL);
	world_ns_name(name, "b");
	(void)netns_del(name, NULL);
	if (world) {
		net_close(world->a);
		net_close(world->b);
		cleanup_close(&world->a_fd);
		cleanup_close(&world->b_fd);
	}
	free(world);
	*state = NULL;
	return check_fds_teardown(state);
}

/* What a test that was killed could not remove: namespaces of our prefix whose process is gone. */
static inline void world_sweep(void)
{
	DIR *dir = opendir("/run/netns");

	for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
		char digits[16] = { 0 }, proc[32];
		size_t len = str_starts(e->d_name, "bnt") ? strspn(e->d_name + 3, "0123456789") : 0;

		if (len == 0 || len >= sizeof(digits))
			continue;
		memcpy(digits, e->d_name + 3, len);
		(void)snprintf(proc, sizeof(proc), "/proc/%s", digits);
		if (!fs_exists(proc))
			(void)netns_del(e->d_name, NULL);
	}
	if (dir)
		(void)closedir(dir);
}

static inline int world_setup(void **state)
{
	struct world *world;

	world_sweep();
	if (check_fds_setup(state) != 0)
		return -1;
	world = calloc(1, sizeof(*world));
	if (!world)
		return -1;
	world->a_fd = world->b_fd = -1;
	*state = world;
	world_ns("a", world->a_name, &world->a_fd, &world->a);
	world_ns("b", world->b_name, &world->b_fd, &world->b);
	return 0;
}

#define world_test(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

static inline struct ipaddr addr_of(const char *text)
{
	struct ipaddr addr = { 0 };

	assert_int_equal(ipaddr_parse(text, &addr), 0);
	return addr;
}

static inline struct prefix prefix_from(const char *text)
{
	struct prefix prefix = { 0 };

	assert_int_equal(prefix_parse(text, &prefix), 0);
	return prefix;
}

static inline struct macaddr mac_of(const char *text)
{
	struct macaddr mac = { 0 };

	assert_int_equal(macaddr_parse(text, &mac), 0);
	return mac;
}

/* Runs `PROGRAM -n NS words...` (split at blanks), of iproute2. Return: its output, owned. It must succeed. */
static inline char *world_run(const char *program, const char *ns, const char *words)
{
	char copy[256], name[8], ns_copy[32], *argv[WORLD_IP_ARGS_MAX] = { name, (char[]){ "-n" }, ns_copy },
					      *save = NULL;
	char *const env[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" }, NULL };
	int pipe_fds[2], status = -1;
	posix_spawn_file_actions_t actions;
	size_t count = 3;
	char *out = NULL;
	pid_t pid;

	assert_int_equal(str_copy(copy, sizeof(copy), words), 0);
	assert_int_equal(str_copy(ns_copy, sizeof(ns_copy), ns), 0);
	assert_int_equal(str_copy(name, sizeof(name), program), 0);
	for (char *w = strtok_r(copy, " ", &save); w && count < WORLD_IP_ARGS_MAX - 1; w = strtok_r(NULL, " ", &save))
		argv[count++] = w;
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO), 0);
	assert_int_equal(posix_spawnp(&pid, program, &actions, NULL, argv, env), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(pipe_fds[1]);
	assert_int_equal(fs_read_fd(pipe_fds[0], WORLD_IP_OUTPUT_MAX, &out, NULL), 0);
	(void)close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("%s -n %s %s: status %d: %s", program, ns, words, status, out);
	return out;
}

static inline char *world_ip(const char *ns, const char *words)
{
	return world_run("ip", ns, words);
}

/* `ip` as the other hand on the kernel: its output does not matter. */
static inline void world_ip_do(const char *ns, const char *words)
{
	free(world_ip(ns, words));
}

static inline void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in \"%s\"", part, text);
}

static inline void assert_lacks(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("\"%s\" is in \"%s\"", part, text);
}

/* A pair inside @net, both ends up. Return: index of the first end. */
static inline int world_pair(struct net *net, const char *name, const char *peer_name)
{
	const struct net_veth veth = { .name = name, .peer_name = peer_name, .peer_netns_fd = -1, .up = true };
	struct net_link link, peer;

	must(net_veth_add(net, &veth, &err));
	must(net_link_by_name(net, name, &link, &err));
	must(net_link_by_name(net, peer_name, &peer, &err));
	must(net_link_set_up(net, peer.index, true, &err));
	return link.index;
}

#endif
