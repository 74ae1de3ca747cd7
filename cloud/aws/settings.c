/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include <stdlib.h>
#include <string.h>

#include "berth/err.h"
#include "berth/str.h"
#include "codec.h"

#define DOMAIN "aws"

#define TAG_KEY_MAX   128 /* https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html */
#define TAG_VALUE_MAX 255 /* 256 there; ours are read into EC2_TEXT_SIZE */

static int no_memory(struct err *err)
{
	return err_set(err, ERR_RETRY, DOMAIN, "no memory");
}

static void texts_free(const char **texts, unsigned count)
{
	for (unsigned i = 0; texts && i < count; i++)
		free((char *)(uintptr_t)texts[i]);
	free(texts);
}

static int texts_dup(const char *const *texts, unsigned count, const char ***ret, struct err *err)
{
	const char **copy = calloc(count + 1, sizeof(*copy));

	for (unsigned i = 0; copy && i < count; i++) {
		copy[i] = strdup(texts[i]);
		if (!copy[i]) {
			texts_free(copy, count);
			copy = NULL;
		}
	}
	if (!copy)
		return no_memory(err);
	*ret = copy;
	return 0;
}

static int check_ids(const char *const *ids, unsigned count, unsigned max, const char *start, const char *what,
		     struct err *err)
{
	if (count > max)
		return err_set(err, ERR_INVALID, DOMAIN, "%u %s: EC2 takes %u", count, what, max);
	for (unsigned i = 0; i < count; i++) {
		if (!str_starts(ids[i], start) || strlen(ids[i]) >= EC2_ID_SIZE)
			return err_set(err, ERR_INVALID, DOMAIN, "%s: \"%.64s\" does not look like %s...", what, ids[i],
				       start);
	}
	return 0;
}

/*
 * Keys that berth goes by, and those that amazon-vpc-cni-k8s goes by: with them its cleaners and ours would take the
 * interface for something else. It drops the same ones of ADDITIONAL_ENI_TAGS.
 */
static bool is_our_key(const char *key)
{
	return str_starts(key, "node.berth.io/") || strstr(key, "k8s.amazonaws.com");
}

static int check_tag(const struct cloud_tag *tag, struct err *err)
{
	if (!*tag->key || strlen(tag->key) > TAG_KEY_MAX || strlen(tag->value) > TAG_VALUE_MAX)
		return err_set(err, ERR_INVALID, DOMAIN, "tag \"%.64s\": a key has 1 to %d bytes, a value at most %d",
			       tag->key, TAG_KEY_MAX, TAG_VALUE_MAX);
	if (str_starts(tag->key, "aws:"))
		return err_set(err, ERR_INVALID, DOMAIN, "tag \"%.64s\": AWS keeps aws: for itself", tag->key);
	return 0;
}

static int tags_dup(struct aws_settings *settings, const struct cloud_config *config, struct err *err)
{
	settings->tags = calloc(config->tag_count + 1, sizeof(*settings->tags));
	if (!settings->tags)
		return no_memory(err);
	for (unsigned i = 0; i < config->tag_count; i++) {
		struct cloud_tag *copy = &settings->tags[settings->tag_count];

		if (check_tag(&config->tags[i], err) < 0)
			return -1;
		if (is_our_key(config->tags[i].key))
			continue;
		if (settings->tag_count >= SETTINGS_TAGS_MAX)
			return err_set(err, ERR_INVALID, DOMAIN, "more than %d tags", SETTINGS_TAGS_MAX);
		settings->tag_count++;
		copy->key = strdup(config->tags[i].key);
		copy->value = strdup(config->tags[i].value);
		if (!copy->key || !copy->value)
			return no_memory(err);
	}
	return 0;
}

static int fill(struct aws_settings *settings, const struct cloud_config *config, struct err *err)
{
	settings->no_discovery = config->no_discovery;
	settings->cluster = strdup(config->cluster);
	if (!settings->cluster)
		return no_memory(err);
	if (strlen(config->cluster) > TAG_VALUE_MAX)
		return err_set(err, ERR_INVALID, DOMAIN, "cluster: longer than %d bytes", TAG_VALUE_MAX);
	if (check_ids(config->subnets, config->subnet_count, SETTINGS_SUBNETS_MAX, "subnet-", "subnets", err) < 0 ||
	    check_ids(config->groups, config->group_count, EC2_GROUPS_MAX, "sg-", "groups", err) < 0 ||
	    texts_dup(config->subnets, config->subnet_count, &settings->subnets, err) < 0)
		return -1;
	settings->subnet_count = config->subnet_count;
	if (texts_dup(config->groups, config->group_count, &settings->groups, err) < 0)
		return -1;
	settings->group_count = config->group_count;
	return tags_dup(settings, config, err);
}

int aws_settings_init(struct aws_settings *settings, const struct cloud_config *config, struct err *err)
{
	memset(settings, 0, sizeof(*settings));
	if (fill(settings, config, err) == 0)
		return 0;
	aws_settings_done(settings);
	return -1;
}

void aws_settings_done(struct aws_settings *settings)
{
	for (unsigned i = 0; i < settings->tag_count; i++) {
		free((char *)(uintptr_t)settings->tags[i].key);
		free((char *)(uintptr_t)settings->tags[i].value);
	}
	free(settings->tags);
	texts_free(settings->groups, settings->group_count);
	texts_free(settings->subnets, settings->subnet_count);
	free(settings->cluster);
	memset(settings, 0, sizeof(*settings));
}

bool aws_settings_has_subnet(const struct aws_settings *settings, const char *id)
{
	for (unsigned i = 0; i < settings->subnet_count; i++) {
		if (str_equal(settings->subnets[i], id))
			return true;
	}
	return false;
}

bool aws_settings_discovers(const struct aws_settings *settings)
{
	return !settings->no_discovery && settings->subnet_count == 0;
}
