/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the matrix
 *
 * Every kind of path that a pod network promises is a row: how often it was tried, how often it held. A row collects
 * its probes, then all of them are sent in parallel. With many pods not every pair is asked: each pod asks its next
 * PARTNERS of a kind, as on a ring, so that every pod is source and destination of every kind that exists for it.
 *
 * There is one table for each address family that pods have.
 *
 * That pods of a secondary NIC leave by that NIC needs no row: the fabric drops a source on any NIC but its own (the
 * two rows of forged sources show that it does), so each such pod that reaches anything has left by the right one.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/str.h"
#include "box_opts.h"
#include "box_ping.h"
#include "box_verbs.h"
#include "box_world.h"

#define DOMAIN       "vpcbox"
#define PARTNERS     3U     /* destinations per pod and kind: 110 pods are then 330 probes, 3 batches */
#define PROBES_MAX   65536U /* of one row; 16 nodes * 1024 pods * PARTNERS are fewer */
#define FAILURES_MAX 20U    /* lines of failures that are printed */
#define FREE_MAX     4U     /* unused addresses per node that are asked */

enum matrix_row {
	ROW_SAME_NIC,
	ROW_OTHER_NIC,
	ROW_OTHER_NODE,
	ROW_NODE_POD,
	ROW_POD_NODE,
	ROW_INTERNET,
	ROW_FORGED,
	ROW_OTHER_NICS_SOURCE,
	ROW_DARK,
	ROW_FREE,
	ROW_COUNT
};

static const char *const row_names[] = {
	[ROW_SAME_NIC] = "pod - pod, same NIC",
	[ROW_OTHER_NIC] = "pod - pod, other NIC of the node",
	[ROW_OTHER_NODE] = "pod - pod, other node",
	[ROW_NODE_POD] = "node - pod",
	[ROW_POD_NODE] = "pod - node",
	[ROW_INTERNET] = "pod - internet, seen as its node",
	[ROW_FORGED] = "forged source is dropped",
	[ROW_OTHER_NICS_SOURCE] = "source of another NIC is dropped",
	[ROW_DARK] = "unassigned address is dark",
	[ROW_FREE] = "assigned, unused address is silent",
};
static_assert(ARRAY_SIZE(row_names) == ROW_COUNT, "a name per row");

/* IPv6 is not translated on its way out. */
static const char *row_name(enum ip_family family, enum matrix_row row)
{
	return family == IP_V6 && row == ROW_INTERNET ? "pod - internet, seen as itself" : row_names[row];
}

struct pair {
	const struct box_place *from, *to; /* @to NULL: nobody lives there */
};

struct probes {
	struct ping_probe *list; /* owned */
	struct pair *pairs;      /* owned; beside it */
	unsigned count, alloc;
};

struct matrix {
	struct box_world world;
	unsigned ok[ROW_COUNT], tried[ROW_COUNT];
	unsigned failures;
};

static void matrix_done(struct matrix *matrix)
{
	box_world_done(&matrix->world);
}

static void probes_done(struct probes *probes)
{
	free(probes->list);
	free(probes->pairs);
}

static int probes_add(struct probes *probes, const struct box_place *from, const struct box_place *to,
		      const struct ipaddr *dst, struct err *err)
{
	if (probes->count == PROBES_MAX)
		return err_set(err, ERR_EXHAUSTED, DOMAIN, "more than %u probes", PROBES_MAX);
	if (probes->count == probes->alloc) {
		unsigned alloc = probes->alloc ? probes->alloc * 2 : 64;
		struct ping_probe *list = realloc(probes->list, alloc * sizeof(list[0]));

		if (!list)
			return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "probes");
		probes->list = list;
		struct pair *pairs = realloc(probes->pairs, alloc * sizeof(pairs[0]));

		if (!pairs)
			return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "probes");
		probes->pairs = pairs;
		probes->alloc = alloc;
	}
	probes->list[probes->count] =
		(struct ping_probe){ .netns_fd = from->netns_fd, .dst = *dst, .tries = to ? 0 : 1 };
	probes->pairs[probes->count++] = (struct pair){ .from = from, .to = to };
	return 0;
}

static void count(struct matrix *matrix, enum matrix_row row, bool ok, const struct box_place *from,
		  const struct ipaddr *dst, const char *why)
{
	char src_text[IPADDR_STRLEN], dst_text[IPADDR_STRLEN];

	matrix->tried[row]++;
	if (ok) {
		matrix->ok[row]++;
		return;
	}
	if (matrix->failures++ < FAILURES_MAX)
		(void)printf("  %s: %s (%s) -> %s: %s\n", row_name(matrix->world.family, row), from->name,
			     ipaddr_str(&from->addr, src_text), ipaddr_str(dst, dst_text), why);
}

static void count_answers(struct matrix *matrix, enum matrix_row row, const struct probes *probes)
{
	for (unsigned i = 0; i < probes->count; i++)
		count(matrix, row, probes->list[i].ok, probes->pairs[i].from, &probes->list[i].dst,
		      probes->list[i].wrong_source ? "answered by somebody else" : "no answer");
}

static void count_silence(struct matrix *matrix, enum matrix_row row, const struct probes *probes)
{
	for (unsigned i = 0; i < probes->count; i++)
		count(matrix, row, !probes->list[i].ok && !probes->list[i].wrong_source, probes->pairs[i].from,
		      &probes->list[i].dst, "it answers");
}

/* ---- pods, nodes ---- */

static enum matrix_row kind_of(const struct box_place *a, const struct box_place *b)
{
	if (a->node != b->node)
		return ROW_OTHER_NODE;
	return a->nic == b->nic ? ROW_SAME_NIC : ROW_OTHER_NIC;
}

static int pod_to_pod(struct matrix *matrix, enum matrix_row row, struct err *err)
{
	const struct box_world *world = &matrix->world;
	_cleanup_(probes_done) struct probes probes = { 0 };

	for (unsigned i = 0; i < world->pod_count; i++) {
		unsigned partners = 0;

		for (unsigned step = 1; step < world->pod_count && partners < PARTNERS; step++) {
			const struct box_place *from = &world->pods[i];
			const struct box_place *to = &world->pods[(i + step) % world->pod_count];

			if (kind_of(from, to) != row)
				continue;
			if (probes_add(&probes, from, to, &to->addr, err) < 0)
				return -1;
			partners++;
		}
	}
	if (ping_echo(probes.list, probes.count, err) < 0)
		return -1;
	count_answers(matrix, row, &probes);
	return 0;
}

static int nodes_and_pods(struct matrix *matrix, enum matrix_row row, struct err *err)
{
	const struct box_world *world = &matrix->world;
	_cleanup_(probes_done) struct probes probes = { 0 };

	for (unsigned i = 0; i < world->node_count; i++) {
		for (unsigned j = 0; j < world->pod_count; j++) {
			const struct box_place *from = row == ROW_NODE_POD ? &world->nodes[i] : &world->pods[j];
			const struct box_place *to = row == ROW_NODE_POD ? &world->pods[j] : &world->nodes[i];

			if (probes_add(&probes, from, to, &to->addr, err) < 0)
				return -1;
		}
	}
	if (ping_echo(probes.list, probes.count, err) < 0)
		return -1;
	count_answers(matrix, row, &probes);
	return 0;
}

/* ---- the internet ---- */

static struct ipaddr internet_of(enum ip_family family)
{
	struct ipaddr addr = { 0 };

	(void)ipaddr_parse(family == IP_V6 ? FABRIC_INTERNET_ADDR6 : FABRIC_INTERNET_ADDR, &addr);
	return addr;
}

/* IPv4 leaves under the public address of its node's primary; IPv6 is not translated. */
static int pods_to_internet(struct matrix *matrix, struct err *err)
{
	const struct box_world *world = &matrix->world;
	_cleanup_(probes_done) struct probes probes = { 0 };
	struct ipaddr internet;

	internet = internet_of(world->family);
	for (unsigned i = 0; i < world->pod_count; i++)
		if (probes_add(&probes, &world->pods[i], &world->nodes[world->pods[i].node], &internet, err) < 0)
			return -1;
	if (ping_udp(probes.list, probes.count, world->inet_fd, err) < 0)
		return -1;
	for (unsigned i = 0; i < probes.count; i++) {
		struct ipaddr want = world->family == IP_V6 ? probes.pairs[i].from->addr
							    : fabric_public_addr(&probes.pairs[i].to->addr);
		bool as_wanted = ipaddr_equal(&probes.list[i].seen, &want);

		count(matrix, ROW_INTERNET, probes.list[i].ok && as_wanted, probes.pairs[i].from, &internet,
		      probes.list[i].ok ? "seen with another address" : "no answer");
	}
	return 0;
}

/* ---- what must not work ---- */

static int try_forgery(struct matrix *matrix, enum matrix_row row, const struct box_place *from,
		       const struct ipaddr *forged, struct err *err)
{
	const struct box_world *world = &matrix->world;
	/* Another node, else the fabric itself, which has no IPv6 address of its own: the internet; never a place to
	 * which the forged source is local or the same. */
	const struct box_place *to = world->node_count > 1 ? &world->nodes[(from->node + 1) % world->node_count] : NULL;
	struct ping_forgery forgery = { .from_netns_fd = from->netns_fd,
					.to_netns_fd = to                       ? to->netns_fd
						       : world->family == IP_V6 ? world->inet_fd
										: world->vpc_fd,
					.honest = from->addr,
					.forged = *forged };

	if (to)
		forgery.dst = to->addr;
	else if (world->family == IP_V6)
		forgery.dst = internet_of(IP_V6);
	else
		(void)ipaddr_parse(FABRIC_API_ADDR, &forgery.dst);
	if (ping_forge(&forgery, err) < 0)
		return -1;
	count(matrix, row, forgery.honest_came && !forgery.forged_came, from, &forgery.dst,
	      forgery.forged_came ? "the forged packet came through" : "not even the honest packet came");
	return 0;
}

static int forged_sources(struct matrix *matrix, struct err *err)
{
	const struct box_world *world = &matrix->world;
	struct ipaddr dark;
	int last_nic = 0;

	for (unsigned i = 0; i < world->node_count; i++)
		if (box_world_dark(world, i, &dark) &&
		    try_forgery(matrix, ROW_FORGED, &world->nodes[i], &dark, err) < 0)
			return -1;
	for (unsigned i = 0; i < world->pod_count; i++) {
		const struct box_place *pod = &world->pods[i];

		/* One pod per run of pods on a NIC is enough: they share all of the way. */
		if (pod->nic == last_nic || !box_world_dark(world, pod->node, &dark))
			continue;
		last_nic = pod->nic;
		if (try_forgery(matrix, ROW_FORGED, pod, &dark, err) < 0)
			return -1;
	}
	return 0;
}

/* From a node's own namespace everything leaves by the primary NIC: a pod's source of another NIC must not pass there.
 */
static int sources_of_other_nics(struct matrix *matrix, struct err *err)
{
	const struct box_world *world = &matrix->world;
	int last_nic = 0;

	for (unsigned i = 0; i < world->pod_count; i++) {
		const struct box_place *pod = &world->pods[i];
		const struct box_place *node = &world->nodes[pod->node];

		if (pod->nic == node->nic || pod->nic == last_nic)
			continue;
		last_nic = pod->nic;
		if (try_forgery(matrix, ROW_OTHER_NICS_SOURCE, node, &pod->addr, err) < 0)
			return -1;
	}
	return 0;
}

static int ask_everybody(struct matrix *matrix, struct probes *probes, const struct ipaddr *dst, struct err *err)
{
	const struct box_world *world = &matrix->world;
	int last_nic = 0;

	for (unsigned i = 0; i < world->node_count; i++)
		if (probes_add(probes, &world->nodes[i], NULL, dst, err) < 0)
			return -1;
	for (unsigned i = 0; i < world->pod_count; i++) {
		if (world->pods[i].nic == last_nic)
			continue;
		last_nic = world->pods[i].nic;
		if (probes_add(probes, &world->pods[i], NULL, dst, err) < 0)
			return -1;
	}
	return 0;
}

static int silent_addresses(struct matrix *matrix, enum matrix_row row, struct err *err)
{
	const struct box_world *world = &matrix->world;
	_cleanup_(probes_done) struct probes probes = { 0 };
	struct ipaddr addr;

	for (unsigned i = 0; i < world->node_count; i++) {
		if (row == ROW_DARK && box_world_dark(world, i, &addr) &&
		    ask_everybody(matrix, &probes, &addr, err) < 0)
			return -1;
		for (unsigned nth = 0; row == ROW_FREE && nth < FREE_MAX && box_world_free(world, i, nth, &addr); nth++)
			if (ask_everybody(matrix, &probes, &addr, err) < 0)
				return -1;
	}
	if (ping_echo(probes.list, probes.count, err) < 0)
		return -1;
	count_silence(matrix, row, &probes);
	return 0;
}

/* ---- the verb ---- */

static int run_row(struct matrix *matrix, enum matrix_row row, struct err *err)
{
	switch (row) {
	case ROW_SAME_NIC:
	case ROW_OTHER_NIC:
	case ROW_OTHER_NODE:
		return pod_to_pod(matrix, row, err);
	case ROW_NODE_POD:
	case ROW_POD_NODE:
		return nodes_and_pods(matrix, row, err);
	case ROW_INTERNET:
		return pods_to_internet(matrix, err);
	case ROW_FORGED:
		return forged_sources(matrix, err);
	case ROW_OTHER_NICS_SOURCE:
		return sources_of_other_nics(matrix, err);
	case ROW_DARK:
	case ROW_FREE:
		return silent_addresses(matrix, row, err);
	case ROW_COUNT:
		break;
	}
	return err_set(err, ERR_BUG, DOMAIN, "row %d", (int)row);
}

static void print_table(const struct matrix *matrix)
{
	(void)printf("%-36s %6s / %s\n", matrix->world.family == IP_V6 ? "IPv6" : "IPv4", "ok", "tried");
	for (unsigned row = 0; row < ROW_COUNT; row++) {
		const char *name = row_name(matrix->world.family, (enum matrix_row)row);

		if (matrix->tried[row] == 0)
			(void)printf("%-36s %6s   nothing to try\n", name, "-");
		else
			(void)printf("%-36s %6u / %u%s\n", name, matrix->ok[row], matrix->tried[row],
				     matrix->ok[row] < matrix->tried[row] ? "  FAILS" : "");
	}
}

/* Return: how many probes do not hold, or -1. *ret_pods: how many pods have an address of that family. */
static int family_matrix(const struct box *box, enum ip_family family, unsigned *ret_pods, struct err *err)
{
	_cleanup_(matrix_done) struct matrix matrix = { .world = { .vpc_fd = -1, .inet_fd = -1 } };

	if (box_world_read(box, family, &matrix.world, err) < 0)
		return -1;
	*ret_pods = matrix.world.pod_count;
	if (matrix.world.pod_count == 0)
		return 0;
	for (unsigned row = 0; row < ROW_COUNT; row++)
		if (run_row(&matrix, (enum matrix_row)row, err) < 0)
			return err_wrap(err, "IPv%u, %s", (unsigned)family, row_name(family, (enum matrix_row)row));
	print_table(&matrix);
	return (int)matrix.failures;
}

int box_matrix(const struct box_opts *opts, struct err *err)
{
	static const enum ip_family families[] = { IP_V4, IP_V6 };
	_cleanup_(box_done) struct box box = { 0 };
	unsigned pods = 0, failures = 0;

	if (box_load(opts->name, &box, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		unsigned count = 0;
		int failed = family_matrix(&box, families[i], &count, err);

		if (failed < 0)
			return -1;
		pods += count;
		failures += (unsigned)failed;
	}
	if (pods == 0)
		return err_set(err, ERR_INVALID, DOMAIN, "box %s has no pods: vpcbox pods %s 4", box.prefix,
			       box.nodes[0]);
	(void)printf(
		"The fabric drops a source on any NIC but its own (strict rp_filter, as EC2's source check): a pod of\n"
		"a secondary NIC that reaches anything has left by that NIC.\n");
	if (failures > 0)
		return err_set(err, ERR_INVALID, DOMAIN, "%u probes do not hold", failures);
	return 0;
}
