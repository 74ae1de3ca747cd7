/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the FORWARD chains of iptables-legacy
 *
 * They are no nft objects. The kernel gives the whole table `filter` as one blob of entries, once its size is known; a
 * base chain is the entries from its hook to its underflow, which is the entry of its policy. Asking for a table that
 * is not there makes the kernel create it, and load its module, so /proc is asked first.
 *
 * Entries of IPv4 and IPv6 differ in their conditions only: struct shape says where what stands.
 */
#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h> /* before the kernel's own */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/netfilter.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

#include "berth/fs.h"
#include "berth/str.h"
#include "net_internal.h"

#define TABLE      "filter"
#define CHAIN      "FORWARD"
#define NAMES_MAX  4096U       /* bytes of /proc's list of tables; there are five */
#define BLOB_MAX   (64U << 20) /* bytes of a table: 300,000 rules */
#define READ_TRIES 3           /* the table may grow between two questions */

struct shape {
	uint8_t family;    /* enum ip_family */
	const char *names; /* the tables that are there */
	int domain, level, get_info, get_entries;
	size_t conditions, entry; /* bytes: of what an entry asks of a packet, of all its fixed part */
	size_t target;            /* where the entry says where its target is, and how long it is */
	size_t in, in_mask, out, out_mask;
};

static const struct shape shapes[] = {
	{ IP_V4, "/proc/thread-self/net/ip_tables_names", AF_INET, SOL_IP, IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES,
	  sizeof(struct ipt_ip), sizeof(struct ipt_entry), offsetof(struct ipt_entry, target_offset),
	  offsetof(struct ipt_ip, iniface), offsetof(struct ipt_ip, iniface_mask), offsetof(struct ipt_ip, outiface),
	  offsetof(struct ipt_ip, outiface_mask) },
	{ IP_V6, "/proc/thread-self/net/ip6_tables_names", AF_INET6, SOL_IPV6, IP6T_SO_GET_INFO, IP6T_SO_GET_ENTRIES,
	  sizeof(struct ip6t_ip6), sizeof(struct ip6t_entry), offsetof(struct ip6t_entry, target_offset),
	  offsetof(struct ip6t_ip6, iniface), offsetof(struct ip6t_ip6, iniface_mask),
	  offsetof(struct ip6t_ip6, outiface), offsetof(struct ip6t_ip6, outiface_mask) },
};

static_assert(sizeof(struct ipt_getinfo) == sizeof(struct ip6t_getinfo) &&
		      offsetof(struct ipt_get_entries, entrytable) == offsetof(struct ip6t_get_entries, entrytable),
	      "both families ask alike");
static_assert(offsetof(struct ipt_entry, next_offset) - offsetof(struct ipt_entry, target_offset) == sizeof(uint16_t) &&
		      offsetof(struct ip6t_entry, next_offset) - offsetof(struct ip6t_entry, target_offset) ==
			      sizeof(uint16_t),
	      "the two offsets stand together");

/* ---- reading a table ---- */

struct blob {
	unsigned forward, policy; /* offsets: its first entry, the entry of its policy */
	unsigned size;
	uint8_t *bytes; /* owned */
};

static void blob_done(struct blob *blob)
{
	free(blob->bytes);
}

/* Is the table in use? What nobody has loaded closes nothing. */
static bool is_loaded(const struct shape *shape)
{
	_cleanup_free_ char *names = NULL;
	char *at;

	if (fs_read(shape->names, NAMES_MAX, &names, NULL) < 0)
		return false;
	for (at = names; *at;) {
		size_t len = strcspn(at, "\n");

		if (len == strlen(TABLE) && strncmp(at, TABLE, len) == 0)
			return true;
		at += len + (at[len] == '\n');
	}
	return false;
}

/* Return: 0 or -errno; -EAGAIN: it was another size meanwhile. */
static int read_once(const struct shape *shape, int fd, struct blob *ret)
{
	struct ipt_getinfo info = { .name = TABLE };
	socklen_t size = sizeof(info);
	_cleanup_free_ struct ipt_get_entries *entries = NULL;

	if (getsockopt(fd, shape->level, shape->get_info, &info, &size) < 0)
		return -errno;
	if (info.size > BLOB_MAX)
		return -EOVERFLOW;
	size = (socklen_t)(sizeof(*entries) + info.size);
	entries = calloc(1, size);
	if (!entries)
		return -ENOMEM;
	(void)str_copy(entries->name, sizeof(entries->name), TABLE);
	entries->size = info.size;
	if (getsockopt(fd, shape->level, shape->get_entries, entries, &size) < 0)
		return -errno;
	*ret = (struct blob){ info.hook_entry[NF_INET_FORWARD], info.underflow[NF_INET_FORWARD], info.size, NULL };
	ret->bytes = malloc(info.size + 1U);
	if (!ret->bytes)
		return -ENOMEM;
	memcpy(ret->bytes, entries->entrytable, info.size);
	return 0;
}

static int read_table(const struct shape *shape, struct blob *ret)
{
	_cleanup_close_ int fd = socket(shape->domain, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc = fd < 0 ? -errno : -EAGAIN;

	for (int i = 0; rc == -EAGAIN && i < READ_TRIES; i++)
		rc = read_once(shape, fd, ret);
	return rc;
}

/* ---- reading an entry ---- */

struct entry {
	const uint8_t *conditions;
	const uint8_t *matches, *target, *end;
	unsigned next; /* offset of the next one */
};

static uint16_t u16_at(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* Return: false where the blob is not what it should be. */
static bool entry_at(const struct shape *shape, const struct blob *blob, unsigned offset, struct entry *ret)
{
	const uint8_t *at;
	unsigned target, next;

	if (!blob->bytes || offset > blob->size || blob->size - offset < shape->entry)
		return false;
	at = blob->bytes + offset;
	target = u16_at(at + shape->target);
	next = u16_at(at + shape->target + sizeof(uint16_t));
	if (target < shape->entry || next < target + sizeof(struct xt_entry_target) || next > blob->size - offset)
		return false;
	*ret = (struct entry){ at, at + shape->entry, at + target, at + next, offset + next };
	return true;
}

/* The kind of links that a name with its mask stands for: one that begins so. A whole name is no kind. */
static uint32_t kind_bit(const struct net_forward_ask *ask, const uint8_t *name, const uint8_t *mask)
{
	char begins[IFNAMSIZ] = "";
	size_t len = 0;

	while (len < IFNAMSIZ - 1 && mask[len] == 0xff)
		len++;
	memcpy(begins, name, len);
	for (unsigned i = 0; len > 0 && i < ask->link_count; i++)
		if (strlen(begins) == len && str_equal(ask->links[i], begins))
			return 1U << i;
	return 0;
}

/* Walks its matches. @ret_other: is there one that is no comment? */
static bool has_comment(const struct entry *entry, const char *text, bool *ret_other)
{
	bool found = false;

	*ret_other = false;
	for (const uint8_t *at = entry->matches; entry->target - at >= (ptrdiff_t)sizeof(struct xt_entry_match);) {
		size_t size = u16_at(at), head = sizeof(struct xt_entry_match);
		const char *name = (const char *)at + offsetof(struct xt_entry_match, u.user.name);
		const char *said = (const char *)at + head;

		if (size < head || size > (size_t)(entry->target - at))
			break;
		if (strncmp(name, "comment", XT_EXTENSION_MAXNAMELEN) != 0)
			*ret_other = true;
		else
			found = found || (size > head + strlen(text) && strncmp(said, text, size - head) == 0);
		at += size;
	}
	return found;
}

enum says { SAYS_NEITHER, SAYS_YES, SAYS_NO };

/* What it does with every packet that comes to it. */
static enum says says(const struct entry *entry)
{
	const struct xt_entry_target *target = (const void *)entry->target;
	int verdict;

	if (strncmp(target->u.user.name, "REJECT", sizeof(target->u.user.name)) == 0)
		return SAYS_NO;
	if (target->u.user.name[0] || entry->end - entry->target < (ptrdiff_t)sizeof(struct xt_standard_target))
		return SAYS_NEITHER;
	memcpy(&verdict, entry->target + offsetof(struct xt_standard_target, verdict), sizeof(verdict));
	if (verdict == -NF_DROP - 1)
		return SAYS_NO;
	return verdict == -NF_ACCEPT - 1 ? SAYS_YES : SAYS_NEITHER;
}

static bool is_unconditional(const struct shape *shape, const struct entry *entry, bool has_matches)
{
	for (size_t i = 0; i < shape->conditions; i++)
		if (entry->conditions[i])
			return false;
	return !has_matches;
}

/* ---- what is closed ---- */

/* Return: 1 closed, 0 not, -EBADMSG. */
static int judge(const struct shape *shape, const struct net_forward_ask *ask, const struct blob *blob,
		 struct net_closed_chain *ret)
{
	struct entry entry;
	unsigned at = blob->forward, number = 0;
	enum says last = SAYS_NEITHER;

	*ret = (struct net_closed_chain){ .legacy = true, .family = shape->family, .table = TABLE, .name = CHAIN };
	while (at < blob->policy) {
		uint32_t in, out;
		bool ours, other;

		if (!entry_at(shape, blob, at, &entry))
			return -EBADMSG;
		in = kind_bit(ask, entry.conditions + shape->in, entry.conditions + shape->in_mask);
		out = kind_bit(ask, entry.conditions + shape->out, entry.conditions + shape->out_mask);
		ours = has_comment(&entry, ask->mark, &other);
		ret->from |= ours ? in : 0;
		ret->to |= ours ? out : 0;
		ret->named = ret->named || (!ours && (in || out));
		last = is_unconditional(shape, &entry, other) ? says(&entry) : SAYS_NEITHER;
		number++;
		at = entry.next;
	}
	if (!entry_at(shape, blob, blob->policy, &entry))
		return -EBADMSG;
	ret->last = last == SAYS_NO ? number : 0;
	return last == SAYS_NO || (last == SAYS_NEITHER && says(&entry) == SAYS_NO);
}

static int look_at(const struct shape *shape, const struct net_forward_ask *ask, struct net_closed_chains *chains)
{
	_cleanup_(blob_done) struct blob blob = { 0 };
	int rc;

	if (!is_loaded(shape) || chains->count == NET_CHAINS_MAX)
		return 0;
	rc = read_table(shape, &blob);
	if (rc == 0)
		rc = judge(shape, ask, &blob, &chains->list[chains->count]);
	chains->count += rc > 0;
	return rc < 0 ? rc : 0;
}

int net_legacy_closed(const struct net_forward_ask *ask, struct net_closed_chains *chains, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		int rc = look_at(&shapes[i], ask, chains);

		if (rc < 0)
			return net_fail(err, rc, NULL, "read table " TABLE " of %s",
					shapes[i].family == IP_V6 ? "ip6tables-legacy" : "iptables-legacy");
	}
	return 0;
}
