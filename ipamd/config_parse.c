/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of settings: one grammar each, wherever the text comes from. */
#include "ipamd/config_impl.h"

#include <errno.h>
#include <string.h>

#include "berth/attr.h"
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

const struct kind kind_text = { parse_text, "text of up to 255 bytes" };
const struct kind kind_level = { parse_level, "error, warn, info or debug" };
const struct kind kind_pause = { parse_pause, "none, releases or all" };
const struct kind kind_bool = { parse_bool, "true or false" };
const struct kind kind_number = { parse_number, "a number" };
const struct kind kind_warm = { parse_warm, "auto or a number" };
const struct kind kind_mask = { parse_mask, "a number, decimal or 0x" };
const struct kind kind_duration = { parse_duration, "a duration like 500ms, 30s, 5m or 1h" };
const struct kind kind_prefixes = { parse_prefixes, "up to 64 prefixes like 10.0.0.0/8, host bits zero" };
