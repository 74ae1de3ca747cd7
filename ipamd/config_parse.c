/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of settings: one grammar each, wherever the text comes from. */
#include "ipamd/config_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/json.h"
#include "berth/str.h"

static int parse_text(const struct setting *setting, const char *text, void *dst)
{
	(void)setting;
	return strlen(text) < CONFIG_TEXT_SIZE ? str_copy(dst, CONFIG_TEXT_SIZE, text) : -EINVAL;
}

static int parse_level(const struct setting *setting, const char *text, void *dst)
{
	(void)setting;
	return log_level_parse(text, dst);
}

static int parse_pause(const struct setting *setting, const char *text, void *dst)
{
	(void)setting;
	return pause_parse(text, dst);
}

static int parse_bool(const struct setting *setting, const char *text, void *dst)
{
	(void)setting;
	return str_bool(text, dst);
}

static int parse_number(const struct setting *setting, const char *text, void *dst)
{
	uint64_t number;

	if (str_u64(text, (uint64_t)setting->min, (uint64_t)setting->max, &number) < 0)
		return -EINVAL;
	*(uint32_t *)dst = (uint32_t)number;
	return 0;
}

static int parse_warm(const struct setting *setting, const char *text, void *dst)
{
	if (!str_equal(text, "auto"))
		return parse_number(setting, text, dst);
	*(uint32_t *)dst = CONFIG_WARM_AUTO;
	return 0;
}

/* 576: the least that IPv4 hosts agree on. */
static int parse_mtu(const struct setting *setting, const char *text, void *dst)
{
	if (!str_equal(text, "0"))
		return parse_number(setting, text, dst);
	*(uint32_t *)dst = 0;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int parse_mask(const struct setting *setting, const char *text, void *dst)
{
	uint64_t mask = 0;

	if (!str_starts(text, "0x"))
		return parse_number(setting, text, dst);
	if (!text[2] || strlen(text) > strlen("0x00000000"))
		return -EINVAL;
	for (const char *at = text + 2; *at; at++) {
		int digit = hex_digit(*at);

		if (digit < 0)
			return -EINVAL;
		mask = mask << 4 | (unsigned)digit;
	}
	if (mask < (uint64_t)setting->min || mask > (uint64_t)setting->max)
		return -EINVAL;
	*(uint32_t *)dst = (uint32_t)mask;
	return 0;
}

/* "30s", "500ms", "5m", "1h"; a plain number is seconds. */
static int parse_duration(const struct setting *setting, const char *text, void *dst)
{
	static const struct {
		const char *name;
		int64_t us;
	} units[] = { { "", USEC_PER_SEC },
		      { "s", USEC_PER_SEC },
		      { "ms", USEC_PER_MSEC },
		      { "m", 60 * USEC_PER_SEC },
		      { "h", HOUR_US } };
	size_t digits = strspn(text, "0123456789");
	char number[20];
	uint64_t value;

	if (digits >= sizeof(number))
		return -EINVAL;
	memcpy(number, text, digits);
	number[digits] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (!str_equal(text + digits, units[i].name))
			continue;
		if (str_u64(number, 0, (uint64_t)(INT64_MAX / units[i].us), &value) < 0 ||
		    (int64_t)value * units[i].us < setting->min || (int64_t)value * units[i].us > setting->max)
			return -EINVAL;
		*(int64_t *)dst = (int64_t)value * units[i].us;
		return 0;
	}
	return -EINVAL;
}

/* Cuts the next word of a list separated by commas and blanks. Return: its length, 0 at the end. */
static size_t next_word(const char **at)
{
	*at += strspn(*at, ", ");
	return strcspn(*at, ", ");
}

static int parse_prefixes(const struct setting *setting, const char *text, void *dst)
{
	struct config_prefixes list = { 0 };
	char word[PREFIX_STRLEN];
	size_t len;

	(void)setting;
	while ((len = next_word(&text)) > 0) {
		if (list.count == CONFIG_PREFIXES_MAX || len >= sizeof(word))
			return -EINVAL;
		memcpy(word, text, len);
		word[len] = '\0';
		if (prefix_parse(word, &list.list[list.count]) < 0)
			return -EINVAL;
		list.count++;
		text += len;
	}
	*(struct config_prefixes *)dst = list;
	return 0;
}

static int parse_families(const struct setting *setting, const char *text, void *dst)
{
	static const char *const names[IP_FAMILIES] = { "ipv4", "ipv6" };
	struct config_families families = { 0 };
	size_t len;

	(void)setting;
	while ((len = next_word(&text)) > 0) {
		unsigned i = 0;

		while (i < IP_FAMILIES && (len != strlen(names[i]) || strncmp(text, names[i], len) != 0))
			i++;
		if (i == IP_FAMILIES || families.serves[i])
			return -EINVAL;
		families.serves[i] = true;
		text += len;
	}
	if (!families.serves[0] && !families.serves[1])
		return -EINVAL;
	*(struct config_families *)dst = families;
	return 0;
}

static int parse_versions(const struct setting *setting, const char *text, void *dst)
{
	static const char *const spoken[CONFIG_VERSIONS_MAX] = { "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0" };
	bool wanted[CONFIG_VERSIONS_MAX] = { false };
	struct config_versions versions = { 0 };
	size_t len;

	(void)setting;
	while ((len = next_word(&text)) > 0) {
		unsigned i = 0;

		while (i < CONFIG_VERSIONS_MAX && (len != strlen(spoken[i]) || strncmp(text, spoken[i], len) != 0))
			i++;
		if (i == CONFIG_VERSIONS_MAX || wanted[i])
			return -EINVAL;
		wanted[i] = true;
		text += len;
	}
	for (unsigned i = 0; i < CONFIG_VERSIONS_MAX; i++)
		if (wanted[i])
			(void)str_copy(versions.list[versions.count++], sizeof(versions.list[0]), spoken[i]);
	if (!versions.count)
		return -EINVAL;
	*(struct config_versions *)dst = versions;
	return 0;
}

static int parse_names(const struct setting *setting, const char *text, void *dst)
{
	static const char *const names[CONFIG_NAMES_COUNT] = {
		[CONFIG_NAMES_AUTO] = "auto",
		[CONFIG_NAMES_CONTAINER] = "container",
		[CONFIG_NAMES_POD] = "pod",
	};

	(void)setting;
	for (unsigned i = 0; i < CONFIG_NAMES_COUNT; i++) {
		if (!str_equal(text, names[i]))
			continue;
		*(enum config_names *)dst = (enum config_names)i;
		return 0;
	}
	return -EINVAL;
}

static const char *const access_names[CLOUD_ACCESS_COUNT] = {
	[CLOUD_ACCESS_FULL] = "full",
	[CLOUD_ACCESS_READ] = "read",
	[CLOUD_ACCESS_METADATA] = "metadata",
};

const char *config_access_name(enum cloud_access access)
{
	return (unsigned)access < CLOUD_ACCESS_COUNT ? access_names[access] : "?";
}

static int parse_access(const struct setting *setting, const char *text, void *dst)
{
	(void)setting;
	for (unsigned i = 0; i < CLOUD_ACCESS_COUNT; i++) {
		if (!str_equal(text, access_names[i]))
			continue;
		*(enum cloud_access *)dst = (enum cloud_access)i;
		return 0;
	}
	return -EINVAL;
}

static bool has_id(const struct config_ids *ids, const char *id)
{
	for (unsigned i = 0; i < ids->count; i++)
		if (str_equal(ids->list[i], id))
			return true;
	return false;
}

/* What clouds make IDs of; in Azure they are paths. */
static int parse_ids(const struct setting *setting, const char *text, void *dst)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/:";
	struct config_ids ids = { 0 };
	char word[CLOUD_ID_SIZE];
	size_t len;

	(void)setting;
	while ((len = next_word(&text)) > 0) {
		if (len >= sizeof(word))
			return -EINVAL;
		memcpy(word, text, len);
		word[len] = '\0';
		text += len;
		if (word[strspn(word, letters)])
			return -EINVAL;
		if (has_id(&ids, word))
			continue;
		if (ids.count == CONFIG_IDS_MAX)
			return -EINVAL;
		(void)str_copy(ids.list[ids.count++], CLOUD_ID_SIZE, word);
	}
	*(struct config_ids *)dst = ids;
	return 0;
}

static bool is_reserved(const char *key)
{
	static const char *const reserved[] = { CLOUD_TAGS_RESERVED };

	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		if (strncasecmp(key, reserved[i], strlen(reserved[i])) == 0)
			return true;
	return false;
}

static int add_tag(struct config_tags *tags, const char *key, const char *value)
{
	struct config_tag *tag = &tags->list[tags->count];

	for (unsigned i = 0; i < tags->count; i++)
		if (str_equal(tags->list[i].key, key))
			return -EINVAL;
	if (tags->count == CLOUD_TAGS_MAX || !*key || is_reserved(key) || strlen(key) > CLOUD_TAG_KEY_MAX ||
	    strlen(value) > CLOUD_TAG_VALUE_MAX)
		return -EINVAL;
	(void)str_copy(tag->key, sizeof(tag->key), key);
	(void)str_copy(tag->value, sizeof(tag->value), value);
	tags->count++;
	return 0;
}

static int parse_tag_object(const char *text, struct config_tags *tags)
{
	json_auto_t *json = NULL;
	const char *key;
	json_t *value;

	if (json_parse(text, strlen(text), "tags", &json, NULL) < 0 || !json_is_object(json))
		return -EINVAL;
	json_object_foreach (json, key, value)
		if (!json_is_string(value) || add_tag(tags, key, json_string_value(value)) < 0)
			return -EINVAL;
	return 0;
}

/* "key=value,key=value": no comma in a value, which JSON is for. */
static int parse_tag_words(const char *text, struct config_tags *tags)
{
	while (*text) {
		char word[CLOUD_TAG_KEY_MAX + CLOUD_TAG_VALUE_MAX + 2], *equals;
		size_t len;

		text += strspn(text, " ");
		len = strcspn(text, ",");
		if (len >= sizeof(word))
			return -EINVAL;
		memcpy(word, text, len);
		word[len] = '\0';
		text += len + (text[len] == ',');
		equals = strchr(word, '=');
		if (!equals)
			return -EINVAL;
		*equals = '\0';
		if (add_tag(tags, word, equals + 1) < 0)
			return -EINVAL;
	}
	return 0;
}

static int parse_tags(const struct setting *setting, const char *text, void *dst)
{
	_cleanup_free_ struct config_tags *tags = calloc(1, sizeof(*tags));

	(void)setting;
	if (!tags || (text[strspn(text, " ")] == '{' ? parse_tag_object(text, tags) : parse_tag_words(text, tags)) < 0)
		return -EINVAL;
	*(struct config_tags *)dst = *tags;
	return 0;
}

const struct kind kind_text = { parse_text, FORM_STRING, "text of up to 255 bytes" };
const struct kind kind_level = { parse_level, FORM_STRING, "error, warn, info or debug" };
const struct kind kind_pause = { parse_pause, FORM_STRING, "none, releases or all" };
const struct kind kind_bool = { parse_bool, FORM_BOOL, "true or false" };
const struct kind kind_number = { parse_number, FORM_NUMBER, "a number" };
const struct kind kind_warm = { parse_warm, FORM_NUMBER, "auto or a number" };
const struct kind kind_mtu = { parse_mtu, FORM_NUMBER, "0 or a number" };
const struct kind kind_mask = { parse_mask, FORM_NUMBER, "a number, decimal or 0x" };
const struct kind kind_duration = { parse_duration, FORM_NUMBER, "a duration like 500ms, 30s, 5m or 1h" };
const struct kind kind_prefixes = { parse_prefixes, FORM_ARRAY, "up to 64 prefixes like 10.0.0.0/8, host bits zero" };
const struct kind kind_names = { parse_names, FORM_STRING, "auto, container or pod" };
const struct kind kind_versions = { parse_versions, FORM_ARRAY, "some of 0.3.0,0.3.1,0.4.0,1.0.0,1.1.0" };
const struct kind kind_families = { parse_families, FORM_ARRAY, "ipv4, ipv6 or ipv4,ipv6" };
const struct kind kind_access = { parse_access, FORM_STRING, "full, read or metadata" };
const struct kind kind_ids = { parse_ids, FORM_ARRAY, "up to 16 IDs of letters, digits and _ . - / :" };
const struct kind kind_namespaces = { parse_ids, FORM_ARRAY, "up to 16 namespaces" };
const struct kind kind_tags = { parse_tags, FORM_OBJECT,
				"up to 40 tags like key=value, 127 and 255 bytes, no key that starts with "
				"aws: node.berth.io/ node.k8s.amazonaws.com/ cluster.k8s.amazonaws.com/" };
static_assert(CONFIG_IDS_MAX == 16 && CLOUD_TAGS_MAX == 40 && CLOUD_TAG_KEY_MAX == 127 && CLOUD_TAG_VALUE_MAX == 255,
	      "as the texts above say");
