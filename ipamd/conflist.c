/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/conflist.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "ipamd/config.h"

#define CONFLIST_DOMAIN "conflist"
#define CONFLIST_MAX    (16U << 10) /* bytes; ours is under 1 KiB */

/* What the runtime may ask for: it passes runtimeConfig to nobody else. Return: NULL without memory. */
static json_t *capabilities(void)
{
	static const char *const names[] = { "portMappings", "bandwidth" };
	json_t *object = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)json_object_set_new(object, names[i], json_true());
	return object;
}

/* Of the list's one plugin. */
static json_t *pack_plugin(const struct conflist *conflist)
{
	json_auto_t *plugin = json_pack("{s:s, s:s, s:o}", "type", "berth", "socket", conflist->socket_path,
					"capabilities", capabilities());

	if (!conflist->veth_prefix || !conflist->veth_prefix[0])
		return json_incref(plugin);
	if (json_object_set_new(plugin, "vethName", json_string("pod")) < 0 ||
	    json_object_set_new(plugin, "vethPrefix", json_string(conflist->veth_prefix)) < 0)
		return NULL;
	return json_incref(plugin);
}

/* `cniVersions` is for runtimes that know 1.1.0; the others look at `cniVersion`. */
static int set_versions(json_t *json, const struct config_versions *versions)
{
	json_auto_t *list = json_array();

	if (!versions || versions->count == 0)
		return json_object_set_new(json, "cniVersion", json_string(CONFLIST_CNI_VERSION));
	for (unsigned i = 0; i < versions->count; i++)
		if (json_array_append_new(list, json_string(versions->list[i])) < 0)
			return -1;
	if (json_object_set_new(json, "cniVersion", json_string(versions->list[0])) < 0)
		return -1;
	return versions->count == 1 ? 0 : json_object_set(json, "cniVersions", list);
}

/* For people as for the runtime: indented, keys in this order. Return: owned, NULL without memory. */
static char *render(const struct conflist *conflist)
{
	json_auto_t *json = json_object();
	_cleanup_free_ char *text = NULL;
	_cleanup_strbuf_ struct strbuf out = { .max_len = CONFLIST_MAX };

	if (set_versions(json, conflist->versions) < 0 ||
	    json_object_set_new(json, "name", json_string(conflist->network)) < 0 ||
	    json_object_set_new(json, "plugins", json_pack("[o]", pack_plugin(conflist))) < 0)
		return NULL;
	text = json_dumps(json, JSON_INDENT(2));
	if (!text)
		return NULL;
	strbuf_printf(&out, "%s\n", text);
	return strbuf_take(&out);
}

static bool has_content(const char *path, const char *text)
{
	_cleanup_free_ char *there = NULL;

	return fs_read(path, CONFLIST_MAX, &there, NULL) == 0 && str_equal(there, text);
}

static int join(char path[static PATH_MAX], const char *dir, const char *name, struct err *err)
{
	int len = snprintf(path, PATH_MAX, "%s/%s", dir, name);

	if (len < 0 || len >= PATH_MAX)
		return err_set(err, ERR_INVALID, CONFLIST_DOMAIN, "%.64s/%.64s is too long", dir, name);
	return 0;
}

int conflist_write(const char *dir, const char *name, const struct conflist *conflist, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	int r;

	assert(dir && name && conflist->network && conflist->socket_path);
	if (join(path, dir, name, err) < 0)
		return -1;
	text = render(conflist);
	if (!text)
		return err_set(err, ERR_RETRY, CONFLIST_DOMAIN, "no memory, or a name that is no UTF-8");
	if (has_content(path, text))
		return 0;
	r = fs_mkdir_p(dir, 0755);
	if (r < 0)
		return err_set_errno(err, ERR_INVALID, CONFLIST_DOMAIN, -r, "make %s", dir);
	r = fs_write_atomic(path, text, strlen(text), 0644);
	if (r < 0)
		return err_set_errno(err, ERR_INVALID, CONFLIST_DOMAIN, -r, "write %s", path);
	return 0;
}

int conflist_remove(const char *dir, const char *name, struct err *err)
{
	char path[PATH_MAX];
	int r;

	assert(dir && name);
	if (join(path, dir, name, err) < 0)
		return -1;
	r = fs_unlink(path);
	if (r < 0)
		return err_set_errno(err, ERR_INVALID, CONFLIST_DOMAIN, -r, "remove %s", path);
	return 0;
}
