/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "box_opts.h"
#include "box_pods.h"
#include "box_verbs.h"

#define DOMAIN       "vpcbox"
#define PARALLEL_MAX 64U /* the option's limit: threads */

/* One run of many calls: threads take the next index until none is left. */
struct crew {
	const struct box *box;
	const char *node;
	struct runtime runtime;
	bool is_delete, quiet;
	const unsigned *indexes; /* of the pods */
	unsigned count;
	pthread_mutex_t lock; /* of what follows, and of stdout */
	unsigned next, ok_count;
	int64_t plugin_us_max, plugin_us_sum;
	struct err first_error;
};

/* ---- records ---- */

const char *box_pod_path(char ret[static BOX_PATH_SIZE], const struct box *box, const char *node, unsigned index)
{
	char file[32];

	(void)snprintf(file, sizeof(file), "pods/%u.json", index);
	return box_path(ret, box->prefix, node, file);
}

static int by_number(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

	return (x > y) - (x < y);
}

int box_pod_indexes(const struct box *box, const char *node, unsigned ret[static BOX_PODS_MAX], unsigned *ret_count,
		    struct err *err)
{
	char path[BOX_PATH_SIZE];
	const struct dirent *entry;
	unsigned count = 0;
	DIR *dir = opendir(box_path(path, box->prefix, node, "pods"));

	if (!dir)
		return err_set_errno(err, ERR_NOTFOUND, DOMAIN, errno, "%s", path);
	while (count < BOX_PODS_MAX && (entry = readdir(dir))) {
		char *dot = strstr(entry->d_name, ".json");
		char text[16];
		uint64_t index;

		if (!dot || !str_equal(dot, ".json") || (size_t)(dot - entry->d_name) >= sizeof(text))
			continue;
		(void)snprintf(text, sizeof(text), "%.*s", (int)(dot - entry->d_name), entry->d_name);
		if (str_u64(text, 0, BOX_PODS_MAX - 1, &index) == 0)
			ret[count++] = (unsigned)index;
	}
	(void)closedir(dir);
	qsort(ret, count, sizeof(ret[0]), by_number);
	*ret_count = count;
	return 0;
}

/* ---- one pod ---- */

static void report(struct crew *crew, const struct runtime_pod *pod, const struct runtime_outcome *outcome, int rc,
		   const struct err *err)
{
	char address[PREFIX_STRLEN], second[PREFIX_STRLEN] = "";

	if (pod->second.addr.family != IP_NONE)
		(void)prefix_str(&pod->second, second);
	(void)pthread_mutex_lock(&crew->lock);
	crew->plugin_us_sum += outcome->plugin_us;
	if (outcome->plugin_us > crew->plugin_us_max)
		crew->plugin_us_max = outcome->plugin_us;
	if (rc == 0)
		crew->ok_count++;
	else if (crew->first_error.class == ERR_NONE)
		crew->first_error = *err;
	if (rc == 0 && !crew->quiet)
		(void)printf("%-14s %-18s %s%s%5lld.%lld ms%s\n", pod->name, prefix_str(&pod->address, address), second,
			     second[0] ? " " : "", (long long)(outcome->plugin_us / USEC_PER_MSEC),
			     (long long)(outcome->plugin_us % USEC_PER_MSEC / 100), crew->is_delete ? " deleted" : "");
	else if (rc != 0)
		(void)printf("%-14s FAILED: %s\n", pod->name,
			     outcome->plugin_error[0] ? outcome->plugin_error : err->msg);
	(void)pthread_mutex_unlock(&crew->lock);
}

static int add_pod(struct crew *crew, unsigned index, struct runtime_pod *pod, struct runtime_outcome *outcome,
		   struct err *err)
{
	char name[RUNTIME_NAME_SIZE], what[RUNTIME_NAME_SIZE], path[BOX_PATH_SIZE];

	(void)snprintf(what, sizeof(what), "p%s-%u", crew->node, index);
	fabric_netns_name(crew->box->prefix, what, name);
	if (runtime_pod_init(pod, name, err) < 0 || runtime_run(&crew->runtime, pod, outcome, err) < 0)
		return -1;
	return runtime_pod_save(pod, box_pod_path(path, crew->box, crew->node, index), err);
}

static int delete_pod(struct crew *crew, unsigned index, struct runtime_pod *pod, struct runtime_outcome *outcome,
		      struct err *err)
{
	char path[BOX_PATH_SIZE];

	(void)box_pod_path(path, crew->box, crew->node, index);
	if (runtime_pod_load(path, pod, err) < 0 || runtime_stop(&crew->runtime, pod, outcome, err) < 0)
		return -1;
	int r = fs_unlink(path);

	return r < 0 ? err_set_errno(err, ERR_EXHAUSTED, DOMAIN, -r, "%s", path) : 0;
}

static void *crew_member(void *arg)
{
	struct crew *crew = arg;

	for (;;) {
		_cleanup_(runtime_pod_done) struct runtime_pod pod = { 0 };
		struct runtime_outcome outcome = { 0 };
		struct err err = { 0 };

		(void)pthread_mutex_lock(&crew->lock);
		unsigned at = crew->next < crew->count ? crew->next++ : crew->count;

		(void)pthread_mutex_unlock(&crew->lock);
		if (at == crew->count)
			return NULL;
		unsigned index = crew->indexes[at];
		int rc = crew->is_delete ? delete_pod(crew, index, &pod, &outcome, &err)
					 : add_pod(crew, index, &pod, &outcome, &err);

		report(crew, &pod, &outcome, rc, &err);
	}
}

static int crew_work(struct crew *crew, unsigned parallel, struct err *err)
{
	pthread_t threads[PARALLEL_MAX];
	unsigned started = 0;
	int64_t start_us = clock_now(&clock_boot);

	assert(parallel <= PARALLEL_MAX);
	(void)pthread_mutex_init(&crew->lock, NULL);
	while (started < parallel && started < crew->count &&
	       pthread_create(&threads[started], NULL, crew_member, crew) == 0)
		started++;
	if (started == 0)
		(void)crew_member(crew);
	for (unsigned i = 0; i < started; i++)
		(void)pthread_join(threads[i], NULL);
	(void)pthread_mutex_destroy(&crew->lock);
	int64_t plugin_us_mean = crew->count ? crew->plugin_us_sum / crew->count : 0;

	(void)printf("%u of %u pods %s in %lld ms; plugin: mean %lld us, longest %lld us\n", crew->ok_count,
		     crew->count, crew->is_delete ? "deleted" : "up",
		     (long long)((clock_now(&clock_boot) - start_us) / USEC_PER_MSEC), (long long)plugin_us_mean,
		     (long long)crew->plugin_us_max);
	if (crew->ok_count == crew->count)
		return 0;
	*err = crew->first_error;
	return err_wrap(err, "%u of %u pods failed, first", crew->count - crew->ok_count, crew->count);
}

/* ---- the verb ---- */

/* The lowest indexes that no pod has. */
static int choose_new(const struct box_opts *opts, const unsigned *taken, unsigned taken_count,
		      unsigned ret[static BOX_PODS_MAX], unsigned *ret_count, struct err *err)
{
	uint64_t wanted;
	unsigned count = 0, at = 0;

	if (opts->arg_count < 2 || str_u64(opts->args[1], 1, BOX_PODS_MAX, &wanted) < 0)
		return err_set(err, ERR_INVALID, DOMAIN, "how many pods? a number from 1 to %d", BOX_PODS_MAX);
	for (unsigned index = 0; index < BOX_PODS_MAX && count < wanted; index++) {
		if (at < taken_count && taken[at] == index)
			at++;
		else
			ret[count++] = index;
	}
	if (count < wanted)
		return err_set(err, ERR_EXHAUSTED, DOMAIN, "a node holds at most %d pods", BOX_PODS_MAX);
	*ret_count = count;
	return 0;
}

static int choose_old(const struct box_opts *opts, const unsigned *taken, unsigned taken_count,
		      unsigned ret[static BOX_PODS_MAX], unsigned *ret_count, struct err *err)
{
	uint64_t wanted = taken_count;

	if (!str_equal(opts->delete, "all") && str_u64(opts->delete, 1, BOX_PODS_MAX, &wanted) < 0)
		return err_set(err, ERR_INVALID, DOMAIN, "--delete %s: all, or a number", opts->delete);
	if (opts->arg_count > 1)
		return err_set(err, ERR_INVALID, DOMAIN, "N says how many to add; --delete K how many to delete");
	unsigned count = wanted < taken_count ? (unsigned)wanted : taken_count;

	if (count > 0)
		memcpy(ret, taken + taken_count - count, count * sizeof(ret[0]));
	*ret_count = count;
	return 0;
}

static int plugin_path(const struct box_opts *opts, const struct box *box, const struct runtime_conf *conf,
		       char ret[static BOX_PATH_SIZE], struct err *err)
{
	if (!opts->plugin && box->plugin[0] == '\0')
		return box_beside(conf->type, ret, err);
	return str_copy(ret, BOX_PATH_SIZE, opts->plugin ? opts->plugin : box->plugin) < 0
		       ? err_set(err, ERR_INVALID, DOMAIN, "--plugin is too long")
		       : 0;
}

/* Two calls at once would choose the same indexes. */
static int lock_pods(const struct box *box, const char *node, int *ret_fd, struct err *err)
{
	char path[BOX_PATH_SIZE];
	_cleanup_close_ int fd = open(box_path(path, box->prefix, node, "pods"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_set_errno(err, ERR_NOTFOUND, DOMAIN, errno, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(err, ERR_RETRY, DOMAIN, "another vpcbox pods works on %s", node);
	*ret_fd = take_fd(fd);
	return 0;
}

static int pods_of(const struct box_opts *opts, const struct box *box, const char *node, struct err *err)
{
	_cleanup_(runtime_conf_done) struct runtime_conf conf = { 0 };
	_cleanup_close_ int lock_fd = -1, node_fd = -1;
	unsigned taken[BOX_PODS_MAX], chosen[BOX_PODS_MAX];
	unsigned taken_count, count = 0;
	char path[BOX_PATH_SIZE];

	if (lock_pods(box, node, &lock_fd, err) < 0 || box_pod_indexes(box, node, taken, &taken_count, err) < 0)
		return -1;
	int r = opts->delete ? choose_old(opts, taken, taken_count, chosen, &count, err)
			     : choose_new(opts, taken, taken_count, chosen, &count, err);

	if (r < 0)
		return -1;
	if (runtime_conf_load(box_path(path, box->prefix, node, BOX_CONFLIST), &conf, err) < 0)
		return err_wrap(err, "no conflist: is the daemon of %s up?", node);
	if (plugin_path(opts, box, &conf, path, err) < 0 || fabric_netns_open(box->prefix, node, &node_fd, err) < 0)
		return -1;
	struct crew crew = { .box = box,
			     .node = node,
			     .runtime = { .conf = &conf, .plugin = path, .node_fd = node_fd },
			     .is_delete = opts->delete != NULL,
			     .quiet = opts->quiet,
			     .indexes = chosen,
			     .count = count };

	return crew_work(&crew, (unsigned)opts->parallel, err);
}

int box_pods(const struct box_opts *opts, struct err *err)
{
	_cleanup_(box_done) struct box box = { 0 };

	if (box_load(opts->name, &box, err) < 0 || box_has_node(&box, opts->args[0], err) < 0)
		return -1;
	return pods_of(opts, &box, opts->args[0], err);
}
