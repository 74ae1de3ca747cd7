/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator writes: a configuration file ("f" in front), or the value of one variable, ours ("v" and which) or of
 * another pod network ("o" and which). Refused by name, or taken within its limits. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/str.h"
#include "ipamd/config_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define TEXT_MAX (64U << 10) /* what config.c reads of a file */

static const char *variable; /* the only one that is set */
static char text[TEXT_MAX + 1];

static const char *get_env(const char *name)
{
	return variable && str_equal(name, variable) ? text : NULL;
}

static const char *choose(char kind, uint8_t which)
{
	unsigned count;
	const struct cloud_var *vars = cloud_vars("aws", &count);

	if (kind == 'o')
		return vars[which % count].name;
	return kind == 'v' ? config_settings[which % config_setting_count].env : NULL;
}

static void ignore(const char *name, const char *note, void *arg)
{
	(void)arg;
	assert(*name && note);
}

static int load(bool is_file, size_t size, struct config *ret, struct err *err)
{
	int fd = is_file ? memfd_create("config", MFD_CLOEXEC) : -1, r;
	char path[64] = "";

	if (fd >= 0) {
		assert(write(fd, text, size) == (ssize_t)size);
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	r = config_load(path, get_env, NULL, ret, err);
	if (fd >= 0)
		(void)close(fd);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct config config;
	char *entry[] = { text, NULL };
	struct err err = { 0 };

	if (size < 2 || size - 2 > TEXT_MAX)
		return 0;
	memcpy(text, bytes + 2, size - 2);
	text[size - 2] = '\0';
	variable = choose((char)bytes[0], bytes[1]);
	if (load(bytes[0] == 'f', size - 2, &config, &err) < 0) {
		assert(err.class == ERR_INVALID && err.msg[0]);
		return 0;
	}
	assert(config.families.serves[0] || config.families.serves[1]);
	assert(config.min_ips <= config.max_pods && config.access < CLOUD_ACCESS_COUNT);
	assert(config.pod_subnets.count <= CONFIG_IDS_MAX && config.nic_tags.count <= CLOUD_TAGS_MAX);
	config_warnings(&config, get_env, entry, ignore, NULL);
	return 0;
}
