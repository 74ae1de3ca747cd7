/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: settings
 *
 * settings[] is all there is to know about a setting. Every source gives text - the default, the file (numbers and
 * booleans are printed back), the environment - and one parser per kind turns it into the field. So each value has one
 * grammar wherever it stands, and help and documentation cannot disagree with the code.
 */
#include "ipamd/config.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/cloud.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/json.h"
#include "berth/proto.h"
#include "berth/str.h"
#include "ipamd/hostnet.h"
#include "ipamd/metrics.h"

#define CONFIG_DOMAIN    "config"
#define CONFIG_FILE_MAX  (64U << 10)                /* bytes; every setting at its longest is under 8 KiB */
#define CONFIG_VALUE_MAX (CONFIG_PREFIXES_MAX * 64) /* bytes of one value's text: the longest list of prefixes */
#define CONFIG_ENV       "BERTH_"
#define CONFIG_NAME_MAX  64 /* bytes of a key or variable that is compared with ours */

#define HOUR_US (3600 * USEC_PER_SEC)
#define DAY_US  (24 * HOUR_US)

struct setting;

/** struct kind - how text becomes a value. @parse: 0 or -EINVAL; writes @dst only on success. */
struct kind {
	int (*parse)(const struct setting *setting, const char *text, void *dst);
	const char *wanted; /* "a number", for messages */
};

struct setting {
	const char *key, *env;
	const struct kind *kind;
	size_t offset;
	const char *def;
	int64_t min, max; /* numbers; durations in µs */
	const char *doc;
};

/* ---- kinds ---- */

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

static const struct kind kind_text = { parse_text, "text of up to 255 bytes" };
static const struct kind kind_level = { parse_level, "error, warn, info or debug" };
static const struct kind kind_pause = { parse_pause, "none, releases or all" };
static const struct kind kind_bool = { parse_bool, "true or false" };
static const struct kind kind_number = { parse_number, "a number" };
static const struct kind kind_warm = { parse_warm, "auto or a number" };
static const struct kind kind_mask = { parse_mask, "a number, decimal or 0x" };
static const struct kind kind_duration = { parse_duration, "a duration like 500ms, 30s, 5m or 1h" };
static const struct kind kind_prefixes = { parse_prefixes, "up to 64 prefixes like 10.0.0.0/8, host bits zero" };

/* ---- the table ---- */

#define FIELD(name) offsetof(struct config, name)

/* warmIPs and what follows: a node of Kubernetes has at most a few hundred pods; 4,096 is beyond every instance type.
 */
#define ADDRESSES_MAX 4096
#define PRIORITY_MAX  (32766 - CLOUD_NICS_MAX) /* 32766: the kernel's rule for table main */

static const struct setting settings[] = {
	{ "cloud", "BERTH_CLOUD", &kind_text, FIELD(cloud), "aws", 0, 0, "provider of addresses: aws" },
	{ "cluster", "BERTH_CLUSTER", &kind_text, FIELD(cluster), "", 0, 0,
	  "name of the cluster; goes into the owner tags of NICs that berth makes" },
	{ "runDir", "BERTH_RUN_DIR", &kind_text, FIELD(run_dir), PROTO_RUN_DIR, 0, 0,
	  "socket and leases; on a file system that a reboot empties; gets mode 0700" },
	{ "conflistDir", "BERTH_CONFLIST_DIR", &kind_text, FIELD(conflist_dir), "/etc/cni/net.d", 0, 0,
	  "where the container runtime looks for CNI configurations" },
	{ "conflistName", "BERTH_CONFLIST_NAME", &kind_text, FIELD(conflist_name), "10-berth.conflist", 0, 0,
	  "file in it; runtimes take the first by name" },
	{ "network", "BERTH_NETWORK", &kind_text, FIELD(network), "berth", 0, 0, "name of the CNI network" },
	{ "metricsAddress", "BERTH_METRICS_ADDRESS", &kind_text, FIELD(metrics_address), "127.0.0.1:9479", 0, 0,
	  "IP:PORT of /metrics and /healthz; empty: off" },
	{ "logLevel", "BERTH_LOG_LEVEL", &kind_level, FIELD(log_level), "info", 0, 0, "how much is logged" },
	{ "warmIPs", "BERTH_WARM_IPS", &kind_warm, FIELD(warm_ips), "auto", 0, ADDRESSES_MAX,
	  "free addresses to keep ready; auto: enough for the worst recent moment, as measured on this node, 1 to 8 or "
	  "one "
	  "unit" },
	{ "warmPrefixes", "BERTH_WARM_PREFIXES", &kind_number, FIELD(warm_blocks), "0", 0, ADDRESSES_MAX,
	  "whole free units (prefixes, where the cloud gives them) to keep ready" },
	{ "warmNICs", "BERTH_WARM_NICS", &kind_number, FIELD(warm_nics), "0", 0, CLOUD_NICS_MAX,
	  "free addresses to keep ready, counted in full NICs" },
	{ "minIPs", "BERTH_MIN_IPS", &kind_number, FIELD(min_ips), "0", 0, ADDRESSES_MAX,
	  "addresses to hold in all, used or not; at most maxPods" },
	{ "maxNICs", "BERTH_MAX_NICS", &kind_number, FIELD(max_nics), "0", 0, CLOUD_NICS_MAX,
	  "NICs to use, the primary included; 0: what the instance allows" },
	{ "maxPods", "BERTH_MAX_PODS", &kind_number, FIELD(max_pods), "110", 1, ADDRESSES_MAX,
	  "never hold more addresses than this, rounded up to whole units" },
	{ "pause", "BERTH_PAUSE", &kind_pause, FIELD(pause), "none", 0, 0,
	  "what to leave undone in the cloud; `berthctl pause` changes it until the next start" },
	{ "cooldown", "BERTH_COOLDOWN", &kind_duration, FIELD(cooldown_us), "30s", 0, HOUR_US,
	  "how long an address rests before another pod gets it" },
	{ "releaseDelay", "BERTH_RELEASE_DELAY", &kind_duration, FIELD(release_delay_us), "60s", 0, DAY_US,
	  "how long a surplus block is idle before it goes back to the cloud" },
	{ "listPeriod", "BERTH_LIST_PERIOD", &kind_duration, FIELD(list_period_us), "300s", USEC_PER_SEC, DAY_US,
	  "how often the cloud is asked what the node has, with jitter" },
	{ "addTimeout", "BERTH_ADD_TIMEOUT", &kind_duration, FIELD(add_timeout_us), "60s", USEC_PER_SEC, HOUR_US,
	  "how long a starting pod waits for an address; below the runtime's own limit" },
	{ "unconfirmedTimeout", "BERTH_UNCONFIRMED_TIMEOUT", &kind_duration, FIELD(unconfirmed_us), "120s",
	  10 * USEC_PER_SEC, DAY_US, "after this a reserved address whose pod was never wired is taken back" },
	{ "externalSNAT", "BERTH_EXTERNAL_SNAT", &kind_bool, FIELD(external_snat), "false", 0, 0,
	  "true: no SNAT on the node; pods leave by the NIC of their address and something else translates" },
	{ "snatExclude", "BERTH_SNAT_EXCLUDE", &kind_prefixes, FIELD(snat_exclude), "", 0, 0,
	  "prefixes beside the network's own that pods reach with their own address" },
	{ "markMask", "BERTH_MARK_MASK", &kind_mask, FIELD(mark_mask), "0x7e", 1, UINT32_MAX,
	  "bits of packet and connection marks that are berth's; contiguous; other bits are never touched" },
	{ "rulePriority", "BERTH_RULE_PRIORITY", &kind_number, FIELD(rule_priority), "1024", 1, PRIORITY_MAX,
	  "routing rule of the primary NIC; the NIC in slot n uses this number + n" },
	{ "tableBase", "BERTH_TABLE_BASE", &kind_number, FIELD(table_base), "48640", 256, INT32_MAX,
	  "the NIC in slot n has routing table tableBase + n" },
	{ "mtu", "BERTH_MTU", &kind_number, FIELD(mtu), "0", 0, 65535,
	  "of secondary NICs and pods; 0: that of the primary NIC" },
};

/* kind_number, kind_warm and kind_mask write 32 bits. */
static_assert(sizeof(unsigned) == sizeof(uint32_t), "unsigned fields are parsed as uint32_t");

static void *field(struct config *config, const struct setting *setting)
{
	return (char *)config + setting->offset;
}

/* ---- messages ---- */

static void print_bound(struct strbuf *out, const struct setting *setting, int64_t value)
{
	if (setting->kind == &kind_duration)
		strbuf_printf(out, "%gs", (double)value / (double)USEC_PER_SEC);
	else
		strbuf_printf(out, "%" PRId64, value);
}

/* What @setting wants: its kind and its range. */
static void print_wanted(struct strbuf *out, const struct setting *setting)
{
	strbuf_add(out, setting->kind->wanted);
	if (setting->max == 0)
		return;
	strbuf_add(out, ", ");
	print_bound(out, setting, setting->min);
	strbuf_add(out, " to ");
	print_bound(out, setting, setting->max);
}

static int bad_value(const struct setting *setting, const char *name, const char *text, const char *source,
		     struct err *err)
{
	_cleanup_strbuf_ struct strbuf wanted = { 0 };

	print_wanted(&wanted, setting);
	return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "%s: %s is \"%.64s\", not %s", source, name, text,
		       wanted.text ? wanted.text : "valid");
}

/* Levenshtein's distance without case, of names up to CONFIG_NAME_MAX bytes. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[CONFIG_NAME_MAX + 1];
	size_t b_len = strlen(b);

	assert(b_len <= CONFIG_NAME_MAX);
	for (unsigned j = 0; j <= b_len; j++)
		row[j] = j;
	for (unsigned i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned best = diagonal + (strncasecmp(&a[i - 1], &b[j - 1], 1) != 0);

			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[b_len];
}

static const char *setting_name(const struct setting *setting, bool env)
{
	return env ? setting->env : setting->key;
}

static int unknown_name(const char *name, bool env, const char *source, struct err *err)
{
	const struct setting *nearest = &settings[0];
	unsigned least = UINT_MAX;

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		unsigned far = strnlen(name, CONFIG_NAME_MAX) < CONFIG_NAME_MAX
				       ? distance(name, setting_name(&settings[i], env))
				       : UINT_MAX;

		if (far < least) {
			least = far;
			nearest = &settings[i];
		}
	}
	return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "%s: %.64s is no setting; the nearest one is %s", source, name,
		       setting_name(nearest, env));
}

/* ---- the file ---- */

static const struct setting *setting_by_key(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		if (str_equal(key, settings[i].key))
			return &settings[i];
	}
	return NULL;
}

/* An array of strings becomes a list with commas. */
static int print_array(const json_t *array, struct strbuf *out)
{
	const json_t *item;
	size_t i;

	json_array_foreach (array, i, item) {
		if (!json_is_string(item) || strpbrk(json_string_value(item), ", "))
			return -EINVAL;
		strbuf_printf(out, "%s%s", i ? "," : "", json_string_value(item));
	}
	return 0;
}

/* The value as its parser reads it. Each kind takes a string; numbers, booleans and arrays only where they make sense.
 */
static int print_value(const struct setting *setting, const json_t *value, struct strbuf *out)
{
	const struct kind *kind = setting->kind;

	if (json_is_string(value))
		strbuf_add(out, json_string_value(value));
	else if (json_is_integer(value) &&
		 (kind == &kind_number || kind == &kind_warm || kind == &kind_mask || kind == &kind_duration))
		strbuf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_boolean(value) && kind == &kind_bool)
		strbuf_add(out, json_is_true(value) ? "true" : "false");
	else if (json_is_array(value) && kind == &kind_prefixes)
		return print_array(value, out);
	else
		return -EINVAL;
	return 0;
}

static int apply_json(const char *path, const char *key, const json_t *value, struct config *config, struct err *err)
{
	const struct setting *setting = setting_by_key(key);
	_cleanup_strbuf_ struct strbuf text = { .max_len = CONFIG_VALUE_MAX };
	_cleanup_free_ char *raw = NULL;

	if (!setting)
		return unknown_name(key, false, path, err);
	if (json_is_null(value))
		return 0;
	if (print_value(setting, value, &text) == 0 && !text.failed &&
	    setting->kind->parse(setting, text.text ? text.text : "", field(config, setting)) == 0)
		return 0;
	raw = json_print(value);
	return bad_value(setting, key, json_is_string(value) ? json_string_value(value) : raw ? raw : "?", path, err);
}

static int load_file(const char *path, struct config *config, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	json_auto_t *json = NULL;
	const char *key;
	json_t *value;
	size_t size;
	int r = fs_read(path, CONFIG_FILE_MAX, &text, &size);

	if (r < 0)
		return err_set_errno(err, ERR_INVALID, CONFIG_DOMAIN, -r, "read %s", path);
	if (json_parse(text, size, CONFIG_DOMAIN, &json, err) < 0) {
		if (err)
			err->class = ERR_INVALID;
		return err_wrap(err, "%s", path);
	}
	if (!json_is_object(json))
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "%s: no JSON object", path);
	json_object_foreach (json, key, value) {
		if (apply_json(path, key, value, config, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- the environment ---- */

static const char *process_env(const char *name)
{
	return getenv(name);
}

static int load_env(const char *(*get_env)(const char *name), struct config *config, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		const char *text = get_env(settings[i].env);

		if (text && settings[i].kind->parse(&settings[i], text, field(config, &settings[i])) < 0)
			return bad_value(&settings[i], settings[i].env, text, "environment", err);
	}
	return 0;
}

/*
 * Kubernetes tells every pod about the Services of its namespace: one that is called berth-ipamd gives
 * BERTH_IPAMD_SERVICE_HOST, BERTH_IPAMD_PORT, BERTH_IPAMD_PORT_9479_TCP_ADDR and more. No setting is named like that.
 * https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
static bool is_service_link(const char *name)
{
	static const char port[] = "_PORT";
	size_t len = strlen(name);

	return strstr(name, "_SERVICE_HOST") || strstr(name, "_SERVICE_PORT") || strstr(name, "_PORT_") ||
	       (len > strlen(port) && str_equal(name + len - strlen(port), port));
}

static bool is_known_env(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		if (str_equal(name, settings[i].env))
			return true;
	}
	return is_service_link(name);
}

static int check_env_names(char *const *names, struct err *err)
{
	for (size_t i = 0; names && names[i]; i++) {
		char name[CONFIG_NAME_MAX + 1];
		size_t len = strcspn(names[i], "=");

		if (!str_starts(names[i], CONFIG_ENV))
			continue;
		if (len >= sizeof(name))
			len = sizeof(name) - 1;
		memcpy(name, names[i], len);
		name[len] = '\0';
		if (!is_known_env(name))
			return unknown_name(name, true, "environment", err);
	}
	return 0;
}

/* ---- checks over all of it ---- */

static bool is_contiguous(uint32_t mask)
{
	uint32_t lowest = mask & -mask;

	return mask && ((mask + lowest) & mask) == 0;
}

static int check_paths(const struct config *config, struct err *err)
{
	const size_t socket_max = sizeof(((struct sockaddr_un *)NULL)->sun_path);
	const char *end = strrchr(config->conflist_name, '.');

	if (config->run_dir[0] != '/' || config->conflist_dir[0] != '/')
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "runDir and conflistDir must start with /");
	if (strlen(config->run_dir) + strlen("/" PROTO_SOCKET) >= socket_max)
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "runDir is too long for a socket below it (%zu bytes)",
			       socket_max - sizeof("/" PROTO_SOCKET));
	if (strchr(config->conflist_name, '/') || config->conflist_name[0] == '.' || !end ||
	    !str_equal(end, ".conflist"))
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN,
			       "conflistName is \"%.64s\", not a file name that ends in .conflist",
			       config->conflist_name);
	return 0;
}

static int check_names(const struct config *config, struct err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	static const char behind[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	if (!config->cloud[0])
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "cloud is empty");
	if (!config->network[0] || !strchr(letters, config->network[0]) ||
	    config->network[strspn(config->network, behind)] || strlen(config->network) >= LEASE_NETWORK_SIZE)
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN,
			       "network is \"%.64s\", not up to %d letters, digits, _ . - with a letter or digit first",
			       config->network, LEASE_NETWORK_SIZE - 1);
	return 0;
}

static int check_numbers(const struct config *config, struct err *err)
{
	if (!is_contiguous(config->mark_mask))
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "markMask 0x%x is not one run of bits",
			       config->mark_mask);
	if (config->max_nics > hostnet_slots_max(config->mark_mask))
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "markMask 0x%x tells %u NICs apart, maxNICs is %u",
			       config->mark_mask, hostnet_slots_max(config->mark_mask), config->max_nics);
	if (config->min_ips > config->max_pods)
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "minIPs %u is above maxPods %u", config->min_ips,
			       config->max_pods);
	if (config->mtu && config->mtu < 576)
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN,
			       "mtu %u is below 576, the least that IPv4 hosts agree on", config->mtu);
	return 0;
}

static int check(const struct config *config, struct err *err)
{
	if (check_paths(config, err) < 0 || check_names(config, err) < 0 || check_numbers(config, err) < 0)
		return -1;
	if (config->metrics_address[0] && metrics_address_parse(config->metrics_address, NULL, NULL) < 0)
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "metricsAddress is \"%.64s\", not IP:PORT",
			       config->metrics_address);
	return 0;
}

/* ---- doors ---- */

void config_defaults(struct config *ret)
{
	struct config config = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		int r = settings[i].kind->parse(&settings[i], settings[i].def, field(&config, &settings[i]));

		assert(r == 0);
		(void)r;
	}
	*ret = config;
}

int config_load(const char *path, const char *(*get_env)(const char *name), char *const *environ_names,
		struct config *ret, struct err *err)
{
	struct config config;

	assert(ret);
	config_defaults(&config);
	if (path && *path && load_file(path, &config, err) < 0)
		return -1;
	if (check_env_names(environ_names, err) < 0 || load_env(get_env ? get_env : process_env, &config, err) < 0 ||
	    check(&config, err) < 0)
		return -1;
	*ret = config;
	return 0;
}

static void help_row(FILE *out, bool markdown, const struct setting *setting)
{
	_cleanup_strbuf_ struct strbuf wanted = { 0 };
	const char *def = *setting->def ? setting->def : "\"\"";

	if (setting->kind != &kind_text) {
		strbuf_add(&wanted, "; ");
		print_wanted(&wanted, setting);
	}
	if (markdown)
		(void)fprintf(out, "| `%s` | `%s` | `%s` | %s%s |\n", setting->key, setting->env, def, setting->doc,
			      wanted.text ? wanted.text : "");
	else
		(void)fprintf(out, "  %s, %s (default %s)\n      %s%s\n", setting->key, setting->env, def, setting->doc,
			      wanted.text ? wanted.text : "");
}

void config_help(FILE *out, bool markdown)
{
	if (markdown)
		(void)fprintf(out, "| key | variable | default | meaning |\n|---|---|---|---|\n");
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		help_row(out, markdown, &settings[i]);
}
