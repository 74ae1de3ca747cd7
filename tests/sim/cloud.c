/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the model cloud
 *
 * One instance and the subnet of its NICs. What is called here happens at once; how long a call takes, whether its answer
 * arrives and what a provider makes of it is executor.c's business. Reads may show a state that is over: each change keeps
 * a copy of what was before it. Whatever the daemon must never do - touch a foreign NIC, ask for what is not allowed - is
 * noticed here.
 */
#include "tests/sim/world_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/check.h"
#include "berth/str.h"

#define RESERVED_FIRST   4U  /* addresses: network, router, DNS, future use, as EC2 keeps them */
#define RUN_MAX          24U /* addresses that another node holds in a row */
#define STOLEN_FOR_LISTS 5U  /* lists after which the daemon must have given up what was taken away */

struct ipaddr subnet_addr(unsigned offset)
{
	return ipaddr_v4(SUBNET_BASE + offset);
}

/* ---- reads of the past ---- */

static void keep_past(struct world *w)
{
	struct model_cloud *c = &w->cloud;

	if (!w->scenario.faults.stale_read)
		return;
	c->reads[c->read_next % MODEL_READS] = c->now;
	c->read_us[c->read_next % MODEL_READS] = w->now_us;
	c->read_next++;
}

const struct cloud_state *cloud_read(struct world *w, int64_t *ret_at_us)
{
	struct model_cloud *c = &w->cloud;
	int64_t at_us;

	*ret_at_us = w->now_us;
	if (!world_chance(w, w->scenario.faults.stale_read))
		return &c->now;
	at_us = w->now_us - rng_us(&w->rng, 1, w->scenario.faults.stale_max_us);
	/* reads[i] was true until read_us[i]: the oldest that ended after @at_us. */
	for (unsigned back = c->read_next < MODEL_READS ? c->read_next : MODEL_READS; back > 0; back--) {
		unsigned i = (c->read_next - back) % MODEL_READS;

		if (c->read_us[i] <= at_us)
			continue;
		*ret_at_us = at_us;
		world_note(w, "an old read, of %" PRId64 " ms ago", (w->now_us - at_us) / USEC_PER_MSEC);
		return &c->reads[i];
	}
	return &c->now;
}

/* ---- the subnet ---- */

static bool run_is_free(const struct model_cloud *c, unsigned offset, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		if (offset + i >= c->subnet_size || c->subnet[offset + i] != SUBNET_FREE)
			return false;
	return true;
}

static bool subnet_find(struct world *w, unsigned size, unsigned *ret)
{
	unsigned units = w->cloud.subnet_size / size;
	unsigned start = (unsigned)rng_below(&w->rng, units);

	for (unsigned i = 0; i < units; i++) {
		*ret = (start + i) % units * size;
		if (run_is_free(&w->cloud, *ret, size))
			return true;
	}
	return false;
}

static void subnet_use(struct world *w, unsigned offset, unsigned size, enum subnet_use use)
{
	memset(&w->cloud.subnet[offset], (int)use, size);
}

static bool take_unit(struct world *w, uint8_t len, struct prefix *ret)
{
	unsigned size = 1U << (32 - len), offset;
	struct ipaddr addr;

	if (!subnet_find(w, size, &offset))
		return false;
	subnet_use(w, offset, size, SUBNET_OURS);
	addr = subnet_addr(offset);
	*ret = prefix_of(&addr, len);
	return true;
}

static void give_unit(struct world *w, const struct prefix *unit)
{
	subnet_use(w, subnet_offset(&unit->addr), 1U << (32 - unit->len), SUBNET_FREE);
}

static void fill_subnet(struct world *w)
{
	struct model_cloud *c = &w->cloud;
	unsigned taken = (unsigned)((uint64_t)c->subnet_size * w->scenario.shape.taken_ppm / 1000000);

	while (taken > 0) {
		unsigned run = w->scenario.shape.scattered ? 1 : rng_u(&w->rng, 1, RUN_MAX);
		unsigned at = (unsigned)rng_below(&w->rng, c->subnet_size);

		taken -= run < taken ? run : taken;
		for (unsigned i = at; i < at + run && i < c->subnet_size; i++)
			if (c->subnet[i] == SUBNET_FREE)
				c->subnet[i] = SUBNET_OTHERS;
	}
}

/* ---- NICs ---- */

struct mnic *cloud_nic(struct world *w, const char *id)
{
	for (unsigned i = 0; i < MODEL_NICS; i++)
		if (w->cloud.now.nics[i].state != MNIC_NONE && str_equal(w->cloud.now.nics[i].id, id))
			return &w->cloud.now.nics[i];
	return NULL;
}

struct mnic_watch *cloud_watch(struct world *w, const char *id)
{
	struct mnic_watch *free = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(w->cloud.watch); i++) {
		struct mnic_watch *watch = &w->cloud.watch[i];

		if (str_equal(watch->id, id))
			return watch;
		if (!free && !watch->in_flight && (!watch->id[0] || !cloud_nic(w, watch->id)))
			free = watch;
	}
	CHECK(free);
	*free = (struct mnic_watch){ 0 };
	(void)str_copy(free->id, sizeof(free->id), id);
	return free;
}

static unsigned attached_count(const struct world *w)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL_NICS; i++)
		count += w->cloud.now.nics[i].state > MNIC_AVAILABLE;
	return count;
}

static bool slot_used(const struct world *w, unsigned slot)
{
	for (unsigned i = 0; i < MODEL_NICS; i++)
		if (w->cloud.now.nics[i].state > MNIC_AVAILABLE && w->cloud.now.nics[i].slot == slot)
			return true;
	return false;
}

static struct mnic *new_nic(struct world *w, bool foreign)
{
	struct prefix host;

	for (unsigned i = 0; i < MODEL_NICS; i++) {
		struct mnic *nic = &w->cloud.now.nics[i];

		if (nic->state != MNIC_NONE)
			continue;
		if (!take_unit(w, 32, &host))
			return NULL;
		*nic = (struct mnic){
			.state = MNIC_AVAILABLE, .foreign = foreign, .addr = host.addr, .link_us = INT64_MAX
		};
		(void)snprintf(nic->id, sizeof(nic->id), "nic-%" PRIx64, ++w->cloud.serial);
		nic->mac = (struct macaddr){ { 2, 0, 0, (uint8_t)(w->cloud.serial >> 16),
					       (uint8_t)(w->cloud.serial >> 8), (uint8_t)w->cloud.serial } };
		return nic;
	}
	return NULL;
}

struct mnic *cloud_create(struct world *w, const struct cloud_want *want, const char *token, struct err *err)
{
	struct mnic *nic;

	keep_past(w);
	if (want->count > w->scenario.shape.units_per_nic) {
		w->counters.over_limit++;
		(void)err_set(err, ERR_INVALID, "cloud", "%u units on one NIC", want->count);
		return NULL;
	}
	nic = new_nic(w, false);
	if (!nic) {
		(void)err_set(err, ERR_EXHAUSTED, "cloud", "the subnet is full");
		return NULL;
	}
	(void)str_copy(nic->token, sizeof(nic->token), token);
	while (nic->block_count < want->count && take_unit(w, want->len, &nic->blocks[nic->block_count]))
		nic->block_count++;
	if (!nic->block_count && want->count) {
		(void)err_set(err, ERR_EXHAUSTED, "cloud", "no /%u is left", want->len);
		subnet_use(w, subnet_offset(&nic->addr), 1, SUBNET_FREE);
		*nic = (struct mnic){ 0 };
		return NULL;
	}
	w->counters.mutations++;
	world_note(w, "cloud: made %s with %u units", nic->id, nic->block_count);
	return nic;
}

static void on_attached(struct world *w, uint64_t index)
{
	struct mnic *nic = &w->cloud.now.nics[index];

	if (nic->state == MNIC_ATTACHING && nic->attached_us <= w->now_us) {
		keep_past(w);
		nic->state = MNIC_ATTACHED;
	} else if (nic->state == MNIC_DETACHING && nic->attached_us <= w->now_us) {
		keep_past(w);
		nic->state = MNIC_AVAILABLE;
	}
}

int cloud_attach_nic(struct world *w, struct mnic *nic, unsigned slot, struct err *err)
{
	const struct sim_latency *l = &w->scenario.latency;

	if (nic->state != MNIC_AVAILABLE)
		return err_set(err, ERR_CONFLICT, "cloud", "%s is in use", nic->id);
	if (attached_count(w) >= w->scenario.shape.nics_max) {
		w->counters.over_limit += !nic->foreign;
		return err_set(err, ERR_EXHAUSTED, "cloud", "the instance has all its NICs");
	}
	keep_past(w);
	while (slot_used(w, slot))
		slot++;
	w->counters.mutations += !nic->foreign;
	nic->slot = slot;
	nic->state = MNIC_ATTACHING;
	nic->attached_us = w->now_us + rng_us(&w->rng, l->attaching.low_us, l->attaching.high_us);
	nic->link_us = nic->attached_us + rng_us(&w->rng, l->link.low_us, l->link.high_us);
	if (world_chance(w, w->scenario.faults.link_never))
		nic->link_us = INT64_MAX;
	else
		world_at(w, nic->link_us, kernel_link_event, 0);
	world_at(w, nic->attached_us, on_attached, (uint64_t)(nic - w->cloud.now.nics));
	world_note(w, "cloud: %s goes to slot %u", nic->id, slot);
	return 0;
}

int cloud_detach_nic(struct world *w, struct mnic *nic, struct err *err)
{
	const struct sim_latency *l = &w->scenario.latency;

	if (nic->foreign || nic->slot == 0) {
		world_fail(w, "foreign NICs are never touched", "detach of %s", nic->id);
		return err_set(err, ERR_INVALID, "cloud", "not ours");
	}
	if (nic->state != MNIC_ATTACHED && nic->state != MNIC_ATTACHING)
		return 0;
	keep_past(w);
	w->counters.mutations++;
	nic->state = MNIC_DETACHING;
	nic->link_us = INT64_MAX;
	nic->attached_us = w->now_us + rng_us(&w->rng, l->detaching.low_us, l->detaching.high_us);
	world_at(w, nic->attached_us, on_attached, (uint64_t)(nic - w->cloud.now.nics));
	world_at(w, w->now_us, kernel_link_event, 0);
	world_note(w, "cloud: %s leaves slot %u", nic->id, nic->slot);
	return 0;
}

int cloud_delete_nic(struct world *w, struct mnic *nic, struct err *err)
{
	if (nic->state != MNIC_AVAILABLE)
		return err_set(err, ERR_CONFLICT, "cloud", "%s is in use", nic->id);
	keep_past(w);
	w->counters.mutations++;
	for (unsigned i = 0; i < nic->block_count; i++)
		give_unit(w, &nic->blocks[i]);
	subnet_use(w, subnet_offset(&nic->addr), 1, SUBNET_FREE);
	world_note(w, "cloud: deleted %s", nic->id);
	*nic = (struct mnic){ 0 };
	return 0;
}

/* ---- blocks ---- */

int cloud_assign_units(struct world *w, struct mnic *nic, unsigned most, uint8_t len, struct err *err)
{
	unsigned came = 0;

	if (nic->foreign) {
		world_fail(w, "foreign NICs are never touched", "assign to %s", nic->id);
		return err_set(err, ERR_INVALID, "cloud", "not ours");
	}
	if (nic->block_count + most > w->scenario.shape.units_per_nic) {
		w->counters.over_limit++;
		return err_set(err, ERR_INVALID, "cloud", "%u more on %s, which has %u of %u", most, nic->id,
			       nic->block_count, w->scenario.shape.units_per_nic);
	}
	keep_past(w);
	w->counters.mutations++;
	while (came < most && take_unit(w, len, &nic->blocks[nic->block_count])) {
		nic->block_count++;
		came++;
	}
	if (!came)
		return err_set(err, ERR_EXHAUSTED, "cloud", "no /%u is left", len);
	world_note(w, "cloud: %u of %u units to %s", came, most, nic->id);
	return (int)came;
}

static unsigned find_block(const struct mnic *nic, const struct prefix *block)
{
	unsigned i = 0;

	while (i < nic->block_count && prefix_cmp(&nic->blocks[i], block) != 0)
		i++;
	return i;
}

static void remove_block(struct world *w, struct mnic *nic, unsigned at)
{
	give_unit(w, &nic->blocks[at]);
	nic->block_count--;
	/* Order is what a list shows: keep it. */
	memmove(&nic->blocks[at], &nic->blocks[at + 1], (nic->block_count - at) * sizeof(nic->blocks[0]));
}

int cloud_release_blocks(struct world *w, struct mnic *nic, const struct prefix *blocks, unsigned count,
			 struct err *err)
{
	if (nic->foreign) {
		world_fail(w, "foreign NICs are never touched", "release of %s", nic->id);
		return err_set(err, ERR_INVALID, "cloud", "not ours");
	}
	keep_past(w);
	w->counters.mutations++;
	for (unsigned i = 0; i < count; i++) {
		unsigned at = find_block(nic, &blocks[i]);

		if (at < nic->block_count)
			remove_block(w, nic, at);
	}
	world_note(w, "cloud: %u units left %s", count, nic->id);
	return 0;
}

int cloud_recover_block(struct world *w, struct mnic *nic, const struct prefix *block, struct err *err)
{
	unsigned size = 1U << (32 - block->len), at = subnet_offset(&block->addr);

	if (nic->foreign) {
		world_fail(w, "foreign NICs are never touched", "recover on %s", nic->id);
		return err_set(err, ERR_INVALID, "cloud", "not ours");
	}
	keep_past(w);
	w->counters.mutations++;
	if (nic->block_count >= w->scenario.shape.units_per_nic || !run_is_free(&w->cloud, at, size))
		return err_set(err, ERR_CONFLICT, "cloud", "another has it");
	subnet_use(w, at, size, SUBNET_OURS);
	nic->blocks[nic->block_count++] = *block;
	return 0;
}

bool cloud_has(const struct world *w, const char *id, const struct prefix *block)
{
	for (unsigned i = 0; i < MODEL_NICS; i++) {
		const struct mnic *nic = &w->cloud.now.nics[i];

		if (nic->state != MNIC_NONE && str_equal(nic->id, id))
			return find_block(nic, block) < nic->block_count;
	}
	return false;
}

/* What pods of IPv4 reach IPv6 as, where that is configured; nothing else of this world is IPv6. */
static const struct ipaddr node_addr6 = { .family = IP_V6, .bytes = { 0x26, [15] = 0x10 } };

int cloud_show(const struct world *w, const struct mnic *nic, struct cloud_nic *ret)
{
	struct ipaddr base = subnet_addr(0);

	memset(ret, 0, sizeof(*ret));
	(void)str_copy(ret->id, sizeof(ret->id), nic->id);
	ret->mac = nic->mac;
	ret->slot = nic->slot;
	ret->primary = nic->slot == 0;
	ret->attached = nic->state == MNIC_ATTACHED;
	ret->foreign = nic->foreign;
	ret->closed = nic->closed;
	ret->primary_addr = nic->addr;
	if (ret->primary)
		ret->primary_addr6 = node_addr6;
	ret->subnet = prefix_of(&base, w->scenario.shape.subnet_len);
	ret->gateway = subnet_addr(1);
	for (unsigned i = 0; i < nic->block_count; i++)
		if (cloud_nic_add_block(ret, &nic->blocks[i]) < 0)
			return -ENOMEM;
	return 0;
}

/* ---- the budget ---- */

bool cloud_take_token(struct world *w)
{
	const struct sim_faults *f = &w->scenario.faults;
	struct model_cloud *c = &w->cloud;
	int64_t each_us;

	if (!f->mutations_per_minute || w->settling)
		return true;
	each_us = 60 * USEC_PER_SEC / f->mutations_per_minute;
	if (c->tokens_us < w->now_us)
		c->tokens_us = w->now_us;
	if (c->tokens_us + each_us > w->now_us + each_us * f->mutation_burst)
		return false;
	c->tokens_us += each_us;
	return true;
}

/* ---- others ---- */

struct stolen *cloud_stolen(struct world *w, const struct prefix *block)
{
	for (unsigned i = 0; i < MODEL_STOLEN; i++) {
		struct stolen *s = &w->cloud.stolen[i];

		if (s->at_us && s->lists < STOLEN_FOR_LISTS && prefix_overlaps(&s->block, block))
			return s;
	}
	return NULL;
}

static struct mnic *some_nic(struct world *w, bool with_blocks)
{
	unsigned start = (unsigned)rng_below(&w->rng, MODEL_NICS);

	for (unsigned i = 0; i < MODEL_NICS; i++) {
		struct mnic *nic = &w->cloud.now.nics[(start + i) % MODEL_NICS];

		if (nic->state == MNIC_ATTACHED && !nic->foreign && (!with_blocks || nic->block_count))
			return nic;
	}
	return NULL;
}

/* What rested in it may come back to this node at any time, from a cloud that knows of no cooldown. */
static void forget_cooldowns(struct world *w, const struct prefix *block)
{
	unsigned at = subnet_offset(&block->addr);

	for (unsigned i = 0; i < 1U << (32 - block->len); i++) {
		w->ledger[at + i].free_at_us = 0;
		w->ledger[at + i].stolen = true;
	}
}

static void steal_block(struct world *w)
{
	struct mnic *nic = some_nic(w, true);
	char text[PREFIX_STRLEN];
	struct prefix block;
	unsigned at;

	if (!nic)
		return;
	keep_past(w);
	at = (unsigned)rng_below(&w->rng, nic->block_count);
	block = nic->blocks[at];
	world_note(w, "others: take %s from %s", prefix_str(&block, text), nic->id);
	remove_block(w, nic, at);
	forget_cooldowns(w, &block);
	w->cloud.stolen[w->cloud.stolen_next++ % MODEL_STOLEN] = (struct stolen){ block, w->now_us, 0 };
	w->counters.foreign_deeds++;
}

static void add_block(struct world *w)
{
	struct mnic *nic = some_nic(w, false);
	char text[PREFIX_STRLEN];

	if (!nic || nic->block_count >= w->scenario.shape.units_per_nic)
		return;
	keep_past(w);
	if (!take_unit(w, w->scenario.shape.unit_len, &nic->blocks[nic->block_count]))
		return;
	world_note(w, "others: add %s to %s", prefix_str(&nic->blocks[nic->block_count], text), nic->id);
	nic->block_count++;
	w->counters.foreign_deeds++;
}

static void attach_foreign(struct world *w)
{
	struct mnic *nic;

	if (attached_count(w) >= w->scenario.shape.nics_max)
		return;
	keep_past(w);
	nic = new_nic(w, true);
	if (!nic)
		return;
	if (take_unit(w, 32, &nic->blocks[0]))
		nic->block_count = 1;
	world_note(w, "others: attach %s", nic->id);
	(void)cloud_attach_nic(w, nic, 1, NULL);
	w->counters.foreign_deeds++;
}

/* An operator excludes the subnet of a NIC, or takes that back. */
static void close_nic(struct world *w)
{
	struct mnic *nic = some_nic(w, false);

	if (!nic)
		return;
	keep_past(w);
	nic->closed = !nic->closed;
	world_note(w, "others: %s %s", nic->closed ? "close" : "open", nic->id);
	w->counters.foreign_deeds++;
}

void cloud_reopen(struct world *w)
{
	for (unsigned i = 0; i < MODEL_NICS; i++)
		w->cloud.now.nics[i].closed = false;
}

/* Other nodes come and go. */
static void churn_subnet(struct world *w)
{
	unsigned run = rng_u(&w->rng, 1, RUN_MAX);
	unsigned at = (unsigned)rng_below(&w->rng, w->cloud.subnet_size);
	bool take = rng_chance(&w->rng, w->scenario.shape.taken_ppm);

	for (unsigned i = at; i < at + run && i < w->cloud.subnet_size; i++)
		if (w->cloud.subnet[i] == (take ? SUBNET_FREE : SUBNET_OTHERS))
			w->cloud.subnet[i] = take ? SUBNET_OTHERS : SUBNET_FREE;
}

void world_others(struct world *w, enum other_deed deed)
{
	static void (*const deeds[])(struct world *) = { [OTHER_STEAL_BLOCK] = steal_block,
							 [OTHER_ADD_BLOCK] = add_block,
							 [OTHER_ATTACH_NIC] = attach_foreign,
							 [OTHER_SUBNET] = churn_subnet,
							 [OTHER_CLOSE_NIC] = close_nic };

	sim_world = w;
	w->surprised = true;
	deeds[deed](w);
}

static int64_t deed_mean_us(const struct world *w, uint64_t deed)
{
	const struct sim_others *o = &w->scenario.others;
	const int64_t means[] = { [OTHER_STEAL_BLOCK] = o->steal_block_us,
				  [OTHER_ADD_BLOCK] = o->add_block_us,
				  [OTHER_ATTACH_NIC] = o->attach_nic_us,
				  [OTHER_SUBNET] = o->subnet_us,
				  [OTHER_CLOSE_NIC] = o->close_nic_us };

	return means[deed];
}

static void on_deed(struct world *w, uint64_t deed)
{
	int64_t mean = deed_mean_us(w, deed);

	if (w->settling)
		return;
	world_others(w, (enum other_deed)deed);
	world_after(w, rng_us(&w->rng, mean / 2, mean * 3 / 2), on_deed, deed);
}

void cloud_others_start(struct world *w)
{
	for (uint64_t deed = 0; deed < OTHER_COUNT; deed++)
		if (deed_mean_us(w, deed))
			world_after(w, rng_us(&w->rng, 0, deed_mean_us(w, deed)), on_deed, deed);
}

/* ---- start and what others ask ---- */

static void cloud_stats_get(struct cloud *cloud, struct cloud_stats *ret)
{
	*ret = ((struct model_cloud *)(void *)cloud)->stats;
}

/* Never called: its being there says that this cloud has metadata to look at; executor.c does the look. */
static int cloud_glance(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err)
{
	(void)cloud;
	(void)deadline_us;
	(void)ret;
	return err_set(err, ERR_BUG, "model", "executors are replaced");
}

/* Jobs go by the executor's stand-in; the daemon looks only whether there is such a call. */
static int cloud_recover(_unused_ struct cloud *cloud, _unused_ const char *nic, _unused_ const struct prefix *blocks,
			 _unused_ unsigned count, _unused_ int64_t deadline_us, _unused_ struct cloud_nic *ret,
			 _unused_ struct err *err)
{
	CHECK_NEVER("a call behind the executor's back");
}

static const struct cloud_ops model_ops = {
	.name = "model", .glance = cloud_glance, .recover = cloud_recover, .stats = cloud_stats_get
};

void cloud_init(struct world *w)
{
	struct model_cloud *c = &w->cloud;
	struct mnic *primary;

	c->head.ops = &model_ops;
	c->subnet_size = 1U << (32 - w->scenario.shape.subnet_len);
	CHECK(c->subnet_size <= MODEL_SUBNET && w->scenario.shape.units_per_nic <= MODEL_UNITS);
	subnet_use(w, 0, RESERVED_FIRST, SUBNET_RESERVED);
	subnet_use(w, c->subnet_size - 1, 1, SUBNET_RESERVED);
	primary = new_nic(w, false);
	CHECK(primary);
	primary->state = MNIC_ATTACHED;
	primary->link_us = w->now_us;
	fill_subnet(w);
	while (primary->block_count < w->scenario.shape.blocks_at_start &&
	       take_unit(w, w->scenario.shape.unit_len, &primary->blocks[primary->block_count]))
		primary->block_count++;
}

bool cloud_room(struct world *w)
{
	const struct sim_shape *shape = &w->scenario.shape;
	unsigned at, size = 1U << (32 - shape->unit_len), ours = 0;
	unsigned most = w->scenario.config.max_nics, free = 0;

	if (!subnet_find(w, size, &at))
		return false;
	for (unsigned i = 0; i < w->cloud.subnet_size; i++)
		free += w->cloud.subnet[i] == SUBNET_FREE;
	for (unsigned i = 0; i < MODEL_NICS; i++) {
		const struct mnic *nic = &w->cloud.now.nics[i];

		if (nic->state == MNIC_ATTACHED && !nic->foreign && nic->block_count < shape->units_per_nic)
			return true;
		ours += nic->state > MNIC_AVAILABLE && !nic->foreign;
	}
	return attached_count(w) < shape->nics_max && (!most || ours < most) && free > size;
}

unsigned world_cloud_nics(const struct world *w, bool attached)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL_NICS; i++) {
		const struct mnic *nic = &w->cloud.now.nics[i];

		if (nic->state != MNIC_NONE && !nic->foreign)
			count += (nic->state != MNIC_AVAILABLE) == attached;
	}
	return count;
}

unsigned world_cloud_blocks(const struct world *w)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL_NICS; i++)
		if (w->cloud.now.nics[i].state > MNIC_AVAILABLE && !w->cloud.now.nics[i].foreign)
			count += w->cloud.now.nics[i].block_count;
	return count;
}

int64_t world_answered_us(const struct world *w)
{
	return w->cloud.answered_us;
}

void world_fate_next(struct world *w, enum job_kind kind, unsigned stage, enum fate fate)
{
	w->surprised = true;
	w->cloud.next_fate.armed = true;
	w->cloud.next_fate.kind = kind;
	w->cloud.next_fate.stage = stage;
	w->cloud.next_fate.fate = fate;
}
