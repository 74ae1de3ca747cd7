/* SPDX-License-Identifier: Apache-2.0 */
/* The small doors: clocks, log, randomness, conflist, the directory of spooled DELs, paths of namespaces. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "berth/fs.h"
#include "berth/log.h"
#include "berth/str.h"
#include "ipamd/conflist.h"
#include "tests/sim/world_impl.h"

#define WALL_US INT64_C(1700000000000000) /* wall clock at boot: 2023-11 */

/* ---- clocks ---- */

static int64_t boot_us(void *ctx)
{
	(void)ctx;
	return sim_world ? sim_world->now_us : 0;
}

static int64_t wall_us(void *ctx)
{
	return WALL_US + boot_us(ctx);
}

const struct clock clock_boot = { boot_us, NULL };
const struct clock clock_wall = { wall_us, NULL };

/* ---- the log ---- */

void log_init(const char *program, int fd, enum log_level level)
{
	(void)program;
	(void)fd;
	(void)level;
}

int log_level_parse(const char *text, enum log_level *ret)
{
	(void)text;
	*ret = LOG_INFO_;
	return 0;
}

void log_write(enum log_level level, struct log_limit *limit, const char *msg, const char *fields, ...)
{
	static const char marks[] = "EWID";
	char line[TRACE_WIDTH];
	va_list args;

	(void)limit;
	if (!sim_world || sim_world->dying)
		return;
	va_start(args, fields);
	(void)vsnprintf(line, sizeof(line), fields, args);
	va_end(args);
	world_note(sim_world, "  %c %s%s", marks[level & 3U], msg, line);
}

/* ---- randomness ---- */

ssize_t getrandom(void *buffer, size_t size, unsigned flags)
{
	uint8_t *bytes = buffer;

	(void)flags;
	for (size_t i = 0; i < size; i++)
		bytes[i] = sim_world ? (uint8_t)rng_next(&sim_world->rng) : 0;
	return (ssize_t)size;
}

/* ---- the conflist ---- */

int conflist_write(const char *dir, const char *name, const struct conflist *conflist, struct err *err)
{
	(void)dir;
	(void)name;
	(void)conflist;
	(void)err;
	return 0;
}

/* ---- the spool: a directory in memory, whose entries are numbers of sandboxes ---- */

#define SPOOL_NAME_SIZE 17

static struct {
	struct dirent entry;
	unsigned at;
} spool_dir;

DIR *__real_opendir(const char *path);
struct dirent *__real_readdir(DIR *dir);
int __real_closedir(DIR *dir);
int __real_fs_read(const char *path, size_t max_size, char **ret_text, size_t *ret_size);
int __real_fs_unlink(const char *path);
bool __real_fs_exists(const char *path);
DIR *__wrap_opendir(const char *path);
struct dirent *__wrap_readdir(DIR *dir);
int __wrap_closedir(DIR *dir);
int __wrap_fs_read(const char *path, size_t max_size, char **ret_text, size_t *ret_size);
int __wrap_fs_unlink(const char *path);
bool __wrap_fs_exists(const char *path);

/* The daemon's folder; whoever else opens one means a real one. */
static bool is_ours(const char *path)
{
	return sim_world && str_starts(path, sim_world->scenario.config.run_dir);
}

/* As the plugin names it. */
static void spool_name(uint32_t serial, char ret[static SPOOL_NAME_SIZE])
{
	struct lease_key key;

	pods_key(serial, &key);
	(void)snprintf(ret, SPOOL_NAME_SIZE, "%016" PRIx64, proto_key_hash(&key));
}

DIR *__wrap_opendir(const char *path)
{
	if (!is_ours(path))
		return __real_opendir(path);
	spool_dir.at = 0;
	if (!sim_world->spool_count || sim_world->dying || sim_world->plant == PLANT_DEAF_SPOOL)
		return NULL;
	return (DIR *)&spool_dir;
}

/* What is unlinked while it is walked makes room for the last: walk from the end. */
struct dirent *__wrap_readdir(DIR *dir)
{
	if (dir != (DIR *)&spool_dir)
		return __real_readdir(dir);
	if (spool_dir.at >= sim_world->spool_count)
		return NULL;
	spool_name(sim_world->spool[sim_world->spool_count - 1 - spool_dir.at++], spool_dir.entry.d_name);
	return &spool_dir.entry;
}

int __wrap_closedir(DIR *dir)
{
	return dir == (DIR *)&spool_dir ? 0 : __real_closedir(dir);
}

static bool spool_find(const char *path, unsigned *ret)
{
	const char *name = strrchr(path, '/');
	char entry[SPOOL_NAME_SIZE];

	for (unsigned i = 0; name && i < sim_world->spool_count; i++) {
		spool_name(sim_world->spool[i], entry);
		*ret = i;
		if (str_equal(name + 1, entry))
			return true;
	}
	return false;
}

int __wrap_fs_read(const char *path, size_t max_size, char **ret_text, size_t *ret_size)
{
	struct proto_request request = { .op = PROTO_DEL };
	unsigned at;

	if (!is_ours(path))
		return __real_fs_read(path, max_size, ret_text, ret_size);
	if (sim_world->dying || !spool_find(path, &at))
		return -ENOENT;
	if (world_chance(sim_world, sim_world->scenario.faults.read))
		return -EMFILE;
	pods_key(sim_world->spool[at], &request.key);
	*ret_text = proto_request_encode(&request, ret_size);
	return *ret_text ? 0 : -ENOMEM;
}

int __wrap_fs_unlink(const char *path)
{
	struct world *w = sim_world;
	unsigned at;

	if (!is_ours(path))
		return __real_fs_unlink(path);
	if (w->dying || !spool_find(path, &at))
		return 0;
	/* Keep the order: the walk goes from the end, so what is behind @at was seen already. */
	memmove(&w->spool[at], &w->spool[at + 1], (w->spool_count - at - 1) * sizeof(w->spool[0]));
	w->spool_count--;
	if (spool_dir.at)
		spool_dir.at--;
	return 0;
}

/* ---- network namespaces of pods, by path ---- */

bool __wrap_fs_exists(const char *path)
{
	uint64_t serial;
	const struct pod *pod;

	if (!str_starts(path, PODS_NETNS))
		return __real_fs_exists(path);
	if (str_equal(path, PODS_NETNS))
		return true;
	/* "/run/netns/0000000001": leading zeros are digits too */
	if (str_u64(path + strlen(PODS_NETNS) + 1, 0, UINT32_MAX, &serial) < 0)
		return false;
	pod = pods_find(sim_world, (uint32_t)serial);
	return pod && pod->state != POD_VANISHED;
}
