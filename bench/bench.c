/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: ADD and DEL, exec to exit
 *
 * Run inside a node's network namespace: calls two CNI plugins as a runtime does, turn by turn in the same run, each with
 * a fresh namespace per pod, and prints medians, 99th percentiles and their ratio. What is timed is posix_spawn() to the
 * exit of the process, nothing else; namespaces are made before and removed after.
 *
 *   bench --ours BINARY CONF --theirs BINARY CONF [--serial N] [--burst N] [--rounds N]
 *
 * CONF is the plugin's configuration as it comes on stdin.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/net.h"
#include "berth/str.h"

#define PODS_MAX 512

struct contender {
	const char *name, *binary, *conf_path;
	int64_t add_us[PODS_MAX], del_us[PODS_MAX];
	unsigned count;
};

struct pod {
	char netns[64], path[96], container[64];
};

static int64_t now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void die(const char *what, const char *why)
{
	(void)fprintf(stderr, "bench: %s: %s\n", what, why);
	exit(1);
}

static void pod_make(struct pod *pod, const char *who, unsigned i)
{
	struct err err;

	(void)snprintf(pod->netns, sizeof(pod->netns), "bench%d-%s-%u", (int)getpid(), who, i);
	(void)snprintf(pod->path, sizeof(pod->path), "/run/netns/%s", pod->netns);
	(void)snprintf(pod->container, sizeof(pod->container), "bench%d%s%u", (int)getpid(), who, i);
	if (netns_add(pod->netns, &err) < 0)
		die("make a namespace", err.msg);
}

static pid_t plugin_start(const struct contender *c, const char *verb, const struct pod *pod)
{
	char command[32], container[96], netns[128];
	char *argv[] = { (char *)(uintptr_t)c->binary, NULL };
	char path[] = "CNI_PATH=/usr/lib/cni:/opt/cni/bin", ifname[] = "CNI_IFNAME=eth0";
	char *envp[] = { command, container, netns, path, ifname, NULL };
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int r;

	(void)snprintf(command, sizeof(command), "CNI_COMMAND=%s", verb);
	(void)snprintf(container, sizeof(container), "CNI_CONTAINERID=%s", pod->container);
	(void)snprintf(netns, sizeof(netns), "CNI_NETNS=%s", pod->path);
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, c->conf_path, O_RDONLY, 0);
	(void)posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	r = posix_spawn(&pid, c->binary, &actions, NULL, argv, envp);
	(void)posix_spawn_file_actions_destroy(&actions);
	if (r)
		die(c->binary, errno_str(r));
	return pid;
}

static void check_exit(const struct contender *c, const char *verb, int status)
{
	char what[256];

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	(void)snprintf(what, sizeof(what), "%s %s", c->binary, verb);
	die(what, "did not succeed");
}

static int64_t timed(const struct contender *c, const char *verb, const struct pod *pod)
{
	int64_t start = now_us();
	pid_t pid = plugin_start(c, verb, pod);
	int status;

	if (waitpid(pid, &status, 0) != pid)
		die("wait", errno_str(errno));
	check_exit(c, verb, status);
	return now_us() - start;
}

/* All at once; each one's time is from its own start to its own exit. */
static int64_t burst(const struct contender *c, const char *verb, const struct pod *pods, unsigned n, int64_t *ret_us)
{
	pid_t pids[PODS_MAX];
	int64_t starts[PODS_MAX], first = now_us();
	int status;

	for (unsigned i = 0; i < n; i++) {
		starts[i] = now_us();
		pids[i] = plugin_start(c, verb, &pods[i]);
	}
	for (unsigned done = 0; done < n; done++) {
		pid_t pid = waitpid(-1, &status, 0);

		for (unsigned i = 0; i < n; i++)
			if (pids[i] == pid)
				ret_us[i] = now_us() - starts[i];
		check_exit(c, verb, status);
	}
	return now_us() - first;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static double quantile_ms(int64_t *values, unsigned n, unsigned percent)
{
	unsigned at = (n - 1) * percent / 100;

	qsort(values, n, sizeof(*values), compare);
	return (double)values[at] / 1000.0;
}

static void print(const char *who, const char *what, int64_t *values, unsigned n)
{
	(void)printf("bench: %s_%s_p50 %.2f ms\n", who, what, quantile_ms(values, n, 50));
	(void)printf("bench: %s_%s_p99 %.2f ms\n", who, what, quantile_ms(values, n, 99));
}

static void print_pair(const char *what, struct contender *c, int64_t *ours, int64_t *theirs, unsigned n)
{
	print(c[0].name, what, ours, n);
	print(c[1].name, what, theirs, n);
	(void)printf("bench: %s_ratio_p50 %.1f x\n", what, quantile_ms(theirs, n, 50) / quantile_ms(ours, n, 50));
}

static void pods_remove(const struct pod *pods, unsigned n)
{
	struct err err;

	for (unsigned i = 0; i < n; i++)
		if (netns_del(pods[i].netns, &err) < 0)
			die("remove a namespace", err.msg);
}

/* One pod after the other, both contenders in turn, so that a noisy moment hits both. */
static void run_serial(struct contender *c, unsigned n)
{
	static struct pod pods[2][PODS_MAX];

	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < 2; k++)
			pod_make(&pods[k][i], c[k].name, i);
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < 2; k++)
			c[k].add_us[i] = timed(&c[k], "ADD", &pods[k][i]);
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < 2; k++)
			c[k].del_us[i] = timed(&c[k], "DEL", &pods[k][i]);
	for (unsigned k = 0; k < 2; k++)
		pods_remove(pods[k], n);
	print_pair("add_serial", c, c[0].add_us, c[1].add_us, n);
	print_pair("del_serial", c, c[0].del_us, c[1].del_us, n);
}

static void run_burst(struct contender *c, unsigned n, unsigned rounds)
{
	static struct pod pods[PODS_MAX];
	int64_t wall_us[2][PODS_MAX];
	char what[32];

	c[0].count = c[1].count = 0;
	for (unsigned round = 0; round < rounds; round++)
		for (unsigned k = 0; k < 2; k++) {
			for (unsigned i = 0; i < n; i++)
				pod_make(&pods[i], c[k].name, 10000 + round * n + i);
			wall_us[k][round] = burst(&c[k], "ADD", pods, n, c[k].add_us + c[k].count);
			(void)burst(&c[k], "DEL", pods, n, c[k].del_us + c[k].count);
			pods_remove(pods, n);
			c[k].count += n;
		}
	(void)snprintf(what, sizeof(what), "add_burst%u", n);
	print_pair(what, c, c[0].add_us, c[1].add_us, c[0].count);
	(void)snprintf(what, sizeof(what), "add_burst%u_wall", n);
	print_pair(what, c, wall_us[0], wall_us[1], rounds);
	(void)snprintf(what, sizeof(what), "del_burst%u", n);
	print_pair(what, c, c[0].del_us, c[1].del_us, c[0].count);
}

static unsigned number(const char *text, unsigned max)
{
	uint64_t value;

	if (str_u64(text, 1, max, &value) < 0)
		die(text, "not a number in range");
	return (unsigned)value;
}

int main(int argc, char **argv)
{
	static struct contender c[2] = { { .name = "berth" }, { .name = "ptp" } };
	unsigned serial = 50, at_once = 30, rounds = 2;
	int positional = 0;

	for (int i = 1; i < argc; i++) {
		if (str_equal(argv[i], "--serial") && i + 1 < argc)
			serial = number(argv[++i], PODS_MAX);
		else if (str_equal(argv[i], "--burst") && i + 1 < argc)
			at_once = number(argv[++i], PODS_MAX);
		else if (str_equal(argv[i], "--rounds") && i + 1 < argc)
			rounds = number(argv[++i], PODS_MAX);
		else if ((str_equal(argv[i], "--ours") || str_equal(argv[i], "--theirs")) && i + 2 < argc) {
			struct contender *who = &c[str_equal(argv[i], "--theirs")];

			who->binary = argv[++i];
			who->conf_path = argv[++i];
			positional++;
		} else {
			die(argv[i], "not understood; see the top of bench.c");
		}
	}
	if (positional != 2 || at_once * rounds > PODS_MAX)
		die("arguments", "--ours and --theirs are needed, --burst times --rounds at most 512");
	run_serial(c, serial);
	run_burst(c, at_once, rounds);
	return 0;
}
