/* SPDX-License-Identifier: Apache-2.0 */
#include "box_state.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/json.h"
#include "berth/str.h"

#define DOMAIN     "vpcbox"
#define RECORD_MAX 65536U /* bytes of box.json: 32 variables and 16 names */
#define WALK_FDS   16     /* descriptors that removing a tree may use; it is 4 deep */
#define BOXES_MAX  256U   /* boxes of one machine that `down --all` looks at */

const char *box_path(char ret[static BOX_PATH_SIZE], const char *prefix, const char *node, const char *file)
{
	(void)snprintf(ret, BOX_PATH_SIZE, BOX_DIR "/%s%s%s/%s", prefix, node ? "/" : "", node ? node : "", file);
	return ret;
}

int box_beside(const char *program, char ret[static BOX_PATH_SIZE], struct err *err)
{
	char self[BOX_PATH_SIZE];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (len < 0)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, errno, "/proc/self/exe");
	self[len] = '\0';
	char *slash = strrchr(self, '/');

	if (slash)
		slash[1] = '\0';
	if (str_copy(ret, BOX_PATH_SIZE, self) < 0 ||
	    str_copy(ret + strlen(ret), BOX_PATH_SIZE - strlen(ret), program) < 0)
		return err_set_errno(err, ERR_INVALID, DOMAIN, ENAMETOOLONG, "%s%.64s", self, program);
	return 0;
}

void box_done(struct box *box)
{
	for (unsigned i = 0; i < box->env_count; i++)
		free(box->env[i]);
	box->env_count = 0;
}

bool box_exists(const char *prefix)
{
	char path[BOX_PATH_SIZE];

	return fs_exists(box_path(path, prefix, NULL, ""));
}

static int make_directories(const struct box *box, struct err *err)
{
	static const char *const folders[] = { "run", "net.d", "log", "pods" };
	char path[BOX_PATH_SIZE];

	for (unsigned i = 0; i < box->node_count; i++) {
		for (unsigned j = 0; j < ARRAY_SIZE(folders); j++) {
			int r = fs_mkdir_p(box_path(path, box->prefix, box->nodes[i], folders[j]), 0700);

			if (r < 0)
				return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, -r, "%s", path);
		}
	}
	return 0;
}

static json_t *strings(const char *(*at)(const struct box *box, unsigned i), const struct box *box, unsigned count)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < count; i++)
		if (json_array_append_new(list, json_string(at(box, i))) < 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

static const char *node_at(const struct box *box, unsigned i)
{
	return box->nodes[i];
}

static const char *env_at(const struct box *box, unsigned i)
{
	return box->env[i];
}

int box_save(const struct box *box, struct err *err)
{
	char path[BOX_PATH_SIZE];
	json_auto_t *record =
		json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "cloud", box->cloud, "type", box->type, "ipamd", box->ipamd,
			  "plugin", box->plugin, "nodes", strings(node_at, box, box->node_count), "env",
			  strings(env_at, box, box->env_count));
	_cleanup_free_ char *text = record ? json_print(record) : NULL;

	if (!text)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "box.json");
	if (make_directories(box, err) < 0)
		return -1;
	int r = fs_write_atomic(box_path(path, box->prefix, NULL, "box.json"), text, strlen(text), 0600);

	return r < 0 ? err_set_errno(err, ERR_EXHAUSTED, DOMAIN, -r, "%s", path) : 0;
}

static int take_nodes(const json_t *list, struct box *box)
{
	size_t i;
	json_t *item;

	json_array_foreach (list, i, item) {
		const char *name = json_string_value(item);

		if (i >= BOX_NODES_MAX || !name || str_copy(box->nodes[i], sizeof(box->nodes[i]), name) < 0)
			return -1;
		box->node_count++;
	}
	return 0;
}

static int take_env(const json_t *list, struct box *box)
{
	size_t i;
	json_t *item;

	json_array_foreach (list, i, item) {
		const char *text = json_string_value(item);

		if (i >= BOX_ENVS_MAX || !text || !(box->env[i] = strdup(text)))
			return -1;
		box->env_count++;
	}
	return 0;
}

static int parse_record(const json_t *record, struct box *box, struct err *err)
{
	const struct field {
		const char *key;
		char *to;
		size_t size;
	} fields[] = { { "cloud", box->cloud, sizeof(box->cloud) },
		       { "type", box->type, sizeof(box->type) },
		       { "ipamd", box->ipamd, sizeof(box->ipamd) },
		       { "plugin", box->plugin, sizeof(box->plugin) } };
	json_t *nodes = NULL, *env = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
		const char *text = NULL;

		if (json_get_str(record, DOMAIN, fields[i].key, &text, err) < 0)
			return -1;
		if (str_copy(fields[i].to, fields[i].size, text) < 0)
			return err_set(err, ERR_PROTOCOL, DOMAIN, "%s is too long", fields[i].key);
	}
	if (json_get_arr_opt(record, DOMAIN, "nodes", &nodes, err) < 0 ||
	    json_get_arr_opt(record, DOMAIN, "env", &env, err) < 0)
		return -1;
	if (take_nodes(nodes, box) < 0 || take_env(env, box) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "nodes or env");
	return 0;
}

int box_load(const char *prefix, struct box *ret, struct err *err)
{
	char path[BOX_PATH_SIZE];
	_cleanup_free_ char *text = NULL;
	_cleanup_(box_done) struct box box = { 0 };
	json_auto_t *record = NULL;
	size_t size;

	if (fabric_prefix_check(prefix, err) < 0)
		return -1;
	(void)str_copy(box.prefix, sizeof(box.prefix), prefix);
	int r = fs_read(box_path(path, prefix, NULL, "box.json"), RECORD_MAX, &text, &size);

	if (r == -ENOENT)
		return err_set(err, ERR_NOTFOUND, DOMAIN, "there is no box %s: vpcbox up --name %s", prefix, prefix);
	if (r < 0)
		return err_set_errno(err, ERR_INVALID, DOMAIN, -r, "%s", path);
	if (json_parse(text, size, DOMAIN, &record, err) < 0 || parse_record(record, &box, err) < 0)
		return err_wrap(err, "%s", path);
	*ret = box;
	box.env_count = 0;
	return 0;
}

int box_has_node(const struct box *box, const char *node, struct err *err)
{
	for (unsigned i = 0; i < box->node_count; i++)
		if (str_equal(box->nodes[i], node))
			return 0;
	return err_set(err, ERR_NOTFOUND, DOMAIN, "box %s has no node %s: they are %s to %s", box->prefix, node,
		       box->nodes[0], box->node_count ? box->nodes[box->node_count - 1] : "-");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int box_remove(const char *prefix, struct err *err)
{
	char path[BOX_PATH_SIZE];

	(void)box_path(path, prefix, NULL, "");
	if (nftw(path, remove_one, WALK_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
		return err_set_errno(err, ERR_INVALID, DOMAIN, errno, "remove %s", path);
	(void)rmdir(BOX_DIR); /* the last box takes it along */
	return 0;
}

int box_names(int (*fn)(const char *prefix, void *arg, struct err *err), void *arg, struct err *err)
{
	char names[BOXES_MAX][FABRIC_PREFIX_MAX + 1];
	unsigned count = 0;
	const struct dirent *entry;
	DIR *dir = opendir(BOX_DIR);
	int rc = 0;

	if (!dir)
		return errno == ENOENT ? 0 : err_set_errno(err, ERR_INVALID, DOMAIN, errno, "open " BOX_DIR);
	while (count < BOXES_MAX && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && str_copy(names[count], sizeof(names[count]), entry->d_name) == 0)
			count++;
	(void)closedir(dir);
	for (unsigned i = 0; i < count; i++)
		if (fn(names[i], arg, err) < 0)
			rc = -1;
	return rc;
}
