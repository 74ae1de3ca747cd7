/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: ADD and DEL, exec to exit
 *
 * Run inside a node's network namespace: calls CNI plugins as a runtime does, turn by turn in the same run, each with a
 * fresh namespace per pod, and prints medians, 99th percentiles and ratios. What is timed is posix_spawn() to the exit of
 * the process, nothing else; namespaces are made before and removed after.
 *
 *   bench --ours BINARY CONF --theirs BINARY CONF --floor BINARY --empty BINARY [--serial N] [--burst N --rounds N]
 *
 * CONF is the plugin's configuration as it comes on stdin. The floor (floor.c) is what the kernel's part of an ADD costs, the
 * empty program (empty.c) what a process costs.
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

enum who { OURS, THEIRS, FLOOR, EMPTY, WHO_COUNT };

struct contender {
	const char *name, *binary, *conf_path;
	int64_t add_us[PODS_MAX], del_us[PODS_MAX], wall_us[PODS_MAX];
	unsigned count, rounds;
};

struct pod {
	char netns[64], path[96], container[64];
	unsigned number; /* of all that this run makes */
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

static void pod_make(struct pod *pod)
{
	static unsigned number;
	struct err err;

	pod->number = number++;
	(void)snprintf(pod->netns, sizeof(pod->netns), "bench%d-%u", (int)getpid(), pod->number);
	(void)snprintf(pod->path, sizeof(pod->path), "/run/netns/%s", pod->netns);
	(void)snprintf(pod->container, sizeof(pod->container), "bench%dpod%u", (int)getpid(), pod->number);
	if (netns_add(pod->netns, &err) < 0)
		die("make a namespace", err.msg);
}

static pid_t plugin_start(const struct contender *c, const char *verb, const struct pod *pod)
{
	char command[32], container[96], netns[128], number[32];
	char *argv[] = { (char *)(uintptr_t)c->binary, NULL };
	char path[] = "CNI_PATH=/usr/lib/cni:/opt/cni/bin", ifname[] = "CNI_IFNAME=eth0";
	char *envp[] = { command, container, netns, path, ifname, number, NULL };
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int r;

	(void)snprintf(command, sizeof(command), "CNI_COMMAND=%s", verb);
	(void)snprintf(container, sizeof(container), "CNI_CONTAINERID=%s", pod->container);
	(void)snprintf(netns, sizeof(netns), "CNI_NETNS=%s", pod->path);
	(void)snprintf(number, sizeof(number), "BENCH_POD=%u", pod->number);
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

static double ratio(int64_t *values, int64_t *of, unsigned n)
{
	return quantile_ms(values, n, 50) / quantile_ms(of, n, 50);
}

static void print(const char *who, const char *what, int64_t *values, unsigned n)
{
	(void)printf("bench: %s_%s_p50 %.2f ms\n", who, what, quantile_ms(values, n, 50));
	(void)printf("bench: %s_%s_p99 %.2f ms\n", who, what, quantile_ms(values, n, 99));
}

static void pods_remove(const struct pod *pods, unsigned n)
{
	struct err err;

	for (unsigned i = 0; i < n; i++)
		if (netns_del(pods[i].netns, &err) < 0)
			die("remove a namespace", err.msg);
}

/* One that is not counted: the binaries are read from disk then. */
static void warm_up(struct contender *c)
{
	struct pod pod;

	for (unsigned k = 0; k < WHO_COUNT; k++) {
		pod_make(&pod);
		(void)timed(&c[k], "ADD", &pod);
		(void)timed(&c[k], "DEL", &pod);
		pods_remove(&pod, 1);
	}
}

/* One pod after the other, all contenders in turn, so that a noisy moment hits all. */
static void run_serial(struct contender *c, unsigned n)
{
	static struct pod pods[WHO_COUNT][PODS_MAX];

	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < WHO_COUNT; k++)
			pod_make(&pods[k][i]);
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < WHO_COUNT; k++)
			c[k].add_us[i] = timed(&c[k], "ADD", &pods[k][i]);
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < WHO_COUNT; k++)
			c[k].del_us[i] = timed(&c[k], "DEL", &pods[k][i]);
	for (unsigned k = 0; k < WHO_COUNT; k++)
		pods_remove(pods[k], n);
	for (unsigned k = 0; k < WHO_COUNT; k++)
		print(c[k].name, k == EMPTY ? "process" : "add", c[k].add_us, n);
	(void)printf("bench: add_vs_floor %.2f x\n", ratio(c[OURS].add_us, c[FLOOR].add_us, n));
	(void)printf("bench: add_vs_ptp %.3f x\n", ratio(c[OURS].add_us, c[THEIRS].add_us, n));
	for (unsigned k = 0; k < EMPTY; k++)
		print(c[k].name, "del", c[k].del_us, n);
	(void)printf("bench: del_vs_ptp %.3f x\n", ratio(c[OURS].del_us, c[THEIRS].del_us, n));
}

static void burst_round(struct contender *c, unsigned n)
{
	static struct pod pods[PODS_MAX];

	for (unsigned i = 0; i < n; i++)
		pod_make(&pods[i]);
	c->wall_us[c->rounds++] = burst(c, "ADD", pods, n, c->add_us + c->count);
	(void)burst(c, "DEL", pods, n, c->del_us + c->count);
	pods_remove(pods, n);
	c->count += n;
}

/* The longest one's time and, of the slowest round, that from the first one's start to the last one's exit. */
static void print_burst(struct contender *c, unsigned n)
{
	char what[32];

	(void)snprintf(what, sizeof(what), "burst%u", n);
	print(c->name, what, c->add_us, c->count);
	(void)printf("bench: %s_%s_max %.2f ms\n", c->name, what, quantile_ms(c->add_us, c->count, 100));
	(void)printf("bench: %s_%s_all %.2f ms\n", c->name, what, quantile_ms(c->wall_us, c->rounds, 100));
	(void)snprintf(what, sizeof(what), "del_burst%u", n);
	print(c->name, what, c->del_us, c->count);
}

static void run_burst(struct contender *c, unsigned n, unsigned rounds)
{
	for (unsigned k = 0; k < EMPTY; k++)
		c[k].count = c[k].rounds = 0;
	for (unsigned round = 0; round < rounds; round++)
		for (unsigned k = 0; k < EMPTY; k++)
			burst_round(&c[k], n);
	for (unsigned k = 0; k < EMPTY; k++)
		print_burst(&c[k], n);
	(void)printf("bench: burst%u_vs_ptp %.3f x\n", n, ratio(c[OURS].add_us, c[THEIRS].add_us, c[OURS].count));
}

static unsigned number(const char *text, unsigned max)
{
	uint64_t value;

	if (str_u64(text, 1, max, &value) < 0)
		die(text, "not a number in range");
	return (unsigned)value;
}

/* Return: how many arguments that took, 0 for what is no contender. */
static int read_contender(struct contender *c, char **argv, int left)
{
	static const struct {
		const char *option;
		int takes;
	} options[WHO_COUNT] = {
		[OURS] = { "--ours", 2 },
		[THEIRS] = { "--theirs", 2 },
		[FLOOR] = { "--floor", 1 },
		[EMPTY] = { "--empty", 1 },
	};

	for (unsigned k = 0; k < WHO_COUNT; k++) {
		if (!str_equal(argv[0], options[k].option) || left <= options[k].takes)
			continue;
		c[k].binary = argv[1];
		if (options[k].takes == 2)
			c[k].conf_path = argv[2];
		return options[k].takes;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct contender c[WHO_COUNT] = {
		[OURS] = { .name = "berth" },
		[THEIRS] = { .name = "ptp" },
		[FLOOR] = { .name = "floor", .conf_path = "/dev/null" },
		[EMPTY] = { .name = "empty", .conf_path = "/dev/null" },
	};
	unsigned serial = 0, at_once = 0, rounds = 1;

	for (int i = 1; i < argc; i++) {
		int took = read_contender(c, argv + i, argc - i);

		if (took)
			i += took;
		else if (str_equal(argv[i], "--serial") && i + 1 < argc)
			serial = number(argv[++i], PODS_MAX);
		else if (str_equal(argv[i], "--burst") && i + 1 < argc)
			at_once = number(argv[++i], PODS_MAX);
		else if (str_equal(argv[i], "--rounds") && i + 1 < argc)
			rounds = number(argv[++i], PODS_MAX);
		else
			die(argv[i], "not understood; see the top of bench.c");
	}
	for (unsigned k = 0; k < WHO_COUNT; k++)
		if (!c[k].binary)
			die("arguments", "--ours, --theirs, --floor and --empty are needed");
	if (at_once * rounds > PODS_MAX)
		die("arguments", "--burst times --rounds may be 512");
	warm_up(c);
	if (serial)
		run_serial(c, serial);
	if (at_once)
		run_burst(c, at_once, rounds);
	return 0;
}
